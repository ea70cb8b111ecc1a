#!/usr/bin/env bash
# What paths tell tunnels, and what tunnels tell programs: congestion marks and sizes, with the kernel on both ends.
#
#   smoke/path-signals.sh [--keep DIRECTORY]
#
# Two real agents enrol and meet over a router. Then:
#   - marks (RFC 6040): an echo request that speaks ECN makes a datagram that does, and one that does not makes none; the
#     router marks datagrams with congestion: packets that speak ECN come out marked, the others are dropped and counted; a TCP
#     connection with ECN goes on and hears of the congestion;
#   - sizes: with an underlay of 1,280 bytes near the sender, then far from it, a program is told by Packet Too Big what
#     passes, IPv6's 1,280 bytes pass, and a TCP transfer arrives whole; with an underlay of 9,000 bytes and --mtu 8912 large
#     packets go in one datagram each; with --clamp-mss a TCP connection opens with segments that fit.
# Everything happens in three network namespaces that are removed at the end, whatever happens.
#
# Ends with 0 (passed), 77 (this machine can't run it) or 1.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

keep=''
while [ $# -gt 0 ]; do
    case $1 in
        --keep) keep=${2:?--keep needs a directory} && shift ;;
        *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" && exit 2 ;;
    esac
    shift
done

skip() { echo "path-signals: skipped: $1" && exit 77; }
[ "$(id -u)" -eq 0 ] || skip "it needs root"
[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"

wanted=''
for pair in ip:iproute2 nft:nftables tshark:tshark ping:iputils-ping python3:python3; do
    command -v "${pair%%:*}" >/dev/null || wanted="$wanted ${pair#*:}"
done
if [ -n "$wanted" ]; then
    # shellcheck disable=SC2086 # package names, several
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $wanted; } \
        </dev/null >/dev/null 2>&1 || skip "these packages are missing and could not be installed:$wanted"
fi
bin=${RAP_BIN:-.build/debug}
for program in rap rap-control rap-node-agent; do
    [ -x "$bin/$program" ] || swift build --product "$program" || exit 1
done

# ---------------------------------------------------------------- set-up and removal
work=$(mktemp -d -t rap-path-signals.XXXXXX)
router=rap-$$-path-router
declare -A namespace=([a]=rap-$$-path-a [b]=rap-$$-path-b) agent=() overlay=() running=()

end() { # end PID: asks, waits, insists
    local pid=$1
    kill "$pid" 2>/dev/null
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    unset "running[$pid]"
}
cleanup() {
    local pid name
    for pid in "${!running[@]}"; do end "$pid"; done
    for name in "${namespace[@]}" "$router"; do ip netns delete "$name" 2>/dev/null; done
    if [ -n "$keep" ]; then
        rm -f "$work"/*.sock && mkdir -p "$keep" && cp -r "$work/." "$keep/"
    fi
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

fail() {
    echo "path-signals: FAILED: $1" >&2
    for log in "$work"/*.log; do [ -s "$log" ] && { echo "--- ${log##*/}"; tail -n 20 "$log"; } >&2; done
    exit 1
}
start() { # start NAMESPACE LOG COMMAND...: in the background; the process id is in $started
    local where=$1 log=$2
    shift 2
    ip netns exec "$where" "$@" >>"$work/$log" 2>&1 </dev/null &
    started=$!
    running[$started]=1
}
await() { # await SECONDS WHAT COMMAND...: until the command succeeds
    local tries=$(($1 * 10)) what=$2
    shift 2
    for _ in $(seq "$tries"); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
    fail "$what"
}

for name in "$router" "${namespace[a]}" "${namespace[b]}"; do
    ip netns add "$name" || fail "no namespaces"
    ip netns exec "$name" sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv4.tcp_ecn=1 2>/dev/null
    ip -n "$name" link set lo up
done
number=0
for node in a b; do
    number=$((number + 1))
    { ip -n "${namespace[$node]}" link add under type veth peer name "to-$node" netns "$router" &&
        ip -n "${namespace[$node]}" address add "10.77.$number.2/24" dev under &&
        ip -n "${namespace[$node]}" link set under up && ip -n "$router" address add "10.77.$number.1/24" dev "to-$node" &&
        ip -n "$router" link set "to-$node" up &&
        ip -n "${namespace[$node]}" route add default via "10.77.$number.1"; } || fail "no underlay"
    ip netns exec "${namespace[$node]}" sysctl -qw net.ipv6.conf.default.disable_ipv6=0
done
ip netns exec "$router" sysctl -qw net.ipv4.ip_forward=1 || fail "no forwarding"
mtu() { # mtu NODE BYTES: of both ends of a node's line
    { ip -n "$router" link set "to-$1" mtu "$2" && ip -n "${namespace[$1]}" link set under mtu "$2"; } ||
        fail "no MTU of $2"
    # What the kernel has learned of other paths is of the past.
    for name in "${namespace[@]}"; do ip -n "$name" route flush cache; done
}

