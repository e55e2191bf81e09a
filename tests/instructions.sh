#!/usr/bin/env bash
# Counts what a cached HEAD and a pass-through cost in processor instructions, and compares them with benches/instructions.txt:
# a count moves by a percent where a time moves by half. In process, with the log as shipped; callgrind counts.
# `tests/instructions.sh record` writes the counts down instead.
set -euo pipefail
cd "$(dirname "$0")/.."

bench=$(cargo build --quiet --locked --profile count --bench path --message-format json-render-diagnostics |
    sed -n 's/.*"executable":"\([^"]*path-[^"]*\)".*/\1/p')
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

# One of two counts is what a start costs, so the difference is that of the requests between.
few=500 many=2500
counted() {
    valgrind --tool=callgrind --callgrind-out-file="$folder/out" "$bench" count "$1" "$2" >/dev/null 2>"$folder/said" ||
        { cat "$folder/said" >&2; return 1; }
    sed -n 's/^==[0-9]*== Collected : //p' "$folder/said"
}

failed=0 record=""
for case in cached-head pass-through; do
    least=$(counted $case $few)
    most=$(counted $case $many)
    each=$(((most - least) / (many - few)))
    record+="$case $each"$'\n'
    known=$(sed -n "s/^$case //p" benches/instructions.txt)
    echo "$case: $each instructions a request, ${known:-none} on record"
    if [[ ${1:-} != record ]] && ((each * 100 > known * 110)); then
        echo "$case costs over 10 % more than it did: mend it, or say why and record it anew" >&2
        failed=1
    fi
done
if [[ ${1:-} == record ]]; then printf %s "$record" >benches/instructions.txt; fi
exit $failed
