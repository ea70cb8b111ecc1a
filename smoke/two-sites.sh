#!/usr/bin/env bash
# One scenario, two hosts: runs Scenarios/two-sites.yaml with the real programs in network namespaces, then in the
# simulator, and prints how each expectation came out in both.
#
#   smoke/two-sites.sh [--keep DIRECTORY]
#
# It passes when both hosts give every expectation the same outcome, all hold, and the captures of every link show
# WireGuard, TLS 1.3 and what links need, and nowhere the canary that went through a tunnel. --keep copies the
# programs' logs and states, the captures and both reports there. Takes about 75 s.
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

skip() { echo "two-sites: skipped: $1" && exit 77; }
[ "$(id -u)" -eq 0 ] || skip "it needs root"
[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"
for program in ip nft python3; do command -v "$program" >/dev/null || skip "$program is missing"; done

bin=${RAP_BIN:-.build/debug}
for program in rap-live rap-control rap-node-agent rap rap-sim; do
    [ -x "$bin/$program" ] || swift build --product "$program" || exit 1
done

work=$(mktemp -d -t rap-two-sites.XXXXXX)
trap 'rm -rf "$work"' EXIT
live=''
# Ended from outside, the live run must have the time to remove its namespaces.
stop() {
    [ -z "$live" ] || { kill "$live" 2>/dev/null && wait "$live"; }
    exit "$1"
}
trap 'stop 130' INT
trap 'stop 143' TERM HUP

"$bin/rap-live" run Scenarios/two-sites.yaml --json --keep "${keep:-$work/kept}" --pcap "${keep:-$work/kept}/captures" \
    >"$work/live.json" &
live=$!
wait "$live"
status=$?
live=''
if [ "$status" -ne 0 ]; then
    for log in "${keep:-$work/kept}"/logs/*.log; do
        [ -s "$log" ] && { echo "--- ${log##*/}"; tail -n 20 "$log"; } >&2
    done
fi
if [ ! -s "$work/live.json" ]; then
    echo "two-sites: FAILED: the live run ended with status $status and no report" >&2
    exit 1
fi
simulated=''
for program in .build/release/rap-sim "$bin/rap-sim"; do [ -x "$program" ] && simulated=$program && break; done
"$simulated" run Scenarios/two-sites.yaml --json >"$work/simulator.json"
if [ -n "$keep" ]; then mkdir -p "$keep" && cp "$work/live.json" "$work/simulator.json" "$keep/"; fi

python3 - "$work/live.json" "$work/simulator.json" <<'PYTHON'
import json
import sys

reports = []
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if not text:
        sys.exit(f"two-sites: FAILED: there is no report in {path}")
    reports.append(json.loads(text))
live, simulator = reports

def outcome(expectation):
    when = expectation.get("firstHeldSeconds", expectation.get("decidedAtSeconds"))
    return expectation["outcome"] + ("" if when is None else f" {when:.1f} s")

differing = [e["name"] for e, f in zip(live["expectations"], simulator["expectations"])
             if (e["name"], e["outcome"]) != (f["name"], f["outcome"])]
if len(live["expectations"]) != len(simulator["expectations"]):
    differing.append("(the number of expectations)")
print(f"{'live':<18}{'simulator':<18}expectation")
for e, f in zip(live["expectations"], simulator["expectations"]):
    print(f"{outcome(e):<18}{outcome(f):<18}{e['name']}" + ("   <-- differs" if e["name"] in differing else ""))
    for host, expectation in (("live", e), ("simulator", f)):
        if "why" in expectation:
            print(f"{'':<36}{host}: {expectation['why']}")
capture = live["capture"]
kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(capture["kinds"].items()))
print(f"underlay  {capture['packets']} packets on {capture['links']} links: {kinds}")
print(f"canary    {capture['canary']['sent']} sent through a tunnel, {capture['canary']['arrived']} arrived")
print(f"capture   {'held' if capture['held'] else 'BROKEN'}, {capture['violationCount']} violations")
for line in capture["violations"] + live["troubles"]:
    print(f"          {line}")
print(f"simulator trace {simulator['traceHash']}, {simulator['events']} events")
if differing:
    sys.exit("two-sites: FAILED: the hosts differ in: " + "; ".join(differing))
if not (live["held"] and simulator["held"]):
    sys.exit("two-sites: FAILED: it did not hold")
print("two-sites: passed, the same outcome in both hosts")
PYTHON
