#!/usr/bin/env bash
# A control plane whose PostgreSQL hangs: the server (one of its own) is stopped with SIGSTOP, so that its kernel still
# acknowledges everything. Requests must be answered 503, the process must be alive and end at SIGTERM, and with the server
# going on it must serve again.
#
# Ends with 0 (passed), 77 (PostgreSQL or curl is missing) or 1.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

if [ -z "${RAP_SILENT_POSTGRES-}" ]; then
    command -v curl >/dev/null || { echo "silent-postgres: left out, curl is not installed"; exit 77; }
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
        { echo "silent-postgres: left out, PostgreSQL is not installed"; exit 77; }
    # Stopped processes that a failure leaves could not be ended by with-postgres: this process lets them go on first.
    RAP_SILENT_POSTGRES=1 exec scripts/with-postgres "$0"
fi

bin=${RAP_BIN:-.build/debug}
[ -x "$bin/rap-control" ] || swift build --product rap-control || exit 1
work=$(mktemp -d -t rap-silent.XXXXXX)
control='' stopped=()
go_on() {
    for process in "${stopped[@]}"; do kill -CONT "$process" 2>/dev/null; done
    stopped=()
}
# shellcheck disable=SC2317 # the trap calls it
cleanup() {
    go_on
    [ -z "$control" ] || kill -KILL "$control" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
fail() {
    echo "silent-postgres: FAILED: $1" >&2
    tail -n 20 "$work/log" >&2
    exit 1
}

listen=127.0.0.1:$((20000 + RANDOM % 10000))
start() {
    "$bin/rap-control" run --state "$work/state" --listen "$listen" --postgres "$RAP_POSTGRES" \
        >"$work/ready" 2>>"$work/log" &
    control=$!
    for _ in $(seq 300); do
        grep -q ready "$work/ready" && return
        kill -0 "$control" 2>/dev/null || break
        sleep 0.1
    done
    fail "the control plane does not start"
}
status() { curl -sk --max-time "${2:-30}" -o "$work/body" -w '%{http_code}' "https://$listen$1"; }
# The server and every process of it.
stop_server() {
    mapfile -t stopped < <(echo "$RAP_POSTGRES_PID"; ps -o pid= --ppid "$RAP_POSTGRES_PID" | tr -d ' ')
    kill -STOP "${stopped[@]}" || fail "the server can't be stopped"
}

"$bin/rap-control" init --state "$work/state" --listen "$listen" >"$work/init" 2>&1 || fail "init: $(cat "$work/init")"
: >"$work/log"
start
[ "$(status /v1/health)" = 200 ] || fail "no health before the server stops"

stop_server
status /v1/health >"$work/code" &
asked=$!
sleep 2
# While the control plane waits for the answer, and has not given the connection up.
alive=$(curl -sk --max-time 2 -o "$work/alive" -w '%{http_code}' "https://$listen/v1/health/live")
[ ! -s "$work/code" ] || fail "the server's silence did not hold the control plane up: $(cat "$work/code")"
[ "$alive" = 200 ] || fail "the process does not count as alive while it waits for the server: $alive"
wait "$asked"
[ "$(cat "$work/code")" = 503 ] || fail "a hanging server is not told: $(cat "$work/body")"
grep -q '"urn:rap:problem:unavailable"' "$work/body" || fail "no problem document: $(cat "$work/body")"
for _ in 1 2 3; do [ "$(status /v1/health)" = 503 ] || fail "not every request is answered 503"; done
[ "$(status /v1/health/live 5)" = 200 ] || fail "the process does not count as alive"
grep -q 'did not answer within' "$work/log" || fail "the log does not name the silence"

go_on
for _ in $(seq 60); do
    code=$(status /v1/health)
    [ "$code" != 200 ] || break
    sleep 1
done
[ "$code" = 200 ] || fail "the control plane does not come back with the server"

# Asked to end while a request waits for an answer that does not come.
stop_server
status /v1/health >/dev/null &
sleep 1
begun=$SECONDS
kill -TERM "$control"
wait "$control"
code=$?
[ "$code" = 0 ] || fail "SIGTERM ended it with $code"
[ $((SECONDS - begun)) -le 8 ] || fail "SIGTERM took $((SECONDS - begun)) s"
control=''
wait
go_on
echo "silent-postgres: passed; SIGTERM took $((SECONDS - begun)) s"
