"""`python -m wattlog_host`."""

import sys

from wattlog_host.cli import main

sys.exit(main())
