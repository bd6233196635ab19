"""What the board's main.py calls: reads the settings, then loads and starts the head."""

import os
import random

import micropython

from wattlog_esp32.start import forget, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wattlog_esp32.head import Head
    from wattlog_esp32.uart import UartSource

CONFIG_PATH = "/wattlog.json"
# Of the core, each before what imports it: one import inside the other takes the stack.
_DEEP = ("crc", "sml", "framing", "layout", "reading", "decoder", "ringlog", "uplink", "agent")


def run(path: str = CONFIG_PATH) -> None:
    """Read the settings and run for ever; ask for them where they cannot be used."""
    # In pieces: what a function has held may stay in the heap for as long as it runs.
    config = _read(path)
    sources: list[UartSource] = []
    lost = None
    if config is not None:
        # Now, because the heap has no room for the agent and the asking side by side.
        lost = _open_ports(config, path, sources)
    if config is None or lost is not None:
        # Here, because a head that is set up never needs it.
        from wattlog_esp32 import unset  # noqa: PLC0415

        unset.run(path, lost)
    else:
        forget("settings")
        for name in _DEEP:
            __import__("wattlog." + name)
        it = _make(config, path, sources)
        config = None
        it.loop()


def _read(path: str) -> "dict[str, Any] | None":
    # Needed once, and before all else is in the heap: what is loaded next fills its holes.
    from wattlog_esp32 import settings  # noqa: PLC0415

    try:
        return settings.read(path)
    except settings.ConfigError as err:
        say(str(err))
        return None


def _open_ports(config: "dict[str, Any]", path: str, sources: "list[UartSource]") -> str | None:
    """Add the port of each meter to sources; return the meter whose port this chip has not."""
    for name in ("meter", "meter2", "meter3"):
        if name + ".uart" in config:
            try:
                sources.append(_open_port(config, name))
            except (ValueError, OSError) as err:
                words = "%s: this chip has no such %s.uart, %s.rx or %s.tx: %s"
                say(words % (path, name, name, name, err))
                return name
    return None


def _open_port(config: "dict[str, Any]", name: str) -> "UartSource":
    number = config[name + ".uart"]
    if number == 0:
        # The console's: a byte 03 of a meter would be Ctrl-C there, and end us.
        micropython.kbd_intr(-1)
    from wattlog_esp32.uart import UartSource  # noqa: PLC0415

    return UartSource(
        number,
        config[name + ".baud"],
        config[name + ".rx"],
        config[name + ".tx"],
        config[name + ".invert"],
        (0 if config["pin.active_low"] else 1) if config["pin.allow"] else None,
    )


def _make(config: "dict[str, Any]", path: str, sources: "list[UartSource]") -> "Head":
    from wattlog_esp32 import head  # noqa: PLC0415

    boot = int.from_bytes(os.urandom(4), "big") or 1
    random.seed(boot)
    return head.make(config, sources, path.rsplit("/", 1)[0] + "/", boot, random.randrange)
