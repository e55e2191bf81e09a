#!/usr/bin/env bash
# Measures Tollgate beside nginx and HAProxy (docs/performance.md); options: bash benches/compare/run.sh --help
# The two are Debian's, extracted below target/compare: nothing starts as a service. What they link to, and the load
# generators, are installed. Without --binary the release binary is built; with --bare the floor, too.
# With the word "footprint" first it counts how much code a request runs through instead (valgrind).
set -euo pipefail
cd "$(dirname "$0")/../.."

as_root=()
if ((EUID != 0)); then as_root=(sudo -n); fi
folder=target/compare/servers
needed=(curl openssl wrk nghttp2-client python3 libcrypt1 liblua5.3-0 libopentracing-c-wrapper0 libpcre2-8-0 libssl3
    libsystemd0 zlib1g)
program=run.py
if [[ ${1:-} == footprint ]]; then
    shift
    program=footprint.py
    needed+=(valgrind)
fi

missing=()
for package in "${needed[@]}"; do
    if [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then missing+=("$package"); fi
done
updated=no
update() {
    if [[ $updated == no ]]; then "${as_root[@]}" apt-get update -qq; fi
    updated=yes
}
if ((${#missing[@]} > 0)); then
    update
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi
mkdir -p "$folder"
for package in nginx haproxy; do
    if [[ -x $folder/usr/sbin/$package ]]; then continue; fi
    update
    (
        cd "$folder"
        rm -f "$package"_*.deb
        apt-get -qq download "$package"
        dpkg-deb --extract "$package"_*.deb .
        rm "$package"_*.deb
    )
done

case " $* " in
    *" --binary"* | *" --help "* | *" -h "* | *" --list "*) ;;
    *)
        binary=$(deploy/profile/build.sh)
        set -- "$@" --binary "$binary"
        ;;
esac
case " $* " in
    *" --bare "*)
        # In a folder of its own: a bench brings features that a release has not, and rebuilds what is there.
        COMPARE_BARE=$(cargo build --release --locked --quiet --bench bare --target-dir target/compare/build \
            --message-format json-render-diagnostics | sed -n 's/.*"executable":"\([^"]*\/bare-[^"]*\)".*/\1/p')
        export COMPARE_BARE
        ;;
esac
# 10,000 idle connections take as many descriptors on either side.
ulimit -n "$(ulimit -Hn)"
exec python3 -B "benches/compare/$program" "$@"
