#!/usr/bin/env bash
# Puts other people's attack tools to the built binary: slowhttptest in its four modes, sslscan, testssl.sh, h2load.
# A minute and a half; not part of tests/all.sh. TOLLGATE names another binary than the release one.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$(realpath "${TOLLGATE:-$(deploy/profile/build.sh)}")
missing=()
for tool in curl slowhttptest sslscan testssl h2load; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
if ((${#missing[@]} > 0)); then
    as_root=()
    if ((EUID != 0)); then as_root=(sudo -n); fi
    "${as_root[@]}" apt-get update -qq
    # Debian pins the versions: 1.8.2, 2.0.7, 3.0.8 and 1.52.0 in bookworm.
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -qq -y --no-install-recommends \
        curl slowhttptest sslscan testssl.sh nghttp2-client bsdextrautils dnsutils >/dev/null
fi

work=$(mktemp -d)
started=()
finish() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

bad=0
verdict() { # what, yes or no, figures
    if [[ $2 == yes ]]; then printf '%-34s good   %s\n' "$1" "$3"; else
        printf '%-34s BAD    %s\n' "$1" "$3"
        bad=1
    fi
}
until_there() { # file
    for _ in $(seq 300); do
        if [[ -s $1 ]]; then return; fi
        sleep 0.1
    done
    echo "$1 did not come:" "$(tail -n 5 "$work"/*.log)" >&2
    exit 1
}

"$binary" sim --https 127.0.0.1:0 --http 127.0.0.1:0 --ca-out "$work/sim.pem" --limit all=off >"$work/sim.log" 2>&1 &
started+=($!)
for _ in $(seq 100); do
    sim=$(sed -n 's/.*sim listening https=\([0-9.:]*\).*/\1/p' "$work/sim.log")
    if [[ -n $sim ]]; then break; fi
    sleep 0.1
done
cat >"$work/tollgate.toml" <<TOML
[upstream]
connect = ["$sim"]
[gate]
start_rate = 1000000
[limits]
header_timeout = "10s"
body_idle_timeout = "10s"
write_stall_timeout = "10s"
[log]
level = "warn"
TOML
"$binary" run --config "$work/tollgate.toml" --state-dir "$work/state" --upstream-ca "$work/sim.pem" \
    --listen 127.0.0.1:0 --listen-http 127.0.0.1:0 --admin 127.0.0.1:0 >"$work/run.log" 2>&1 &
started+=($!)
proxy=$!
until_there "$work/state/ports.json"
port() { sed -n "s/.*\"$1\": *\"[^\"]*:\([0-9]*\)\".*/\1/p" <(tr ',{}' '\n\n\n' <"$work/state/ports.json"); }
http=127.0.0.1:$(port http)
https=localhost:$(port https)
admin=127.0.0.1:$(port admin)

memory() { awk '/VmRSS/ { printf "%d", $2 / 1024 }' "/proc/$proxy/status"; }
gauge() { curl -s "http://$admin/metrics" | awk -v name="$1" '$1 == name { print int($2) }'; }
ask() { # seconds that the answer took, or "failed"
    curl -s -o /dev/null --max-time 5 --cacert "$work/state/ca.pem" -H 'Authorization: Bearer good' -w '%{http_code} %{time_total}' \
        "https://$https/v1/people/me" | awk '$1 == 200 { print $2; found = 1 } END { if (!found) print "failed" }'
}

slow() { # name, mode and its options
    local name=$1 slowest=0 failed=0 seconds open
    shift
    slowhttptest -c 1000 -r 300 -l 20 -p 5 -u "http://$http/v1/people/me" "$@" >"$work/slow.log" 2>&1 &
    local attack=$!
    while kill -0 "$attack" 2>/dev/null; do
        seconds=$(ask)
        if [[ $seconds == failed ]]; then failed=$((failed + 1)); else
            slowest=$(awk -v a="$slowest" -v b="$seconds" 'BEGIN { print (a > b) ? a : b }')
        fi
        sleep 0.3
    done
    wait "$attack" || true
    for _ in $(seq 120); do
        open=$(gauge tollgate_connections)
        if ((open == 0)); then break; fi
        sleep 0.1
    done
    verdict "$name" "$([[ $failed == 0 && $open == 0 ]] && echo yes || echo no)" \
        "slowest good answer ${slowest} s, $failed failed, $open left open, RSS $(memory) MiB; $(
            sed 's/\x1b\[[0-9;]*m//g' "$work/slow.log" | grep -E 'Exit status' | tail -n 1 | tr -s ' '
        )"
}

slow "slowhttptest -H (slow heads)" -H -i 4 -x 24
slow "slowhttptest -B (slow bodies)" -B -i 4 -s 8192 -x 10 -t POST
slow "slowhttptest -R (range bomb)" -R -a 5 -b 3000
slow "slowhttptest -X (slow readers)" -X -w 1 -y 16 -n 4 -z 8 -k 3

sslscan --no-colour "$https" >"$work/sslscan.log" 2>&1 || true
wrong=$(grep -E '^(SSLv2|SSLv3|TLSv1\.0|TLSv1\.1) +enabled|Compression enabled|Insecure|vulnerable' "$work/sslscan.log" | grep -v 'not vulnerable' || true)
right=$(grep -cE '^TLSv1\.[23] +enabled' "$work/sslscan.log" || true)
verdict "sslscan" "$([[ -z $wrong && $right == 2 ]] && echo yes || echo no)" \
    "${wrong:-TLS 1.2 and 1.3 alone, $(grep -cE '^(Preferred|Accepted)' "$work/sslscan.log") suites, no compression, no renegotiation, no Heartbleed}"

testssl --quiet --color 0 --warnings off --connect-timeout 5 --openssl-timeout 5 -p -s -f -U "$https" >"$work/testssl.log" 2>&1 </dev/null || true
wrong=$(grep -E 'NOT ok|VULNERABLE' "$work/testssl.log" | grep -vE 'not vulnerable|not having|BREACH' || true)
checks=$(grep -cE '\(OK\)|not vulnerable' "$work/testssl.log" || true)
verdict "testssl.sh (-p -s -f -U)" "$([[ -z $wrong && $checks -gt 10 ]] && echo yes || echo no)" "${wrong:-$checks checks good, none bad}"

load() { # name, options
    local name=$1
    shift
    h2load -n 20000 -c 20 -H 'Authorization: Bearer good' "$@" "https://$https/v1/people/me" >"$work/h2load.log" 2>&1 || true
    local well
    well=$(sed -n 's/^status codes: \([0-9]*\) 2xx.*/\1/p' "$work/h2load.log")
    verdict "$name" "$([[ $well == 20000 ]] && echo yes || echo no)" \
        "$(sed -n 's/^finished in //p' "$work/h2load.log"); ${well:-0} of 20000 are 2xx; RSS $(memory) MiB"
}
load "h2load, h2" -m 10
load "h2load, http/1.1" --h1

verdict "the process" "$(kill -0 "$proxy" 2>/dev/null && [[ $(gauge tollgate_panics_total) == 0 ]] && echo yes || echo no)" \
    "alive, $(gauge tollgate_panics_total) panics, RSS $(memory) MiB"
exit "$bad"
