"""Runs test_rim.py under MicroPython: run("")."""

import sys

import run as runner


def run(_argument):
    sys.exit(runner.run("test_rim"))
