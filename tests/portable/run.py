"""Run the test_* functions of one module: run.py MODULE, on MicroPython as on CPython.

Prints one line per test and a count; the exit status is 1 if one failed or there was none. One
module per process, so that each has the whole (small) heap for itself.
"""

import gc
import sys


def print_exception(error: BaseException) -> None:
    if sys.implementation.name == "micropython":
        sys.print_exception(error)
    else:
        import traceback

        traceback.print_exception(error)


def run(name: str) -> int:
    """Call every test of the module of that name; return how many failed, or 1 if it has none."""
    if hasattr(gc, "threshold"):
        # Collecting often keeps what is left of a small heap in one piece, as the firmware does.
        gc.threshold(2048)
    module = __import__(name)
    names = [name for name in sorted(dir(module)) if name.startswith("test_")]
    passed = 0
    for name in names:
        gc.collect()
        try:
            getattr(module, name)()
        except Exception as error:  # noqa: BLE001 - whatever a test raises is its failure
            print("FAIL", name)
            print_exception(error)
        else:
            passed += 1
            print("ok", name)
    print("%d passed, %d failed" % (passed, len(names) - passed))
    return len(names) - passed if names else 1


if __name__ == "__main__":
    sys.exit(1 if run(sys.argv[1]) else 0)
