"""The password that a person thinks up: kept as argon2id, which is slow to guess by design."""

import unicodedata

import argon2

LETTERS_MIN = 8
LETTERS_MAX = 1_000

# 32 MiB three times: a tenth of a second of a small computer, and no more memory than it has.
_HASHER = argon2.PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=1)


class PasswordUnfit(Exception):
    """A password that nobody should have; str() says what would do."""


def hashed(password: str) -> str:
    """Return what to keep; raise PasswordUnfit."""
    if not LETTERS_MIN <= len(password) <= LETTERS_MAX:
        raise PasswordUnfit(f"a password has {LETTERS_MIN} to {LETTERS_MAX} letters")
    return _HASHER.hash(_normal(password))


def matches(kept: str, password: str) -> bool:
    """Tell whether it is the password; takes its time, so never on the event loop."""
    if len(password) > LETTERS_MAX:
        return False
    try:
        return _HASHER.verify(kept, _normal(password))
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def is_hash(value: object) -> bool:
    """Tell whether a file's value may be one."""
    return isinstance(value, str) and value.startswith("$argon2id$")


def _normal(password: str) -> bytes:
    # Keyboards write an umlaut as one sign or as two.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
