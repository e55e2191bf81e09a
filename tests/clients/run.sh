#!/usr/bin/env bash
# Runs the real clients against target/debug/tollgate, in a Python environment of their own below target/.
# Arguments go to pytest: names of test files beside this one, or options.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=target/clients-venv
wanted=tests/clients/requirements.txt
if ! cmp -s "$wanted" "$venv/installed.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$wanted"
    cp "$wanted" "$venv/installed.txt"
fi
modules=target/clients-page
wanted=tests/clients/page/package-lock.json
if ! cmp -s "$wanted" "$modules/package-lock.json"; then
    rm -rf "$modules"
    mkdir -p "$modules"
    cp tests/clients/page/package.json "$wanted" "$modules"
    npm ci --prefix "$modules" --ignore-scripts --no-audit --no-fund --silent || { rm -rf "$modules"; exit 1; }
fi
cd tests/clients
exec "../../$venv/bin/python" -B -m pytest "$@"
