#!/usr/bin/env bash
# Two real agents allocate nothing for a packet: the library that the unit tests count with (Tests/Allocations) is preloaded
# into them, and what they allocate while packets pass is divided by the packets. TCP goes in super-packets, datagrams that
# are answered one by one, so that each is a turn of the agent's loop.
#
#   smoke/allocations.sh
#
# Ends with 0 (passed), 77 (this machine can't run it) or 1. RAP_BIN names the directory of the programs (.build/debug).
set -uo pipefail
cd "$(dirname "$0")/.." || exit

skip() { echo "allocations: skipped: $1" && exit 77; }
[ "$(id -u)" -eq 0 ] || skip "it needs root"
[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"
for program in ip ping python3 clang; do command -v "$program" >/dev/null || skip "$program is missing"; done
bin=${RAP_BIN:-$PWD/.build/debug}
for program in rap rap-control rap-node-agent; do
    [ -x "$bin/$program" ] || swift build --product "$program" || exit 1
done

work=$(mktemp -d -t rap-allocations.XXXXXX)
a=rap-$$-alloc-a b=rap-$$-alloc-b
pids=()
cleanup() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
    for pid in "${pids[@]}"; do
        for _ in $(seq 30); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$pid" 2>/dev/null
    done
    ip netns delete "$a" 2>/dev/null
    ip netns delete "$b" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
fail() {
    echo "allocations: FAILED: $1" >&2
    for log in "$work"/*.log; do [ -s "$log" ] && { echo "--- ${log##*/}"; tail -n 20 "$log"; } >&2; done
    exit 1
}

clang -O2 -shared -fPIC -o "$work/count.so" Tests/Allocations/allocations.c || fail "the counting library does not build"
{ ip netns add "$a" && ip netns add "$b" && ip link add ul netns "$a" type veth peer name ul netns "$b" &&
    ip -n "$a" addr add 10.77.0.1/24 dev ul && ip -n "$b" addr add 10.77.0.2/24 dev ul; } || fail "no namespaces"
for namespace in "$a" "$b"; do ip -n "$namespace" link set lo up && ip -n "$namespace" link set ul up; done

mkdir "$work/counts"
LD_PRELOAD=$work/count.so RAP_ALLOCATIONS=$work/counts RAP_BIN=$bin \
    Benchmarks/PacketPath/hook start "$a" "$b" 10.77.0.1 10.77.0.2 10.78.9.1 10.78.9.2 >"$work/hook" 2>"$work/hook.log" ||
    fail "the agents did not come up"
printed=$(cat "$work/hook")
read -r -a pids <<<"${printed//[ABX]=/ }"
for pid in "${pids[@]:0:2}"; do [ -s "$work/counts/$pid" ] || fail "agent $pid is not counted"; done

ip netns exec "$b" python3 smoke/allocations.py serve 10.78.9.2 >"$work/serve.log" 2>&1 </dev/null &
pids+=($!)
for _ in $(seq 50); do grep -q ready "$work/serve.log" && break; sleep 0.1; done
ip netns exec "$a" timeout 300 python3 smoke/allocations.py measure 10.78.9.2 \
    "$work/counts/${pids[0]}" "$work/counts/${pids[1]}" || fail "an agent allocates for its packets"
