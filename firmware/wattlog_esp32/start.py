"""What all parts of the rim share: the console, and how a module leaves the heap."""

import gc
import sys


def say(text: str) -> None:
    """Tell a person at the serial console."""
    print("wattlog: " + text)  # noqa: T201 - the console is all there is


def forget(name: str) -> None:
    """Take a module of ours out of the heap."""
    del sys.modules["wattlog_esp32." + name]
    package = sys.modules["wattlog_esp32"]
    if hasattr(package, name):
        delattr(package, name)
    gc.collect()
