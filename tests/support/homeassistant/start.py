"""Starts Home Assistant at another time, which goes on from there; its own Python runs this.

start.py EPOCH_S ...: all else goes to Home Assistant. custom_components/clock moves the time.
"""

import sys

import _time_machine
import time_machine

# What waits for the network waits by this clock, which nobody moves.
time_machine.monotonic = _time_machine.original_monotonic
time_machine.monotonic_ns = _time_machine.original_monotonic_ns
time_machine.travel(float(sys.argv.pop(1)), tick=True).start()

from homeassistant.__main__ import main  # noqa: E402

sys.exit(main())
