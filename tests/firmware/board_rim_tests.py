"""Runs a portable module of this folder under MicroPython: run("test_rim")."""

import sys

import run as runner


def run(module):
    sys.exit(runner.run(module))
