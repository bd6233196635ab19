"""A sample of the power-cut laboratory, on the interpreter and in the heap of a device.

`wattlog-tools powercut` does the same on CPython, with all of it instead of a sample.
"""

from wattlog.ringlog import RingLog
from wattlog_sim.log_lab import Lab

SEED = 2026


def mount(device, log_id):
    return RingLog(device, lambda: log_id)


def sample(experiment, index, every, count):
    """Check one of so many cases, up to a count; return how many were checked."""
    lab = Lab(mount, SEED)
    checked = number = 0
    for name, check in getattr(lab, experiment)(index):
        number += 1
        if number % every:
            continue
        failure = check()
        assert failure is None, "%s:%d:%d:%s %s" % (experiment, SEED, index, name, failure)
        checked += 1
        if checked == count:
            break
    return checked


def test_cuts():
    assert sample("cuts", 0, 11, 300) == 300


def test_cuts_after_cuts():
    assert sample("doubles", 0, 7, 100) == 100


def test_rotten_bits():
    assert sample("rots", 0, 37, 100) == 100


def test_wavering_cells():
    assert sample("wavers", 0, 5, 40) == 40


def test_failing_calls():
    assert sample("faults", 0, 11, 60) == 60
