"""A head that asks for its settings, on the fake board: run("PATH SPEED").

Its time runs SPEED times as fast. It says what is free of the heap when all is loaded, at the
lowest, and what the set-up leaves behind.
"""

import gc
import time

from wattlog_esp32 import main


def free():
    gc.collect()
    return gc.mem_free()


def run(argument):
    path, speed = argument.split()
    real = time.ticks_ms
    time.ticks_ms = lambda: real() * int(speed) & 0x3FFFFFFF
    print("before", free())
    from wattlog_esp32 import provision

    print("imported", free())
    step = provision.Provision.step
    lowest = [1 << 30]

    def watched(head):
        if lowest[0] == 1 << 30:
            print("serving", free())
        on = step(head)
        now = gc.mem_free()
        if now < lowest[0] - 512:
            lowest[0] = now
        return on

    provision.Provision.step = watched
    reset = provision.machine.reset

    def leave():
        print("lowest", lowest[0])
        reset()

    provision.machine.reset = leave
    del provision
    main.run(path)
