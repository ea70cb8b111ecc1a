#!/usr/bin/env bash
# A stock WireGuard peer: Debian's wireguard-go joins our tunnel endpoint, once with us as the initiator and once with
# it.
#
#   smoke/stock-peer.sh [--long] [--keep DIRECTORY]
#
# Each time: a fresh handshake, echo requests, a TCP transfer both ways. The underlay is captured: it must hold
# WireGuard and nothing else, and no byte of a canary that went through the tunnel; tshark, given the keys, must see
# the traffic inside. --long goes on past 180 s, so that the session must be rekeyed without a packet lost. --keep
# copies captures, keys and logs there. Everything happens in two network namespaces that are removed at the end,
# whatever happens.
#
# Ends with 0 (passed), 77 (this machine can't run it) or 1.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

long='' keep=''
while [ $# -gt 0 ]; do
    case $1 in
        --long) long=1 ;;
        --keep) keep=${2:?--keep needs a directory} && shift ;;
        *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" && exit 2 ;;
    esac
    shift
done

skip() { echo "stock-peer: skipped: $1" && exit 77; }
[ "$(id -u)" -eq 0 ] || skip "it needs root"
[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"

wanted=''
for pair in ip:iproute2 wireguard-go:wireguard-go wg:wireguard-tools tshark:tshark ping:iputils-ping python3:python3; do
    command -v "${pair%%:*}" >/dev/null || wanted="$wanted ${pair#*:}"
done
if [ -n "$wanted" ]; then
    # shellcheck disable=SC2086 # package names, several
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $wanted; } \
        </dev/null >/dev/null 2>&1 || skip "these packages are missing and could not be installed:$wanted"
fi
probe=${RAP_BIN:-.build/debug}/fabric-wg
[ -x "$probe" ] || swift build --product fabric-wg || exit 1

# ---------------------------------------------------------------- set-up and removal
work=$(mktemp -d -t rap-stock-peer.XXXXXX)
ours=rap-$$-stock-ours theirs=rap-$$-stock-theirs # rap-PID-NAME, as FabricLinux names its own
their_interface=rapwg$$
their_interface=${their_interface:0:15}
declare -A running=()

end() { # end PID: asks, waits, insists
    local pid=$1
    kill "$pid" 2>/dev/null
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    local status=$?
    unset "running[$pid]"
    return $status
}
cleanup() {
    local pid
    for pid in "${!running[@]}"; do end "$pid"; done
    ip netns delete "$ours" 2>/dev/null
    ip netns delete "$theirs" 2>/dev/null
    rm -f "/run/wireguard/$their_interface.sock"
    if [ -n "$keep" ]; then mkdir -p "$keep" && cp -r "$work/." "$keep/"; fi
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

fail() {
    echo "stock-peer: FAILED: $1" >&2
    for log in "$work"/*.log; do [ -s "$log" ] && { echo "--- ${log##*/}"; tail -n 20 "$log"; } >&2; done
    exit 1
}
start() { # start NAMESPACE LOG COMMAND...: in the background; the process id is in $started
    local namespace=$1 log=$2
    shift 2
    ip netns exec "$namespace" "$@" >>"$work/$log" 2>&1 </dev/null &
    started=$!
    running[$started]=1
}
await() { # await SECONDS WHAT COMMAND...: until the command succeeds
    local tries=$(($1 * 10)) what=$2
    shift 2
    for _ in $(seq "$tries"); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
    fail "$what"
}
logged() { grep -q "$2" "$work/$1"; }

{ ip netns add "$ours" && ip netns add "$theirs" &&
    ip -n "$ours" link add under type veth peer name under netns "$theirs"; } || fail "no namespaces"
for side in "$ours 10.77.0.1" "$theirs 10.77.0.2"; do
    read -r namespace address <<<"$side"
    # No IPv6 on the underlay: what the kernel says there by itself would only be noise.
    ip netns exec "$namespace" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 2>/dev/null
    { ip -n "$namespace" link set lo up && ip -n "$namespace" address add "$address/24" dev under &&
        ip -n "$namespace" link set under up; } || fail "no underlay"
done
umask 077
canary=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
bytes=$((8 << 20))
echo "wireguard-go: $(dpkg-query -W -f '${Version}' wireguard-go 2>/dev/null)"

# ---------------------------------------------------------------- traffic
transfer() { # transfer FROM TO ADDRESS: a TCP transfer from one namespace to an address in the other
    rm -f "$work/serve.log"
    start "$2" serve.log python3 smoke/inner-traffic.py serve "$3" 7777
    local server=$started
    await 10 "the TCP server did not start" logged serve.log ready
    ip netns exec "$1" timeout 60 python3 smoke/inner-traffic.py send "$3" 7777 "$bytes" "$canary" ||
        fail "a TCP transfer to $3"
    end "$server"
}
echoes() { # echoes NAMESPACE ADDRESS COUNT INTERVAL: none may be lost
    { ip netns exec "$1" ping -q -n -c "$3" -i "$4" -W 5 -p "${canary:0:32}" "$2" >"$work/ping.log" 2>&1 &&
        grep -q ' 0% packet loss' "$work/ping.log"; } || fail "echo requests to $2: $(grep loss "$work/ping.log")"
    grep loss "$work/ping.log"
}
their_handshake() { wg show "$their_interface" latest-handshakes | awk '{ print $2 }'; }

