#!/usr/bin/env bash
# The soak at full length: the release binary under mixed load, faults, reloads and new certificates, with a verdict.
# Prints a row every twentieth of the time. Ten minutes if nothing is said.
#
#   tests/soak.sh [MINUTES]
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(deploy/profile/build.sh)
CLIENTS_BINARY=$binary SOAK_SECONDS=$((${1:-10} * 60)) bash tests/clients/run.sh test_soak.py
