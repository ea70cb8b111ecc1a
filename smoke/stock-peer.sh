#!/usr/bin/env bash
# A stock WireGuard peer: Debian's wireguard-go with wg(8) joins an enrolled rap-node-agent, once with the agent as the
# initiator and once with the peer.
#
#   smoke/stock-peer.sh [--long] [--keep DIRECTORY]
#
# A control plane is started, a cluster and a token are made with rap, an agent enrols and is approved with “rap join
# approve”. The peer is configured on the agent by --static-peers, and the agent on the peer by what “rap-node-agent
# peer-config” prints. Each time: a fresh handshake, echo requests, a TCP transfer both ways; the agent's status must
# tell of it. The underlay is captured: it must hold WireGuard, TLS 1.3 with the control plane and nothing else, and no
# byte of a canary that went through the tunnel; tshark, given the keys that both sides' handshakes used (--key-log),
# must see the traffic inside, and without them nothing. --long goes on past 180 s, so that the session must be rekeyed
# without a packet lost. --keep copies captures, keys, states and logs there. Everything happens in three network
# namespaces that are removed at the end, whatever happens.
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
bin=${RAP_BIN:-.build/debug}
for program in rap rap-control rap-node-agent rap-live; do
    [ -x "$bin/$program" ] || swift build --product "$program" || exit 1
done

