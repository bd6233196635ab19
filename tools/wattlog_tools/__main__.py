"""Run as `python -m wattlog_tools`."""

import sys

from wattlog_tools.cli import main

sys.exit(main())
