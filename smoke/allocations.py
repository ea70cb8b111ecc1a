#!/usr/bin/env python3
"""What two agents allocate for each packet: `serve ADDRESS` takes a TCP transfer and answers datagrams, on the far side;
`measure ADDRESS FILE FILE` sends through the tunnel and reads the agents' counts, which stand in the files."""
import socket
import struct
import sys
import threading

PORT = 7400
# What goes on beside the packets (heartbeats, probes, timers) allocates too: the best of some windows is judged, and one
# allocation for each packet, or for each turn of the host, is far above the limits.
WINDOWS = 4
TRANSFER = 128 << 20
SEGMENT = 1368
BULK_LIMIT = 0.02
TURNS = 8000
TURN_LIMIT = 0.1


def serve(address):
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, PORT))

    def echo():
        while True:
            data, source = datagrams.recvfrom(2048)
            datagrams.sendto(data, source)

    threading.Thread(target=echo, daemon=True).start()
    with socket.create_server((address, PORT)) as listener:
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                got = 0
                while got < TRANSFER:
                    got += len(connection.recv(1 << 20)) or TRANSFER
                connection.sendall(b"!")


def transfer(address):
    """Packets that went, at least."""
    block = bytes(1 << 20)
    with socket.create_connection((address, PORT), timeout=60) as connection:
        for _ in range(TRANSFER // len(block)):
            connection.sendall(block)
        connection.recv(1)
    return TRANSFER // SEGMENT


def echoes(address):
    """Packets that each agent sent or received, one by one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, PORT))
        probe.settimeout(1)
        done = 0
        for number in range(TURNS):
            probe.send(struct.pack("!Q", number))
            try:
                probe.recv(64)
                done += 2
            except TimeoutError:
                pass
    return done


def measure(address, files):
    def counts():
        values = []
        for path in files:
            with open(path, "rb") as file:
                values.append(struct.unpack("=Q", file.read(8))[0])
        return values

    failed = False
    for name, send, limit in [("in super-packets", transfer, BULK_LIMIT), ("one by one", echoes, TURN_LIMIT)]:
        best = [float("inf")] * len(files)
        for _ in range(WINDOWS):
            before = counts()
            packets = send(address)
            if packets == 0:
                sys.exit(f"packets {name}: none went")
            best = [min(b, (y - x) / packets) for b, x, y in zip(best, before, counts())]
        told = ", ".join(f"{value:.4f}" for value in best)
        print(f"allocations for a packet, {name}: {told} (sender, receiver; at most {limit})")
        failed = failed or max(best) > limit
    sys.exit(1 if failed else 0)


if sys.argv[1] == "serve":
    serve(sys.argv[2])
else:
    measure(sys.argv[2], sys.argv[3:])