# ---------------------------------------------------------------- set-up and removal
work=$(mktemp -d -t rap-stock-peer.XXXXXX)
# rap-PID-NAME, as FabricLinux names its own. The router is the control plane's host too; its links are captured.
router=rap-$$-stock-router ours=rap-$$-stock-ours theirs=rap-$$-stock-theirs
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
    local pid namespace
    for pid in "${!running[@]}"; do end "$pid"; done
    for namespace in "$ours" "$theirs" "$router"; do ip netns delete "$namespace" 2>/dev/null; done
    rm -f "/run/wireguard/$their_interface.sock"
    if [ -n "$keep" ]; then
        rm -f "$work"/*.sock && mkdir -p "$keep" && cp -r "$work/." "$keep/"
    fi
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

for namespace in "$router" "$ours" "$theirs"; do
    ip netns add "$namespace" || fail "no namespaces"
    # No IPv6 on the underlay: what the kernel says there by itself would only be noise.
    ip netns exec "$namespace" sysctl -qw net.ipv6.conf.default.disable_ipv6=1 2>/dev/null
    ip -n "$namespace" link set lo up
done
for side in "ours $ours 10.77.1" "theirs $theirs 10.77.2"; do
    read -r name namespace network <<<"$side"
    { ip -n "$namespace" link add under type veth peer name "$name" netns "$router" &&
        ip -n "$namespace" address add "$network.2/24" dev under && ip -n "$namespace" link set under up &&
        ip -n "$router" address add "$network.1/24" dev "$name" && ip -n "$router" link set "$name" up &&
        ip -n "$namespace" route add default via "$network.1"; } || fail "no underlay"
done
ip netns exec "$router" sysctl -qw net.ipv4.ip_forward=1 || fail "no forwarding"
# The overlay has IPv6, in the TUN devices that come later.
for namespace in "$ours" "$theirs"; do
    ip netns exec "$namespace" sysctl -qw net.ipv6.conf.default.disable_ipv6=0 2>/dev/null
done
umask 077
canary=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
bytes=$((8 << 20))
control=10.77.1.1:8443
echo "wireguard-go: $(dpkg-query -W -f '${Version}' wireguard-go 2>/dev/null)"

# ---------------------------------------------------------------- the cluster
person() { ip netns exec "$router" "$bin/rap" "$@" --context "$work/operator.json"; }
enrol() { # starts the control plane; enrols an agent, and ends it again
    "$bin/rap-control" init --state "$work/control" --listen "$control" --operator-file "$work/operator.json" \
        >"$work/init.log" 2>&1 || fail "rap-control init"
    start "$router" control.log "$bin/rap-control" run --state "$work/control" --listen "$control"
    await 20 "the control plane did not start" logged control.log ready
    person cluster create smoke >"$work/operator.log" 2>&1 || fail "rap cluster create"
    person token create smoke --name stock >"$work/token" 2>>"$work/operator.log" || fail "rap token create"
    start_agent --token "@$work/token"
    await 20 "the agent does not wait for approval" phase awaiting-approval
    person join approve smoke --name smoke-node >>"$work/operator.log" 2>&1 || fail "rap join approve"
    await 20 "the agent did not become a member" phase active
    end "$agent" || fail "the agent ended badly"
    echo "enrolled: $(person node list smoke --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["id"])')"
}
start_agent() { # start_agent OPTION...; the process id is in $agent
    start "$ours" agent.log "$bin/rap-node-agent" --state "$work/agent" --control "$control" --name smoke-node \
        --listen 0.0.0.0:51820 --advertise 10.77.1.2:51820 --interface rapwg --log-level debug "$@"
    agent=$started
}
status() { "$bin/rap-node-agent" status --state "$work/agent"; }
phase() { status | grep -q "\"phase\":\"$1\""; }
static_peer() { # static_peer FIELD: of the one static peer, as the agent's status tells it
    status | python3 -c '
import json, sys
print(json.load(sys.stdin)["domains"][0]["staticPeers"][0].get(sys.argv[1], ""))' "$1"
}
handshaken() { [ "$(static_peer handshakes)" -ge 1 ]; }

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
configure_agent() { # configure_agent INITIATOR: the peer, as the agent reads it
    {
        printf '[Interface]\nAddress = 10.78.0.1/24\n\n[Peer]\n'
        printf 'PublicKey = %s\nPresharedKey = %s\n' "$(wg pubkey <"$work/their.key")" "$(cat "$work/shared.key")"
        printf 'AllowedIPs = 10.78.0.2/32, fd78::2/128\n'
        # Only the initiator is told where the other is; the other one learns it from the handshake.
        [ "$1" = theirs ] || printf 'Endpoint = 10.77.2.2:51820\n'
    } >"$work/peers.conf"
}
start_peer() { # start_peer INITIATOR; the process id is in $peer
    start "$theirs" theirs.log env LOG_LEVEL=verbose wireguard-go -f "$their_interface"
    peer=$started
    await 10 "wireguard-go did not start" wg show "$their_interface"
    {
        printf '[Interface]\nListenPort = 51820\nPrivateKey = %s\n\n' "$(cat "$work/their.key")"
        "$bin/rap-node-agent" peer-config --state "$work/agent" --endpoint 10.77.1.2:51820 | {
            if [ "$1" = theirs ]; then cat; else sed /^Endpoint/d; fi
        }
        printf 'PresharedKey = %s\n' "$(cat "$work/shared.key")"
    } >"$work/wg.conf"
    wg setconf "$their_interface" "$work/wg.conf" || fail "wg setconf"
    overlay=$(status | python3 -c 'import json, sys; print(json.load(sys.stdin)["overlayAddress"])')
    { ip -n "$theirs" address add 10.78.0.2/24 dev "$their_interface" &&
        ip -n "$theirs" address add fd78::2/128 dev "$their_interface" nodad &&
        ip -n "$theirs" link set "$their_interface" mtu 1420 up &&
        ip -n "$theirs" route add "$overlay/128" dev "$their_interface"; } || fail "the peer's interface"
}
direction() { # direction INITIATOR: ours or theirs
    local initiator=$1 capture="$work/$1.pcap" keys="$work/$1.keys" recorder
    echo "-- $initiator initiates"
    wg genkey >"$work/their.key" && wg genpsk >"$work/shared.key"
    rm -f "$work"/{record,agent,theirs}.log
    start "$router" record.log "$bin/rap-live" capture record theirs "$capture"
    recorder=$started
    start "$router" record.log "$bin/rap-live" capture record ours "$work/$initiator-control.pcap"
    local control_recorder=$started
    await 10 "the captures did not start" eval "[ \$(grep -c ready '$work/record.log') = 2 ]"

    configure_agent "$initiator"
    start_agent --static-peers "fabric=$work/peers.conf" --key-log "$keys"
    await 20 "the agent did not come up" logged agent.log 'interface up'
    await 20 "the agent did not reach the control plane" phase active
    start_peer "$initiator"

    if [ "$initiator" = ours ]; then
        echoes "$ours" 10.78.0.2 5 0.2
        logged theirs.log 'Received handshake initiation' || fail "we did not initiate"
        echoes "$theirs" 10.78.0.1 5 0.2
    else
        echoes "$theirs" 10.78.0.1 5 0.2
        logged theirs.log 'Sending handshake initiation' || fail "the peer did not initiate"
        echoes "$ours" 10.78.0.2 5 0.2
    fi
    # By the node's own overlay address too, which is what an Address is not needed for.
    ip netns exec "$theirs" ping -q -n -c 3 -i 0.2 -W 5 -I fd78::2 "$overlay" >"$work/overlay.log" 2>&1 ||
        fail "echo requests to the overlay address: $(grep loss "$work/overlay.log")"
    [ "$(their_handshake)" != 0 ] || fail "the peer knows of no handshake"
    transfer "$ours" "$theirs" 10.78.0.2
    transfer "$theirs" "$ours" 10.78.0.1
    await 5 "the agent's status tells of no handshake" handshaken
    [ "$(static_peer endpoint)" = 10.77.2.2:51820 ] || fail "the agent's status says $(static_peer endpoint)"
    { [ "$(static_peer receivedBytes)" -gt "$bytes" ] && [ "$(static_peer sentBytes)" -gt "$bytes" ]; } ||
        fail "the agent's status counts too few bytes"

    [ -z "$long" ] || outlast_session
    lose_interface
    [ "$initiator" != ours ] || disturb_interface

    end "$agent" || fail "the agent ended badly"
    end "$peer"
    end "$recorder" || fail "the capture ended badly"
    end "$control_recorder" || fail "the capture ended badly"
    ip -n "$ours" link show rapwg >/dev/null 2>&1 && fail "our TUN device is still there"
    judge "$capture" "$keys" "$work/$initiator-control.pcap"
}
lose_interface() { # somebody deletes the TUN device: it is made again, and told of once
    # Without the device the default route would take what is for the peer.
    ip -n "$ours" route replace blackhole 10.78.0.0/16 metric 9999 || fail "no route"
    ip -n "$ours" link delete rapwg || fail "there is no TUN device to delete"
    await 20 "the TUN device was not made again" ip netns exec "$ours" ping -q -n -c 1 -W 1 10.78.0.2
    [ "$(grep -c 'was it deleted' "$work/agent.log")" = 1 ] || fail "the loss of the TUN device is not told of once"
}
interface_state() {
    ip -n "$ours" -o link show rapwg | cut -d ' ' -f 2-5
    ip -n "$ours" -o address show dev rapwg
    ip -n "$ours" route show dev rapwg
    ip -n "$ours" -6 route show dev rapwg
}
as_before() { [ "$(interface_state)" = "$1" ]; }
disturb_interface() { # somebody changes the TUN device: it is put right, and told of once
    local before words command undo
    before=$(interface_state)
    while IFS='|' read -r words command undo; do
        # shellcheck disable=SC2086 # a command's words
        ip -n "$ours" $command </dev/null || fail "ip $command"
        as_before "$before" && fail "ip $command changed nothing"
        if [ -n "$undo" ]; then
            # What has its place is somebody else's: it is told of and left, and the interface put right when it is gone.
            await 30 "after ip $command nothing is told" eval "status | grep -q 'File exists'"
            # shellcheck disable=SC2086 # a command's words
            ip -n "$ours" $undo </dev/null || fail "ip $undo"
        fi
        await 30 "after ip $command the TUN device was not put right" as_before "$before"
        [ "$(grep -c "changed from outside: $words" "$work/agent.log")" = 1 ] || fail "\"$words\" is not told of once"
        await 10 "after ip $command no packet passes" ip netns exec "$ours" ping -q -n -c 1 -W 1 10.78.0.2
    done <<'END'
it is down|link set rapwg down
its MTU is 1300|link set rapwg mtu 1300
its MTU is 1200|link set rapwg mtu 1200
without address|address flush dev rapwg
without route fd78::2/128|-6 route delete fd78::2/128 dev rapwg
without route 10.78.0.2/32|route replace blackhole 10.78.0.2/32|route delete blackhole 10.78.0.2/32
END
}
outlast_session() {
    local first ours_first back
    first=$(their_handshake) ours_first=$(static_peer handshakes)
    # Both ways, as a session is rekeyed by the side that began it when it sends, at 120 s.
    ip netns exec "$theirs" ping -q -n -c 390 -i 0.5 -W 5 10.78.0.1 >"$work/back.log" 2>&1 &
    back=$!
    running[$back]=1
    echoes "$ours" 10.78.0.2 390 0.5
    { wait "$back" && grep -q ' 0% packet loss' "$work/back.log"; } ||
        fail "echo requests back: $(grep loss "$work/back.log")"
    unset "running[$back]"
    [ "$(their_handshake)" -gt "$first" ] || fail "the peer has not rekeyed"
    [ "$(static_peer handshakes)" -gt "$ours_first" ] || fail "we have not rekeyed"
    echo "rekeyed $(($(static_peer handshakes) - ours_first)) times in 195 s, no packet lost"
}

# ---------------------------------------------------------------- the captures
judge() { # judge CAPTURE KEYS CAPTURE-WITH-CONTROL
    # The link of the peer carries WireGuard alone; ours also TLS with the control plane.
    local mtus=(--tunnel-mtu 1412 --tunnel-mtu 1420)
    "$bin/rap-live" capture verify "$1" --canary "$canary" "${mtus[@]}" || fail "the underlay carried something else"
    "$bin/rap-live" capture verify "$3" --canary "$canary" "${mtus[@]}" --tls-server "$control" ||
        fail "the agent's underlay carried something else"
    local hidden seen
    hidden=$(tshark -r "$1" -Y 'icmp || tcp' 2>/dev/null | wc -l)
    seen=$(tshark -o "wg.keylog_file:$2" -r "$1" -Y icmp 2>/dev/null | wc -l)
    [ "$hidden" -eq 0 ] || fail "tshark sees $hidden inner packets without keys"
    [ "$seen" -ge 20 ] || fail "tshark, given the keys, sees $seen of at least 20 ICMP messages"
    [ "$(stat -c %a "$2")" = 600 ] || fail "the key log is open to others"
    echo "tshark, given the keys, sees $seen ICMP messages inside, and none without"
}

enrol
direction ours
direction theirs
echo "stock-peer: passed${long:+ (long)}"