# ---------------------------------------------------------------- the cluster
umask 077
control=10.77.1.1:8443
person() { ip netns exec "$router" "$bin/rap" "$@" --context "$work/operator.json"; }
start_agent() { # start_agent NODE OPTION...
    local node=$1 number=1
    shift
    [ "$node" = a ] || number=2
    start "${namespace[$node]}" "$node.log" "$bin/rap-node-agent" --state "$work/$node" --control "$control" \
        --name "node-$node" --listen "10.77.$number.2:51820" --interface rapps --probe-interval 0.5 "$@"
    agent[$node]=$started
}
status() { # status NODE EXPRESSION: of s, the agent's status; d is its drops
    "$bin/rap-node-agent" status --state "$work/$1" | python3 -c "
import json, sys
s = json.load(sys.stdin)
d = {one['reason']: one['count'] for one in s['packets']['drops']}
print($2)"
}
is() { [ "$(status "$1" "$2")" = "$3" ]; }
meet() { # the path is up both ways
    for node in a b; do
        await 30 "node $node has no path" is "$node" "all(p['up'] for p in s['peers']) and len(s['peers'])" 1
    done
}
restart() { # restart OPTION...: both agents, with a new session
    for node in a b; do end "${agent[$node]}"; done
    for node in a b; do start_agent "$node" "$@"; done
    meet
}

"$bin/rap-control" init --state "$work/control" --listen "$control" --operator-file "$work/operator.json" \
    >"$work/init.log" 2>&1 || fail "rap-control init"
start "$router" control.log "$bin/rap-control" run --state "$work/control" --listen "$control"
await 20 "the control plane did not start" grep -q ready "$work/control.log"
person cluster create smoke >"$work/operator.log" 2>&1 || fail "rap cluster create"
person token create smoke --name path --uses 2 >"$work/token" 2>>"$work/operator.log" || fail "rap token create"
for node in a b; do start_agent "$node" --token "@$work/token"; done
for node in a b; do await 20 "node $node does not ask to join" is "$node" "s['phase']" awaiting-approval; done
person join approve smoke --all-pending >>"$work/operator.log" 2>&1 || fail "rap join approve"
for node in a b; do await 20 "node $node is not admitted" is "$node" "s['phase']" active; done
meet
for node in a b; do overlay[$node]=$(status "$node" "s['overlayAddress']"); done

# ---------------------------------------------------------------- traffic
echoes() { # echoes COUNT OPTION...: from a to b; what ping says is in ping.log
    local count=$1
    shift
    ip netns exec "${namespace[a]}" ping -6 -n -c "$count" -i 0.1 -W 2 "$@" "${overlay[b]}" >"$work/ping.log" 2>&1
}
passes() { # passes OPTION...: none of three echo requests may be lost
    { echoes 3 "$@" && grep -q ' 0% packet loss' "$work/ping.log"; } || fail "ping $*: $(tail -n 3 "$work/ping.log")"
}
record() { # record NAMESPACE INTERFACE NAME COMMAND...: what passes meanwhile is in NAME.pcap
    local where=$1 interface=$2 name=$3
    shift 3
    rm -f "$work/$name.log"
    start "$where" "$name.log" tshark -q -i "$interface" -w "$work/$name.pcap"
    local recorder=$started
    await 20 "no capture" grep -q Capturing "$work/$name.log"
    sleep 0.5
    "$@"
    sleep 0.5
    kill -INT "$recorder" && wait "$recorder" 2>/dev/null
    unset "running[$recorder]"
}
seen() { tshark -r "$work/$1.pcap" -Y "$2" 2>/dev/null | wc -l; } # seen NAME FILTER: how many packets
transfer() { # a TCP transfer from a to b, which must arrive whole
    rm -f "$work/serve.log"
    start "${namespace[b]}" serve.log python3 smoke/inner-traffic.py serve "${overlay[b]}" 7777
    local server=$started
    await 10 "the TCP server did not start" grep -q ready "$work/serve.log"
    ip netns exec "${namespace[a]}" timeout 60 python3 smoke/inner-traffic.py send "${overlay[b]}" 7777 $((8 << 20)) \
        "$(printf '5a%.0s' $(seq 32))" || fail "a TCP transfer"
    end "$server"
}
count_of() { # count_of NODE COUNTER: of the kernel
    ip netns exec "${namespace[$1]}" nstat -az "$2" | awk -v name="$2" '$1 == name { print $2 }'
}

