"""What would hang for ever on an ESP32: run("PORT WAY"). The fake watchdog has to end it."""

import socket

import machine


def run(argument):
    port, way = argument.split()
    machine.WDT(timeout=60_000)
    sock = socket.socket()
    sock.connect(socket.getaddrinfo("127.0.0.1", int(port))[0][-1])
    sock.settimeout(0.1)
    if way == "setblocking":
        sock.setblocking(True)
    try:
        sock.readinto(bytearray(1))
    except OSError:
        print("timed out")
    if way == "loop":
        while True:
            pass
