#!/usr/bin/env bash
# Runs the real clients against target/debug/tollgate, in Python and Node environments of their own below target/.
# Arguments go to pytest: names of test files beside this one, or options.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=target/clients-venv
wanted=tests/clients/requirements.txt
if ! cmp -s "$wanted" "$venv/installed.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    # ciscosparkapi has no wheel: it is built with the setuptools that came with Python, not with the newest one. From 23.1 on
    # pip needs the package `wheel` for that; newer ones of it leave the work to a newer setuptools.
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps wheel==0.45.1
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --requirement "$wanted"
    cp "$wanted" "$venv/installed.txt"
fi

node=target/clients-node
locked=tests/clients/cache_tests/package-lock.json
if ! cmp -s "$locked" "$node/installed.json"; then
    rm -rf "$node"
    mkdir -p "$node"
    cp tests/clients/cache_tests/package.json "$locked" "$node"
    (cd "$node" && npm ci --silent --ignore-scripts --no-audit --no-fund)
    cp "$locked" "$node/installed.json"
fi

page=target/clients-page
locked=tests/clients/page/package-lock.json
if ! cmp -s "$locked" "$page/package-lock.json"; then
    rm -rf "$page"
    mkdir -p "$page"
    cp tests/clients/page/package.json "$locked" "$page"
    npm ci --prefix "$page" --ignore-scripts --no-audit --no-fund --silent || { rm -rf "$page"; exit 1; }
fi

cd tests/clients
exec "../../$venv/bin/python" -B -m pytest "$@"
