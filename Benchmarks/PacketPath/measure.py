"""What `run` measures: `measure.py one PEER NSA NSB ADDRESS SECONDS PID...` prints a line of JSON, `measure.py table FILE` the rows."""
import json
import os
import re
import statistics
import subprocess
import sys
import time

GIB = 2**30
TICKS = os.sysconf("SC_CLK_TCK")
# For UDP the rate is halved until at most this share is lost, then raised between the bounds.
LOSS = 0.01


def inside(namespace, *command):
    return ["ip", "netns", "exec", namespace, *map(str, command)]


def cpu(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident(pids):
    """MiB at most, of the larger process."""
    most = 0
    for pid in pids:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            most = max(most, int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1)))
    return most / 1024


def iperf(a, b, address, seconds, *options):
    """The report of one run from a to b."""
    server = subprocess.Popen(inside(b, "iperf3", "-s", "-1", "-p", 5301), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            listening = subprocess.run(inside(b, "ss", "-ltnH"), capture_output=True, text=True, check=True).stdout
            if ":5301" in listening:
                break
            time.sleep(0.05)
        command = inside(a, "iperf3", "-c", address, "-p", 5301, "-t", seconds, "-J", *options)
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
        return json.loads(done.stdout)["end"]
    finally:
        if server.poll() is None:
            server.terminate()
        server.wait()


def udp(a, b, address, size):
    """Packets a second that arrive with at most 1 % lost; `size` is that of the IP packet."""

    def attempt(rate, seconds):
        options = ["-u", "-l", size - 28, "-b", int(rate * (size - 28) * 8)]
        end = iperf(a, b, address, seconds, *options)["sum"]
        lost = end["lost_packets"] / max(1, end["packets"])
        return (end["packets"] - end["lost_packets"]) / end["seconds"], lost

    arrived, lost = attempt(0, 1)
    if lost <= LOSS:
        return arrived
    low, high, best = 0, arrived * 1.5, 0
    for _ in range(6):
        rate = (low + high) / 2
        arrived, lost = attempt(rate, 1)
        if lost <= LOSS:
            low, best = rate, max(best, arrived)
        else:
            high = rate
    return best or None


def one(peer, a, b, address, seconds, pids):
    result = {"peer": peer}
    ping = subprocess.run(
        inside(a, "ping", "-n", "-i", "0.005", "-c", 200, address), capture_output=True, text=True, check=False)
    times = [float(value) for value in re.findall(r"time=([\d.]+)", ping.stdout)]
    result["rtt"] = statistics.median(times) if times else None
    before = cpu(pids)
    end = iperf(a, b, address, seconds)
    used = cpu(pids) - before
    result["tcp"] = end["sum_received"]["bits_per_second"] / 1e9
    if pids:
        result["cpu"] = used / (end["sum_received"]["bytes"] / GIB)
    big = udp(a, b, address, 1400)
    result["udp1400"] = big and big * 1400 * 8 / 1e9
    small = udp(a, b, address, 64)
    result["udp64"] = small and small / 1000
    if pids:
        result["rss"] = resident(pids)
    return result


COLUMNS = [
    ("tcp", "TCP Gbit/s", "{:.2f}"), ("udp1400", "UDP 1400 B Gbit/s", "{:.2f}"), ("udp64", "UDP 64 B kpps", "{:.0f}"),
    ("rtt", "RTT p50 ms", "{:.3f}"), ("cpu", "CPU s/GiB", "{:.1f}"), ("rss", "RSS MiB", "{:.0f}"),
]
NEBULAS = ("nebula", "nebula-new")
# What, of which column, against which peers (the best of those measured), at least so many times as much; with a negative
# factor at most so many times. Without peers it is the figure itself that must be at most so much.
GOALS = [
    ("TCP, times the newer wireguard-go", "tcp", ("wireguard-go-new",), 2.2),
    ("TCP, times Debian 12's wireguard-go", "tcp", ("wireguard-go",), 4.5),
    ("TCP, times the faster nebula", "tcp", NEBULAS, 3.5),
    ("UDP 1400 B, times the faster nebula", "udp1400", NEBULAS, 1.5),
    ("UDP 64 B, times the faster nebula", "udp64", NEBULAS, 1.5),
    ("RTT, times the quicker nebula's", "rtt", NEBULAS, -1.0),
    ("CPU s/GiB of both ends", "cpu", (), -4.0),
    ("RSS MiB of an end", "rss", (), -40.0),
]


def verdict(value, factor):
    bound = "at least" if factor > 0 else "at most"
    met = value >= factor if factor > 0 else value <= -factor
    return f"{'met   ' if met else 'MISSED'}", f"{value:.2f}, {bound} {abs(factor):g}", met


def goals(median):
    """Prints each goal; false when one is missed."""
    print("\ngoals, by the medians")
    kept = True
    for what, key, peers, factor in GOALS:
        ours = median("rap", key)
        others = [value for value in (median(peer, key) for peer in peers) if value]
        if not ours or (peers and not others):
            print(f"unknown  {what}: {'nothing to compare with' if ours else 'rap has no figure'}")
            kept = kept and bool(ours)
            continue
        value = ours if not peers else ours / (max(others) if factor > 0 else min(others))
        word, told, met = verdict(value, factor)
        print(f"{word}   {what}: {told}")
        kept = kept and met
    return kept


def table(path):
    rows = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            result = json.loads(line)
            rows.setdefault(result["peer"], []).append(result)

    def median(peer, key):
        values = [r[key] for r in rows.get(peer, []) if r.get(key) is not None]
        return statistics.median(values) if values else None

    rounds = max(len(results) for results in rows.values())
    print(f"\n| medians of {rounds} | " + " | ".join(title for _, title, _ in COLUMNS) + " |")
    print("| --- |" + " --- |" * len(COLUMNS))
    for peer in rows:
        values = [(median(peer, key), form) for key, _, form in COLUMNS]
        print(f"| {peer} | " + " | ".join("" if v is None else form.format(v) for v, form in values) + " |")
    if "rap" not in rows:
        return 0
    for peer in rows:
        if peer == "rap":
            continue
        pairs = [(median("rap", key), median(peer, key)) for key, _, _ in COLUMNS]
        ratios = " | ".join("" if not x or not y else f"{x / y:.2f}" for x, y in pairs)
        print(f"| rap / {peer} | {ratios} |")
    print("\nsmallest and greatest of the rounds")
    for peer, results in rows.items():
        spans = []
        for key, title, form in COLUMNS:
            values = [r[key] for r in results if r.get(key) is not None]
            if values:
                spans.append(f"{title} {form.format(min(values))}-{form.format(max(values))}")
        print(f"{peer}: " + ", ".join(spans))
    return 0 if goals(median) else 1


if __name__ == "__main__":
    if sys.argv[1] == "table":
        sys.exit(table(sys.argv[2]))
    _, _, name, first, second, target, duration, *ends = sys.argv
    print(json.dumps(one(name, first, second, target, int(duration), ends)))
