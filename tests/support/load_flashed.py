"""Loads every module of a head as it is flashed, and decodes frames: a program for MicroPython.

load_flashed.py FRAMES MODULE...; prints the interpreter's version, how many there are, and the values.
"""

import sys


class Anything:
    """Stands for what only a board has."""

    STA_IF = TYPE_DATA = 0

    def __getattr__(self, name):
        return Anything()


for name in ("machine", "network", "ntptime", "esp32", "socket", "tls", "umqtt"):
    sys.modules[name] = Anything()

path, *modules = sys.argv[1:]
for name in modules:
    __import__(name)
    assert sys.modules[name].__file__.endswith(".mpy"), name

from wattlog.decoder import SmlDecoder  # noqa: E402
from wattlog.reading import Interpreter  # noqa: E402

decoder = SmlDecoder()
interpreter = Interpreter()
with open(path, "rb") as file:
    lists = decoder.push(file.read())
print("%d.%d.%d" % tuple(sys.implementation.version[:3]))
print(len(modules), "modules")
print([interpreter.read(one).values for one in lists])
