#!/usr/bin/env bash
# Whether deny.toml holds for what is built, and for the fuzz targets. Needs no network but for cargo-deny itself, once.
#
#   bash tests/supply.sh                                     licences, versions, build scripts, origins
#   TOLLGATE_ADVISORIES=/path/to/advisory-db bash tests/supply.sh     known faults too: a clone of RustSec's database
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
deny=$PWD/target/tools/bin/cargo-deny
if [[ $("$deny" --version 2>/dev/null) != "cargo-deny $version" ]]; then
    cargo install --quiet --locked --root target/tools --target-dir target/tools-build --no-default-features "cargo-deny@$version"
    rm -rf target/tools-build
fi

settings=$PWD/deny.toml
checks=(licenses bans sources)
if [[ -n ${TOLLGATE_ADVISORIES:-} ]]; then
    databases=$(mktemp -d)
    trap 'rm -rf "$databases"' EXIT
    # The name under which cargo-deny looks for a copy of that database.
    ln -s "$(realpath "$TOLLGATE_ADVISORIES")" "$databases/advisory-db-3157b0e258782691"
    sed "s#^\[advisories\]#&\ndb-path = \"$databases\"#" deny.toml >"$databases/deny.toml"
    settings=$databases/deny.toml
    checks+=(advisories)
    echo "advisories as of $(git -C "$TOLLGATE_ADVISORIES" log -1 --format=%cs)"
fi

for manifest in Cargo.toml fuzz/Cargo.toml; do
    cargo fetch --quiet --locked --manifest-path "$manifest"
    "$deny" --log-level error --locked --offline --manifest-path "$manifest" --config "$settings" check "${checks[@]}"
done
