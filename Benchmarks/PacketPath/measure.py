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
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            total += int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1))
    return total / 1024


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


def table(path):
    rows = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            result = json.loads(line)
            rows.setdefault(result["peer"], []).append(result)

    def median(peer, key):
        values = [r[key] for r in rows.get(peer, []) if r.get(key) is not None]
        return statistics.median(values) if values else None

    print("| | " + " | ".join(title for _, title, _ in COLUMNS) + " |")
    print("| --- |" + " --- |" * len(COLUMNS))
    for peer in rows:
        values = [(median(peer, key), form) for key, _, form in COLUMNS]
        print(f"| {peer} | " + " | ".join("" if v is None else form.format(v) for v, form in values) + " |")
    if "rap" in rows and "wireguard-go" in rows:
        pairs = [(median("rap", key), median("wireguard-go", key)) for key, _, _ in COLUMNS]
        ratios = " | ".join("" if not x or not y else f"{x / y:.2f}" for x, y in pairs)
        print(f"| rap / wireguard-go | {ratios} |")
    return 0 if "rap" in rows else 1


if __name__ == "__main__":
    if sys.argv[1] == "table":
        sys.exit(table(sys.argv[2]))
    _, _, name, first, second, target, duration, *ends = sys.argv
    print(json.dumps(one(name, first, second, target, int(duration), ends)))
