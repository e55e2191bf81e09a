#!/usr/bin/env bash
# Builds the static binary of the image and runs it in an empty root: no shell, no /proc, no /tmp, only what the Dockerfile
# copies besides it, resolv.conf and the random devices. Needs root (chroot, a network namespace), a C compiler and python3; reaches no network
# but the registry of crates. About three minutes from nothing on two cores, a second with a binary at hand.
#
#   deploy/check-static.sh [BINARY]
set -euo pipefail
cd "$(dirname "$0")/.."

if (($# > 0)); then
    binary=$1
else
    binary=$(deploy/profile/build.sh target/static -C target-feature=+crt-static)
fi
exec unshare --net python3 -B deploy/check_static.py "$(realpath "$binary")"
