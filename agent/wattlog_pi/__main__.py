"""`python -m wattlog_pi` is `wattlog-agent`."""

import sys

from wattlog_pi.cli import main

if __name__ == "__main__":
    sys.exit(main())
