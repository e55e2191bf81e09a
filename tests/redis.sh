#!/usr/bin/env bash
# Puts Debian's redis-server and redis-cli below target/redis, with the libraries that a machine without Redis lacks.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/debian.sh
source tests/debian.sh

mkdir -p target/redis
cd target/redis
if [[ ! -x usr/bin/redis-server || ! -x usr/bin/redis-cli ]]; then
    unpack redis-tools libatomic1 libjemalloc2 liblzf1 redis-server
fi
libraries=$(dirname usr/lib/*/libjemalloc.so.2)
LD_LIBRARY_PATH=$libraries usr/bin/redis-server --version
