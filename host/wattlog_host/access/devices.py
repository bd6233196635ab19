"""devices.json: who may use the embedded broker, and what as."""

from pathlib import Path
from typing import Any, NamedTuple

from wattlog_host.access.kept import AccessRefused, Kept, add_row, remove_row
from wattlog_host.access.secrets import digest_of, is_digest, is_same, new_secret
from wattlog_host.access.topics import DEVICE_ROLES, HOST, Role
from wattlog_host.bounds import is_edge

FILE_NAME = "devices.json"
DEVICES_MAX = 1_000
_TABLE = "devices"


class Device(NamedTuple):
    """A name at the broker, and the digest of its password."""

    name: str
    role: Role
    sha256: str


Devices = dict[str, Device]


def devices_in(data: Path) -> Kept[Devices]:
    """Return the devices of a data folder."""
    return Kept(data / FILE_NAME, _parse)


def add_device(kept: Kept[Devices], name: str, role: Role) -> str:
    """Return its new password, which is kept nowhere; raise AccessRefused, KeptBroken."""
    if not is_edge(name):
        raise AccessRefused(f"a device's name has 1 to 32 letters of a-z, 0-9, _ -, not {name!r}")
    secret = new_secret()
    add_row(kept, _TABLE, name, {"sha256": digest_of(secret), "role": role.name}, DEVICES_MAX)
    return secret


def remove_device(kept: Kept[Devices], name: str) -> None:
    """Remove it; raise AccessRefused where there is none, KeptBroken."""
    remove_row(kept, _TABLE, name)


def _parse(data: dict[str, Any]) -> Devices:
    devices = {}
    for name, row in data.get(_TABLE, {}).items():
        if not is_edge(name) or not is_digest(row["sha256"]):
            raise ValueError("device")
        devices[name] = Device(name, DEVICE_ROLES[row["role"]], row["sha256"])
    return devices


class Rights:
    """Who may connect to the embedded broker, and what they may do there.

    While there is no device and only this machine can connect, everybody may do everything: then
    a try-out needs no password. The host has one of its own, made anew at each start.
    """

    # No device can be called so.
    HOST_NAME = "@host"

    def __init__(self, kept: Kept[Devices], *, is_exposed: bool) -> None:
        """Take the devices; raise KeptBroken where their file cannot be used."""
        kept.now()
        self._kept = kept
        self._is_exposed = is_exposed
        self.host_password = new_secret()
        self._host = Device(self.HOST_NAME, HOST, digest_of(self.host_password))

    def admitted(self, name: str | None, password: str | None) -> "Peer | None":
        """Return who connects with these, None for nobody who may."""
        device = self._device(name)
        if device is None:
            return ANYBODY if self._is_open() else None
        if password is None or not is_same(digest_of(password), device.sha256):
            return None
        return Peer(device)

    def holds(self, peer: "Peer") -> bool:
        """Tell whether it may still be there: devices are removed, and get another password."""
        if peer.device is None:
            return self._is_open()
        return self._device(peer.device.name) == peer.device

    def _device(self, name: str | None) -> Device | None:
        if name == self.HOST_NAME:
            return self._host
        return None if name is None else self._kept.now().get(name)

    def _is_open(self) -> bool:
        return not self._is_exposed and not self._kept.now()


class Peer(NamedTuple):
    """Who is connected; device is None for anybody at an open broker."""

    device: Device | None

    @property
    def name(self) -> str:
        """What it is called."""
        return "" if self.device is None else self.device.name

    def may_write(self, topic: str) -> bool:
        """Tell whether it may publish there."""
        return self.device is None or self.device.role.may_write(self.device.name, topic)

    def may_read(self, topic: str) -> bool:
        """Tell whether it may subscribe there, or get what was published."""
        return self.device is None or self.device.role.may_read(self.device.name, topic)


ANYBODY = Peer(None)
