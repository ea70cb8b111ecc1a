#!/usr/bin/env python3
"""compare-reports.py LIVE.json SIMULATOR.json: prints how each expectation came out in both hosts, side by side.

Ends with 0 when all outcomes are the same and all hold, else with 1, after saying why."""
import json
import sys


def read(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if not text:
        sys.exit(f"compare-hosts: FAILED: there is no report in {path}")
    return json.loads(text)


def outcome(expectation):
    when = expectation.get("firstHeldSeconds", expectation.get("decidedAtSeconds"))
    return expectation["outcome"] + ("" if when is None else f" {when:.1f} s")


live, simulator = (read(path) for path in sys.argv[1:])
pairs = list(zip(live["expectations"], simulator["expectations"]))
differing = [e["name"] for e, f in pairs if (e["name"], e["outcome"]) != (f["name"], f["outcome"])]
if len(live["expectations"]) != len(simulator["expectations"]):
    differing.append("(the number of expectations)")

print(f"{'live':<18}{'simulator':<18}expectation")
for e, f in pairs:
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
    sys.exit("compare-hosts: FAILED: the hosts differ in: " + "; ".join(differing))
if not (live["held"] and simulator["held"]):
    sys.exit("compare-hosts: FAILED: it did not hold")
