#!/usr/bin/env bash
# Builds the binary as a release has it, for this machine, and prints its path.
#
#   deploy/profile/build.sh [TARGET_DIRECTORY [COMPILER_FLAG...]]
set -euo pipefail
cd "$(dirname "$0")/../.."

folder=${1:-target}
host=$(rustc -vV | sed -n 's/^host: //p')
counts=$(deploy/profile/use.sh)
# With the target named, the flags are not for what the build itself runs.
RUSTFLAGS="$counts ${*:2}" cargo build --release --locked --quiet --bin tollgate --target "$host" --target-dir "$folder"
printf '%s\n' "$PWD/$folder/$host/release/tollgate"
