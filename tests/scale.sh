#!/usr/bin/env bash
# Several replicas with one limit, at full length: the release binary, a real Redis and the simulator on loopback. Prints each
# figure beside its bar; about eight minutes. Everything shares this machine's cores, so let nothing else work meanwhile.
#
#   tests/scale.sh [weighted] [slow] [failing] [overrated] [changing] [closing]
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(deploy/profile/build.sh)
if [[ ! -x target/redis/usr/bin/redis-server ]]; then bash tests/redis.sh; fi
bash tests/clients/run.sh --collect-only test_restart.py >/dev/null
CLIENTS_BINARY=$binary exec target/clients-venv/bin/python -B tests/clients/scale.py "$@"
