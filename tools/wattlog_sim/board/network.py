"""A fake of the ESP32's `network`: a Wi-Fi that is there until the file BOARD_WIFI_DOWN is."""

import os

STA_IF = 0
AP_IF = 1
_MAC = b"\x24\x0a\xc4\xa1\xb2\xc3"
_WPA2 = 3


def hostname(name: str) -> None:
    """Take a name of up to 32 bytes, as the real one does."""
    if len(name) > 32:
        raise ValueError


class WLAN:
    """A station, which connects at once, or an access point; BOARD_AP_OPEN breaks its lock."""

    def __init__(self, interface: int) -> None:
        self._active = self._joined = False
        self._is_ap = interface == AP_IF
        self._security = 0

    def active(self, on: bool) -> None:
        """Switch the radio."""
        self._active = on

    def connect(self, _ssid: str, _password: str) -> None:
        """Join the network; refuses while the radio is off or an attempt goes on."""
        if not self._active or self._joined:
            raise OSError("Wifi Internal Error")
        self._joined = True

    def disconnect(self) -> None:
        """Leave the network."""
        self._joined = False

    def isconnected(self) -> bool:
        """Tell whether there is an address."""
        try:
            os.stat(os.getenv("BOARD_WIFI_DOWN") or "/nowhere")
        except OSError:
            return self._joined
        return False

    def status(self, what: str = "") -> int:
        """Return 201, no such network, or 1010, connected; or how strong it is."""
        if what == "rssi":
            if not self.isconnected():
                raise OSError("Wifi Not Connected")
            return -61
        return 1010 if self.isconnected() else 201

    def config(self, what: str = "", **settings: "str | int") -> "bytes | int | None":
        """Tell one thing, or set some; an access point with WPA2 needs a key of 8 letters."""
        if what == "mac":
            return _MAC
        if what == "security":
            return self._security
        if not self._active or not self._is_ap:
            raise OSError("Wifi Not Started")
        if settings["security"] == _WPA2 and not 8 <= len(settings["key"]) <= 63:
            raise OSError("Wifi Invalid Password")
        if not os.getenv("BOARD_AP_OPEN"):
            self._security = settings["security"]
        return None

    def ifconfig(self) -> "tuple[str, str, str, str]":
        """Return address, mask, gateway, name server; the address is this machine's own."""
        address = "127.0.0.1" if self._is_ap else "127.0.0.2"
        return address, "255.255.255.0", address, address

    def scan(self) -> "list[tuple[bytes, bytes, int, int, int, bool]]":
        """Return the networks around: name, BSSID, channel, RSSI, security, hidden."""
        return [
            (b"far", _MAC, 1, -88, 3, False),
            (b"home", _MAC, 6, -70, 3, False),
            (b"home", _MAC, 11, -48, 3, False),
            (b"caf\xe9", _MAC, 11, -50, 0, False),
            (b"", _MAC, 11, -40, 0, True),
            (b"guests", _MAC, 6, -60, 0, False),
        ]