# ---------------------------------------------------------------- one direction
direction() { # direction INITIATOR: ours or theirs
    local initiator=$1 peer_endpoint='' our_endpoint=() capture keys="$work/$1.keys" our_pid their_pid recorder
    capture="$work/$1.pcap"
    echo "-- $initiator initiates"
    wg genkey >"$work/our.key" && wg genkey >"$work/their.key" && wg genpsk >"$work/shared.key"
    local our_public their_public
    our_public=$(wg pubkey <"$work/our.key") their_public=$(wg pubkey <"$work/their.key")
    # Only the initiator is told where the other is; the other one learns it from the handshake.
    if [ "$initiator" = ours ]; then our_endpoint=(--endpoint 10.77.0.2:51820); else peer_endpoint=10.77.0.1:51820; fi

    rm -f "$work"/{record,ours,theirs}.log
    start "$ours" record.log "$probe" record under "$capture"
    recorder=$started
    await 10 "the capture did not start" logged record.log ready

    start "$theirs" theirs.log env LOG_LEVEL=verbose wireguard-go -f "$their_interface"
    their_pid=$started
    await 10 "wireguard-go did not start" wg show "$their_interface"
    # shellcheck disable=SC2086 # two words or none
    wg set "$their_interface" listen-port 51820 private-key "$work/their.key" peer "$our_public" \
        preshared-key "$work/shared.key" allowed-ips 10.78.0.1/32 \
        ${peer_endpoint:+endpoint $peer_endpoint} || fail "wg set"
    { ip -n "$theirs" address add 10.78.0.2/32 dev "$their_interface" &&
        ip -n "$theirs" link set "$their_interface" mtu 1420 up &&
        ip -n "$theirs" route add 10.78.0.1/32 dev "$their_interface"; } || fail "the peer's interface"

    start "$ours" ours.log "$probe" up --interface rapwg --listen 0.0.0.0:51820 --private-key "$work/our.key" \
        --address 10.78.0.1 --peer "$their_public" --preshared-key "$work/shared.key" --allowed-ip 10.78.0.2/32 \
        --key-log "$keys" "${our_endpoint[@]}"
    our_pid=$started
    await 10 "our endpoint did not start" logged ours.log ready

    if [ "$initiator" = ours ]; then
        echoes "$ours" 10.78.0.2 5 0.2
        logged ours.log 'session initiator' || fail "we did not initiate"
        echoes "$theirs" 10.78.0.1 5 0.2
    else
        echoes "$theirs" 10.78.0.1 5 0.2
        logged ours.log 'session responder' || fail "the peer did not initiate"
        echoes "$ours" 10.78.0.2 5 0.2
    fi
    [ "$(their_handshake)" != 0 ] || fail "the peer knows of no handshake"
    transfer "$ours" "$theirs" 10.78.0.2
    transfer "$theirs" "$ours" 10.78.0.1

    if [ -n "$long" ]; then
        local first
        first=$(their_handshake)
        # Both ways, as a session is rekeyed by the side that began it when it sends, at 120 s.
        ip netns exec "$theirs" ping -q -n -c 390 -i 0.5 -W 5 10.78.0.1 >"$work/back.log" 2>&1 &
        local back=$!
        running[$back]=1
        echoes "$ours" 10.78.0.2 390 0.5
        { wait "$back" && grep -q ' 0% packet loss' "$work/back.log"; } ||
            fail "echo requests back: $(grep loss "$work/back.log")"
        unset "running[$back]"
        [ "$(their_handshake)" -gt "$first" ] || fail "the peer has not rekeyed"
        [ "$(grep -c '^session ' "$work/ours.log")" -ge 2 ] || fail "we have not rekeyed"
        echo "rekeyed $((($(grep -c '^session ' "$work/ours.log")) - 1)) times in 195 s, no packet lost"
    fi

    end "$our_pid" || fail "our endpoint ended badly"
    end "$their_pid"
    end "$recorder" || fail "the capture ended badly"
    ip -n "$ours" link show rapwg >/dev/null 2>&1 && fail "our TUN device is still there"
    judge "$capture" "$keys"
}

# ---------------------------------------------------------------- the capture
judge() { # judge CAPTURE KEYS
    "$probe" verify "$1" --canary "$canary" || fail "the underlay carried something else"
    local hidden seen
    hidden=$(tshark -r "$1" -Y 'icmp || tcp' 2>/dev/null | wc -l)
    seen=$(tshark -o "wg.keylog_file:$2" -r "$1" -Y icmp 2>/dev/null | wc -l)
    [ "$hidden" -eq 0 ] || fail "tshark sees $hidden inner packets without keys"
    [ "$seen" -ge 20 ] || fail "tshark, given the keys, sees $seen of at least 20 ICMP messages"
    echo "tshark, given the keys, sees $seen ICMP messages inside, and none without"
}

direction ours
direction theirs
echo "stock-peer: passed${long:+ (long)}"
