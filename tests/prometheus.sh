#!/usr/bin/env bash
# Puts Debian's prometheus, promtool and alertmanager below target/prometheus.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/debian.sh
source tests/debian.sh

mkdir -p target/prometheus
cd target/prometheus
if [[ ! -x usr/bin/prometheus || ! -x usr/bin/promtool ]]; then unpack prometheus; fi
if [[ ! -x usr/bin/alertmanager ]]; then
    unpack prometheus-alertmanager
    # Debian's reads its templates from /usr/share. This copy, alike but for that path, reads them below its working directory.
    LC_ALL=C sed 's#/usr/share/prometheus/alertmanager#usr/share//prometheus/alertmanager#g' usr/bin/prometheus-alertmanager >made
    chmod +x made
    mv made usr/bin/alertmanager
fi
usr/bin/promtool --version
usr/bin/alertmanager --version
