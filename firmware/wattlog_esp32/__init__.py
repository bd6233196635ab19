"""The rim of the IR head: an ESP32 under MicroPython between the meter and the broker."""

import gc

# Collect every few KiB, and from the first import on: garbage left between what stays would cut
# the free heap into pieces, and a heap half empty could not hold one buffer of 2 KiB.
GC_EVERY_BYTES = 1_024

if hasattr(gc, "threshold"):  # CPython, where the flash tool reads the settings, has none
    gc.threshold(GC_EVERY_BYTES)
