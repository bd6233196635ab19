"""A fake of the ESP32's `network`: a Wi-Fi that is there until the file BOARD_WIFI_DOWN is."""

import os

STA_IF = 0


def hostname(name: str) -> None:
    """Take a name of up to 32 bytes, as the real one does."""
    if len(name) > 32:
        raise ValueError


class WLAN:
    """A station; connects at once."""

    def __init__(self, _interface: int) -> None:
        self._interface = _interface
        self._active = self._joined = False

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

    def __getattr__(self, name: str) -> object:
        """Bring the rest only where it is used: it takes heap, as every name here does."""
        return lambda *_, **data: getattr(__import__("fakeap"), name)(self, *_, **data)


def __getattr__(name: str) -> object:
    return getattr(__import__("fakeap"), name)
