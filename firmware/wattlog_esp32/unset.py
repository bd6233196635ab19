"""A head without usable settings: it asks for them, and if nobody answers it meters on."""

import gc
import sys

import machine

_SLEEP_MS = 3_600_000
_PARTS = ("provision", "portal", "page", "request", "improv")


def run(path: str) -> None:
    """Ask for the settings and restart with them; else meter without them, or sleep."""
    # Here, because the heap does not hold this and the agent.
    from wattlog_esp32 import provision  # noqa: PLC0415

    known = provision.run(path, say)
    del provision
    if "meter.rx" in known and "meter.tx" in known:
        _unload()
        from wattlog_esp32 import offline  # noqa: PLC0415

        offline.run(known, say)
    machine.deepsleep(_SLEEP_MS)


def say(text: str) -> None:
    """Tell a person at the serial console."""
    print("wattlog: " + text)  # noqa: T201 - the console is all there is


def _unload() -> None:
    """Give back the heap that asking took."""
    package = sys.modules["wattlog_esp32"]
    for name in _PARTS:
        sys.modules.pop("wattlog_esp32." + name, None)
        if hasattr(package, name):
            delattr(package, name)
    gc.collect()
