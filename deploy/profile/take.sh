#!/usr/bin/env bash
# Takes the counts anew that releases are laid out by (decision 0025): counts.gz, and counts.of, which says what they are of.
# A binary that counts is built and driven through the cases of benches/compare: some ten minutes on two cores. Needs the
# llvm-profdata of rustc's own LLVM: rustup's component llvm-tools, or else Debian's package.
set -euo pipefail
cd "$(dirname "$0")/../.."

host=$(rustc -vV | sed -n 's/^host: //p')
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
folder=$PWD/target/profile

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

rm -rf "$folder/counts"
# With a target named, as for a release: names in the counts depend on it.
RUSTFLAGS="-Cprofile-generate=$folder/counts" \
    cargo build --release --locked --quiet --bin tollgate --target "$host" --target-dir "$folder/counting"
bash benches/compare/run.sh --binary "$folder/counting/$host/release/tollgate" --rounds 1 --seconds 4 \
    --case get-h1 get-h2 head-h2 get-100mb pass-h1 pass-h2 upload-1mb handshake

# Sparse: without the functions that never ran, which are four fifths of it.
"$profdata" merge --sparse -o "$folder/counts.profdata" "$folder/counts"
gzip -9nc "$folder/counts.profdata" >deploy/profile/counts.gz
deploy/profile/use.sh --of >deploy/profile/counts.of
