"""A program of its own that hands messages to Apprise: `python -m wattlog_host.alerts.post`.

Asked over standard input, for addresses are secrets and arguments can be read by everybody:
{"urls": [...], "title", "body", "mood"}, all but urls absent to only look at the addresses. It
answers with a list, a text for each address: empty where all is well, else why not, in our own
words. What the library says goes nowhere, for it may name the address.

The library takes 40 MB and loads some 200 modules, and a call of it can hang: as a process of
its own it is gone after each message, and can be ended. It reads an answer to its end, however
long that is, so the process may take only so much memory.
"""

import json
import logging
import re
import resource
import sys
import warnings
from typing import Any

UNKNOWN = "unknown address"
REFUSED = "not taken"
NO_WAY = "no connection"
DATA_BYTES_MAX = 192 * 2**20
"""Four times what it takes; a target that sends without end took gigabytes."""
_STATUS = re.compile(r"\berror=(\d{3})\b")


class _Ear(logging.Handler):
    """Listens for why something failed; keeps nothing but a number, or that nobody was there."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.why = REFUSED

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one line of the library's."""
        text = record.getMessage()
        status = _STATUS.search(text)
        if status is not None:
            self.why = f"HTTP {status[1]}"
        elif "onnection error" in text:
            self.why = NO_WAY


def answer(asked: dict[str, Any]) -> list[str]:
    """Return of each address what became of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own way of being imported
        import apprise  # noqa: PLC0415 - it may not be installed, and warns

        # A redirect makes a GET of a POST, and counts as sent; or carries it to somebody else.
        asset = apprise.AppriseAsset(http_redirects=False)
        made = [apprise.Apprise(asset=asset) for _ in asked["urls"]]
        known = [_is_known(one, url) for one, url in zip(made, asked["urls"], strict=True)]
    return [
        _sent(one, asked) if is_known else UNKNOWN
        for one, is_known in zip(made, known, strict=True)
    ]


def _is_known(target: Any, url: str) -> bool:
    try:
        return bool(target.add(url))
    except Exception:  # noqa: BLE001 - a plug-in may stumble over an address; others are well
        return False


def _sent(target: Any, asked: dict[str, Any]) -> str:
    if "body" not in asked:
        return ""
    ear = _Ear()
    logger = logging.getLogger("apprise")
    logger.addHandler(ear)
    try:
        is_sent = target.notify(
            body=asked["body"], title=asked["title"], notify_type=asked["mood"], body_format="text"
        )
    except Exception:  # noqa: BLE001 - a plug-in may raise anything; that is a failure
        return REFUSED
    finally:
        logger.removeHandler(ear)
    return "" if is_sent else ear.why


def main() -> int:
    """Answer one question."""
    logging.lastResort = None
    logging.getLogger("apprise").setLevel(logging.DEBUG)
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES_MAX, DATA_BYTES_MAX))
    asked = json.loads(sys.stdin.buffer.read())
    out = sys.stdout
    sys.stdout = sys.stderr  # whatever a module prints is no answer
    said = answer(asked)
    json.dump(said, out)
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
