#!/usr/bin/env bash
# Builds a release binary that is laid out for what it does most: target/pgo/tollgate (docs/performance.md says what for).
# Three steps: a binary that counts, benches/compare as its training, the release with these counts. Some twenty minutes on
# two cores. Needs the llvm-profdata of rustc's own LLVM: rustup's component llvm-tools, or else Debian's package.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
folder=$PWD/target/pgo

profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
if [[ ! -x $profdata ]]; then
    profdata=/usr/lib/llvm-$llvm/bin/llvm-profdata
fi
if [[ ! -x $profdata ]]; then
    as_root=()
    if ((EUID != 0)); then as_root=(sudo -n); fi
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -qq -y --no-install-recommends "llvm-$llvm" >/dev/null
fi

# With a target named, the flags are not for what the build itself runs.
build() {
    RUSTFLAGS=$2 cargo build --release --locked --quiet --bin tollgate --target "$host" --target-dir "$folder/$1"
}

rm -rf "$folder/counts"
build counting "-Cprofile-generate=$folder/counts"
bash benches/compare/run.sh --binary "$folder/counting/$host/release/tollgate" --rounds 1 --seconds 4 \
    --case get-h1 get-h2 head-h2 get-100mb pass-h1 pass-h2 upload-1mb handshake
"$profdata" merge -o "$folder/tollgate.profdata" "$folder/counts"
build counted "-Cprofile-use=$folder/tollgate.profdata"
cp "$folder/counted/$host/release/tollgate" "$folder/tollgate"
