#!/usr/bin/env bash
# Fuzzes every target, one after the other, for so many seconds each (default 60), from the corpora in fuzz/corpus, and
# writes these anew, minimised. `fuzz/run.sh 300 json links` fuzzes those two. An input that breaks a property is left in
# target/fuzz/artifacts.
#
# libFuzzer's instrumentation is nightly's; RUSTC_BOOTSTRAP=1 has the one stable toolchain of the project do it too.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
targets=("${@:2}")
work=$PWD/target/fuzz
# All corpora together stay below 300 kB.
corpus_bytes=40000

export PATH=$PWD/target/tools/bin:$PATH CARGO_TARGET_DIR=$work RUSTC_BOOTSTRAP=1
if [[ $(cargo fuzz --version 2>/dev/null) != "cargo-fuzz 0.13.1" ]]; then
    cargo install --quiet --locked --root target/tools --target-dir target/tools-build cargo-fuzz --version 0.13.1
fi
cargo fuzz build --sanitizer none
if ((${#targets[@]} == 0)); then
    mapfile -t targets < <(cargo fuzz list)
fi

for target in "${targets[@]}"; do
    printf '\n== %s\n' "$target"
    binary=$work/x86_64-unknown-linux-gnu/release/$target
    corpus=$work/corpus/$target
    minimal=$work/minimal/$target
    rm -rf "$corpus" "$minimal"
    mkdir -p "$minimal" "$work/artifacts"
    python3 fuzz/corpus.py unpack "fuzz/corpus/$target.txt" "$corpus"
    "$binary" -max_total_time="$seconds" -max_len=1024 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$work/artifacts/$target-" "$corpus"
    "$binary" -merge=1 -max_len=1024 -timeout=10 "$minimal" "$corpus" 2>&1 | tail -n 1
    python3 fuzz/corpus.py pack "$minimal" "fuzz/corpus/$target.txt" "$corpus_bytes"
done
wc -lc fuzz/corpus/*.txt
