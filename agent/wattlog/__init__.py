"""wattlog's portable core: decode, log and forward meter readings.

Runs unchanged on MicroPython (ESP32) and CPython (Raspberry Pi, host). It knows no
clock, socket, file or pin: time and I/O are handed in by the rims.
"""

__version__ = "0.1.0"
