#!/usr/bin/env bash
# Puts Debian's prometheus, promtool and alertmanager below target/prometheus. The packages are extracted, not installed:
# nothing starts as a service, no user is made, and what an installed one does is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=target/prometheus
fetch() {
    if ! apt-get -qq download "$1" 2>/dev/null; then
        local as_root=()
        if ((EUID != 0)); then as_root=(sudo -n); fi
        "${as_root[@]}" apt-get update -qq
        apt-get -qq download "$1"
    fi
    dpkg-deb --extract "$1"_*.deb .
    rm "$1"_*.deb
}

mkdir -p "$folder"
cd "$folder"
rm -f ./*.deb
if [[ ! -x usr/bin/prometheus || ! -x usr/bin/promtool ]]; then fetch prometheus; fi
if [[ ! -x usr/bin/alertmanager ]]; then
    fetch prometheus-alertmanager
    # Debian's reads its templates from /usr/share. This copy, alike but for that path, reads them below its working directory.
    LC_ALL=C sed 's#/usr/share/prometheus/alertmanager#usr/share//prometheus/alertmanager#g' usr/bin/prometheus-alertmanager >made
    chmod +x made
    mv made usr/bin/alertmanager
fi
usr/bin/promtool --version
usr/bin/alertmanager --version
