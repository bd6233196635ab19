"""Secrets that we draw: 256 random bits, of which only the SHA-256 is kept.

That is enough for a random secret, and for nothing that a person has thought up: see passwords.py.
"""

import hashlib
import hmac
import re
import secrets

_DIGEST = re.compile(r"[0-9a-f]{64}")


def new_secret() -> str:
    """Return a secret that nobody has had before, as 43 letters that need no quoting."""
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """Return what may be kept of it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def is_digest(value: object) -> bool:
    """Tell whether a file's value may be one."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def is_same(given: str, wanted: str) -> bool:
    """Compare two texts; how long it takes tells nothing of where they differ."""
    return hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), wanted.encode("utf-8", "surrogatepass")
    )
