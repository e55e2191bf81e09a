#!/usr/bin/env bash
# Everything that must hold, on a machine that has cargo, node, python3, gcc and the package registries.
# No arguments, no questions; stops at the first failure. Soak, fuzzing and comparisons have commands of their own.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

install_missing() {
    local missing=()
    command -v curl >/dev/null || missing+=(curl)
    command -v make >/dev/null || missing+=(make)
    command -v openssl >/dev/null || missing+=(openssl)
    command -v chromium >/dev/null || missing+=(chromium)
    command -v valgrind >/dev/null || missing+=(valgrind)
    command -v systemd-analyze >/dev/null || missing+=(systemd)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    if [[ ! -x target/prometheus/usr/bin/promtool || ! -x target/prometheus/usr/bin/alertmanager ]]; then
        step "apt-get download prometheus prometheus-alertmanager"
        bash tests/prometheus.sh
    fi
    if [[ ! -x target/redis/usr/bin/redis-server || ! -x target/redis/usr/bin/redis-cli ]]; then
        step "apt-get download redis-server redis-tools"
        bash tests/redis.sh
    fi
    if ((${#missing[@]} == 0)); then return; fi
    step "apt-get install ${missing[*]}"
    local as_root=()
    if ((EUID != 0)); then as_root=(sudo -n); fi
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

# What builds does so without a network: what a build needs was fetched before, by its checksum.
walled=(env CARGO_NET_OFFLINE=true)
if unshare --map-root-user --net true 2>/dev/null; then walled+=(unshare --map-root-user --net); fi

install_missing
step "cargo fmt --check"
cargo fmt --check
step "cargo fetch; cargo-deny"
cargo fetch --quiet --locked
bash tests/supply.sh
step "cargo clippy, by ${walled[*]}"
"${walled[@]}" cargo clippy --quiet --locked --all-targets -- -D warnings
step "cargo build, likewise"
"${walled[@]}" cargo build --quiet --locked
"${walled[@]}" cargo test --quiet --locked --no-run
step "cargo test"
cargo test --quiet --locked
step "cargo doc"
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --no-deps
step "instructions (callgrind)"
"${walled[@]}" cargo build --quiet --locked --profile count --bench path
bash tests/instructions.sh
step "real clients (pytest)"
bash tests/clients/run.sh
