#!/usr/bin/env python3
"""TCP through a tunnel: `serve ADDRESS PORT` takes one transfer and answers with its SHA-256;
`send ADDRESS PORT BYTES CANARY` sends that many bytes, the canary (hex) again and again, and compares."""
import hashlib
import socket
import sys
import time


def serve(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family) as listener:
        print("ready", flush=True)
        connection, _ = listener.accept()
        with connection:
            digest = hashlib.sha256()
            while block := connection.recv(65536):
                digest.update(block)
            connection.sendall(digest.digest())


def send(address, port, size, canary):
    block = canary * (65536 // len(canary))
    digest = hashlib.sha256()
    with socket.create_connection((address, port), timeout=30) as connection:
        start = time.monotonic()
        left = size
        while left > 0:
            part = block[:left]
            connection.sendall(part)
            digest.update(part)
            left -= len(part)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(64):
            answer += part
        seconds = time.monotonic() - start
    if answer != digest.digest():
        sys.exit("what arrived is not what was sent")
    print(f"{size} bytes arrived whole, {size * 8 / seconds / 1e6:.0f} Mbit/s")


if sys.argv[1] == "serve":
    serve(sys.argv[2], int(sys.argv[3]))
else:
    send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), bytes.fromhex(sys.argv[5]))
