"""Who is logged in: sessions that outlive a restart; of their secrets only digests are kept."""

import json
import logging
from pathlib import Path
from typing import NamedTuple

from wattlog_host.access.secrets import digest_of, is_digest, new_secret
from wattlog_host.private_file import write_private

LOG = logging.getLogger(__name__)

FILE_NAME = "sessions.json"
FILE_BYTES_MAX = 100_000
SESSIONS_MAX = 100
LASTS_MS = 30 * 86_400_000


class _Session(NamedTuple):
    until_ms: int
    mark: str


class Sessions:
    """Sessions by digest; each is of one password (Accounts.mark) and ends with it."""

    def __init__(self, path: Path | None = None) -> None:
        """Take the file, None for memory alone; one that cannot be used holds no session."""
        self._path = path
        # Replaced, never changed: save() runs in a thread of its own.
        self._sessions: dict[str, _Session] = {}
        if path is not None:
            self._sessions = _read(path)

    def begin(self, mark: str, now_ms: int) -> str:
        """Return the secret of a new session; the oldest makes room."""
        secret = new_secret()
        kept = {key: one for key, one in self._sessions.items() if _holds(one, mark, now_ms)}
        while len(kept) >= SESSIONS_MAX:
            del kept[min(kept, key=lambda key: kept[key].until_ms)]
        kept[digest_of(secret)] = _Session(now_ms + LASTS_MS, mark)
        self._sessions = kept
        return secret

    def is_valid(self, secret: str, mark: str, now_ms: int) -> bool:
        """Tell whether there is such a session."""
        session = self._sessions.get(digest_of(secret))
        return session is not None and _holds(session, mark, now_ms)

    def end(self, secret: str) -> None:
        """End it, if it is there."""
        ended = digest_of(secret)
        self._sessions = {key: one for key, one in self._sessions.items() if key != ended}

    def save(self) -> None:
        """Keep them; a disk that is full costs a login after the next start, nothing else."""
        if self._path is None:
            return
        rows = {key: list(session) for key, session in self._sessions.items()}
        try:
            write_private(self._path, json.dumps(rows))
        except OSError as err:
            LOG.warning("cannot keep sessions in %s: %s", self._path, err.strerror)


def _holds(session: _Session, mark: str, now_ms: int) -> bool:
    # A clock that was set back makes none last longer than it should.
    return session.mark == mark and 0 < session.until_ms - now_ms <= LASTS_MS


def _read(path: Path) -> dict[str, _Session]:
    try:
        with path.open("rb") as file:
            rows = json.loads(file.read(FILE_BYTES_MAX))
        return {key: _session(key, *row) for key, row in rows.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as err:
        LOG.info("the kept sessions cannot be used (%s); log in anew", type(err).__name__)
        return {}


def _session(key: str, until_ms: object, mark: object) -> _Session:
    if not is_digest(key) or not is_digest(mark) or not isinstance(until_ms, int):
        raise ValueError("session")
    return _Session(until_ms, str(mark))