# ---------------------------------------------------------------- marks
echo "-- marks"
outer='udp.port == 51820 && frame.len > 130 && ip.dsfield.ecn'
record "$router" to-a plain passes
{ [ "$(seen plain "$outer == 0")" -ge 6 ] && [ "$(seen plain "$outer != 0")" = 0 ]; } ||
    fail "a datagram is marked for nothing"
record "$router" to-a ect passes -Q 2
[ "$(seen ect "$outer == 2")" -ge 6 ] || fail "a packet that speaks ECN makes a datagram that does not"
echo "a datagram's mark is its packet's: $(seen ect "$outer == 2") of them"

ip netns exec "$router" nft -f - <<'END' || fail "nft"
table ip congestion {
    chain through { type filter hook forward priority 0; udp dport 51820 ip ecn ect0 ip ecn set ce; }
}
END
record "${namespace[b]}" rapps inside passes -Q 2
[ "$(seen inside 'icmpv6.type == 128 && ipv6.tclass.ecn == 3')" = 3 ] || fail "the path's mark is not in the packets"
passes
before=$(count_of b Ip6InCEPkts)
transfer
[ "$(count_of b Ip6InCEPkts)" -gt "$before" ] || fail "TCP hears of no congestion"
echo "a congested path marks packets: $(($(count_of b Ip6InCEPkts) - before)) of a TCP transfer, which arrived"
is b "d.get('congestion', 0)" 0 || fail "something was dropped for its mark"

# Somebody marks what does not speak ECN.
ip netns exec "$router" nft -f - <<'END' || fail "nft"
flush chain ip congestion through
add rule ip congestion through udp dport 51820 ip ecn set ce
END
# Probes speak no ECN either, so the path goes down.
echoes 3 && fail "a packet passes that was marked and does not speak ECN"
[ "$(status b "d['congestion']")" -ge 3 ] || fail "drops for their mark are not counted"
is b "s['peers'][0]['drops'][0]['reason']" congestion || fail "drops are not their peer's"
echo "what does not speak ECN and is marked is dropped: $(status b "d['congestion']")"
ip netns exec "$router" nft delete table ip congestion
meet

# ---------------------------------------------------------------- sizes
told() { # told BYTES MTU: an echo request of so many bytes is too large, and ping is told that MTU
    echoes 3 -M "do" -s $(($1 - 48)) && fail "a packet of $1 bytes passes"
    grep -q "too big.*mtu[ =:]*$2\|too long.*mtu[ =:]*$2" "$work/ping.log" || fail "of $1 bytes ping is told: $(cat "$work/ping.log")"
}
for side in a b; do
    echo "-- an underlay of 1280 bytes at $side"
    mtu "$side" 1280
    restart
    if [ "$side" = b ]; then
        # The router says so when something large comes; and a run that is refused makes the agent look.
        echoes 5 -M "do" -s 1352
        transfer
    fi
    told 1400 1280
    ip -n "${namespace[a]}" -6 route flush cache
    # The first answer that does not fit teaches the other side's kernel, at its own cost.
    echoes 2 -s 1232
    passes -M "do" -s 1232
    transfer
    [ "$(status a "s['packets']['tooBigTold']")" -ge 1 ] || fail "the status tells of no message"
    echo "told $(status a "s['packets']['tooBigTold']") times, dropped $(status a "d['too_big']")"
    mtu "$side" 1500
done

echo "-- segments are clamped"
mtu a 1280
restart --clamp-mss
# 1280 less 60 around a packet, less 60 of IPv6 and TCP.
fits='tcp.flags.syn == 1 && tcp.options.mss_val == 1160 && tcp.flags.ack'
record "${namespace[b]}" rapps clamped transfer
[ "$(seen clamped "$fits == 0")" = 1 ] || fail "a connection opens with other segments than fit"
record "${namespace[a]}" rapps answered transfer
[ "$(seen answered "$fits == 1")" = 1 ] || fail "a connection is answered with other segments than fit"
is a "d.get('too_big', 0)" 0 || fail "a packet was too large all the same"
mtu a 1500

echo "-- an underlay of 9000 bytes"
mtu a 9000
mtu b 9000
restart --mtu 8912
record "$router" to-a jumbo passes -M "do" -s 8864
[ "$(seen jumbo 'udp.port == 51820 && frame.len > 8900')" -ge 6 ] || fail "a large packet is not one datagram"
[ "$(seen jumbo 'ip.flags.mf == 1 || ip.frag_offset > 0')" = 0 ] || fail "a datagram was fragmented"
transfer
for way in outwardLatency inwardLatency; do
    [ "$(status a "s['packets']['$way']['samples']")" -ge 1 ] || fail "the status tells of no $way"
    status a "'$way, median and 99 in 100 below: %s us, %s us' % tuple(
        s['packets']['$way'].get(k) for k in ('medianBelowMicroseconds', 'p99BelowMicroseconds'))"
done
echo "path-signals: passed"
