"""access.json: the hash of the page's password, and the tokens of programs by name."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from wattlog_host.access.kept import AccessRefused, Kept, add_row, remove_row
from wattlog_host.access.passwords import hashed, is_hash
from wattlog_host.access.secrets import digest_of, is_digest, new_secret

FILE_NAME = "access.json"
TOKENS_MAX = 100
_TABLE = "tokens"
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,32}")


class Token(NamedTuple):
    """What a program that has this token may do."""

    name: str
    may_change: bool


class Accounts(NamedTuple):
    """Who may use the page; password is its hash, tokens are by their digest."""

    password: str | None
    tokens: dict[str, Token]

    def mark(self) -> str:
        """Return what changes with the password: a session is one of this password only."""
        return digest_of(self.password or "")


NOBODY = Accounts(None, {})


def accounts_in(data: Path) -> Kept[Accounts]:
    """Return the accounts of a data folder."""
    return Kept(data / FILE_NAME, _parse)


def set_password(kept: Kept[Accounts], password: str | None) -> None:
    """Set it, or remove it; raise PasswordUnfit, KeptBroken."""
    value = None if password is None else hashed(password)

    def act(data: dict[str, Any]) -> None:
        data["password"] = value

    kept.change(act)


def add_token(kept: Kept[Accounts], name: str, *, may_change: bool) -> str:
    """Return a new token, which is kept nowhere; raise AccessRefused, KeptBroken."""
    if _NAME.fullmatch(name) is None:
        raise AccessRefused(f"a token's name has 1 to 32 letters of a-z, 0-9, . _ -, not {name!r}")
    secret = new_secret()
    row = {"sha256": digest_of(secret), "may_change": may_change}
    add_row(kept, _TABLE, name, row, TOKENS_MAX)
    return secret


def remove_token(kept: Kept[Accounts], name: str) -> None:
    """Remove it; raise AccessRefused where there is none, KeptBroken."""
    remove_row(kept, _TABLE, name)


def _parse(data: dict[str, Any]) -> Accounts:
    password = data.get("password")
    if password is not None and not is_hash(password):
        raise ValueError("password")
    tokens = {}
    for name, row in data.get(_TABLE, {}).items():
        if not is_digest(row["sha256"]) or not isinstance(row["may_change"], bool):
            raise ValueError("token")
        tokens[row["sha256"]] = Token(name, row["may_change"])
    return Accounts(password, tokens)
