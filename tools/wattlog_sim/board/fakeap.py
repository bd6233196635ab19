"""What the fakes `network` and `socket` do for the set-up: one more name in their heap for both.

BOARD_AP_OPEN breaks an access point's lock.
"""

import os

from fakeserver import SO_REUSEADDR as SO_REUSEADDR
from fakeserver import SOL_SOCKET as SOL_SOCKET
from fakeserver import accept as accept
from fakeserver import bind as bind
from fakeserver import listen as listen
from fakeserver import recv as recv
from fakeserver import send as send
from network import WLAN

AP_IF = 1
_MAC = b"\x24\x0a\xc4\xa1\xb2\xc3"
_WPA2 = 3
_security = [0]  # of the one access point


def config(wlan: "WLAN", what: str = "", **settings: "str | int") -> "bytes | int | None":
    """Tell one thing, or set some; an access point with WPA2 needs a key of 8 letters."""
    if what == "mac":
        return _MAC
    if what == "security":
        return _security[0]
    if not wlan._active or wlan._interface != AP_IF:
        raise OSError("Wifi Not Started")
    if settings["security"] == _WPA2 and not 8 <= len(settings["key"]) <= 63:
        raise OSError("Wifi Invalid Password")
    if not os.getenv("BOARD_AP_OPEN"):
        _security[0] = settings["security"]
    return None


def ifconfig(wlan: "WLAN") -> "tuple[str, str, str, str]":
    """Return address, mask, gateway, name server; the address is this machine's own."""
    address = "127.0.0.1" if wlan._interface == AP_IF else "127.0.0.2"
    return address, "255.255.255.0", address, address


def scan(_wlan: "WLAN") -> "list[tuple[bytes, bytes, int, int, int, bool]]":
    """Return the networks around: name, BSSID, channel, RSSI, security, hidden."""
    return [
        (b"far", _MAC, 1, -88, 3, False),
        (b"home", _MAC, 6, -70, 3, False),
        (b"home", _MAC, 11, -48, 3, False),
        (b"caf\xe9", _MAC, 11, -50, 0, False),
        (b"", _MAC, 11, -40, 0, True),
        (b"guests", _MAC, 6, -60, 0, False),
    ]
