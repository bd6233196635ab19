"""The token of a login, kept in a file that is the owner's alone, apart from the database.

Its secret signs every call until it expires; whoever copies the database does not copy it.
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

from wattlog_host.private_file import write_private

LOG = logging.getLogger(__name__)

FILE_NAME = "dess-token.json"
FILE_BYTES_MAX = 10_000
AHEAD_MS_MAX = 600_000


@dataclass(frozen=True, slots=True)
class Token:
    """One login; it counts only for the account (url, platform and user) that it was given to."""

    account: str
    token: str = field(repr=False)
    secret: str = field(repr=False)
    issued_ms: int
    expires_ms: int | None

    def is_due(self, now_ms: int) -> bool:
        """Tell whether it is time for another one: a tenth of its life ahead, ten minutes at most.

        A clock that fell behind the login cannot tell; the cloud will.
        """
        if self.expires_ms is None:
            return False
        ahead_ms = min(AHEAD_MS_MAX, (self.expires_ms - self.issued_ms) // 10)
        return now_ms >= self.expires_ms - ahead_ms


class TokenFile:
    """Where the token outlives the process; a file that cannot be used is as none."""

    def __init__(self, path: Path) -> None:
        """Take the file's path; its folder is made when the first token is kept."""
        self._path = path

    def read(self, account: str) -> Token | None:
        """Return the account's token."""
        try:
            with self._path.open("rb") as file:
                data = json.loads(file.read(FILE_BYTES_MAX))
            token = Token(
                data["account"],
                data["token"],
                data["secret"],
                data["issued_ms"],
                data["expires_ms"],
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as err:
            LOG.info("the kept token cannot be used (%s); logging in anew", type(err).__name__)
            return None
        return token if token.account == account and _is_whole(token) else None

    def write(self, token: Token) -> None:
        """Keep it; a disk that is full costs a login at the next start, nothing else."""
        text = json.dumps({name: getattr(token, name) for name in Token.__slots__})
        try:
            write_private(self._path, text)
        except OSError as err:
            LOG.warning("cannot keep the token in %s: %s", self._path, err.strerror)

    def forget(self) -> None:
        """Remove it."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as err:
            LOG.warning("cannot remove the token %s: %s", self._path, err.strerror)


def _is_whole(token: Token) -> bool:
    texts = (token.token, token.secret)
    expires = token.expires_ms
    return (
        all(isinstance(text, str) and text for text in texts)
        and isinstance(token.issued_ms, int)
        and (expires is None or isinstance(expires, int))
    )
