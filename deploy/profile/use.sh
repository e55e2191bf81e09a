#!/usr/bin/env bash
# Prints the flags that lay a release out by the counts kept beside this script (decision 0025): nothing, if they are another
# compiler's. Says on stderr if they are, or if dependencies have changed since, whose counts then have no effect.
#
#   RUSTFLAGS=$(deploy/profile/use.sh) cargo build --release --locked --target HOST    with a target, as they were taken
#   deploy/profile/use.sh --of                                                         what counts taken now would be of
set -euo pipefail
cd "$(dirname "$0")/../.."

# The compiler first. What Cargo.lock says of every package, Tollgate's own version too, is in the names that are counted.
now=$(rustc -V && sha256sum Cargo.lock)
if [[ ${1:-} == --of ]]; then
    printf '%s\n' "$now"
    exit
fi

of=$(<deploy/profile/counts.of)
if [[ ${of%%$'\n'*} != "${now%%$'\n'*}" ]]; then
    echo "deploy/profile: built without counts: they are of ${of%%$'\n'*}" >&2
    exit
fi
if [[ $of != "$now" ]]; then
    echo "deploy/profile: Cargo.lock has changed since the counts were taken: take.sh takes them anew" >&2
fi
unpacked=$PWD/target/profile/counts.profdata
# Only if they are others: cargo builds everything anew when this file is newer.
if [[ deploy/profile/counts.gz -nt $unpacked ]]; then
    mkdir -p target/profile
    gzip -dc deploy/profile/counts.gz >"$unpacked.part"
    mv "$unpacked.part" "$unpacked"
fi
printf -- '-Cprofile-use=%s\n' "$unpacked"
