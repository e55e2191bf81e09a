#!/usr/bin/env bash
# Puts Debian's prometheus and promtool below target/prometheus. The package is extracted, not installed: nothing starts
# as a service, no user is made, and what an installed one does is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=target/prometheus
if [[ -x $folder/usr/bin/prometheus && -x $folder/usr/bin/promtool ]]; then exit 0; fi

mkdir -p "$folder"
cd "$folder"
rm -f prometheus_*.deb
if ! apt-get -qq download prometheus 2>/dev/null; then
    as_root=()
    if ((EUID != 0)); then as_root=(sudo -n); fi
    "${as_root[@]}" apt-get update -qq
    apt-get -qq download prometheus
fi
dpkg-deb --extract prometheus_*.deb .
rm prometheus_*.deb
usr/bin/promtool --version
