"""What a request's query is and how it is signed: the very bytes that are sent.

The cloud recomputes the signature over the bytes as they arrive, still percent-encoded. So the
text is encoded once, here, and nobody may encode it again.
"""

import hashlib
from collections.abc import Sequence
from urllib.parse import urlencode

Pairs = Sequence[tuple[str, str]]


def action_string(pairs: Pairs) -> str:
    """Return the pairs as they are sent and signed, the first ampersand included."""
    return "&" + urlencode(pairs)


def password_digest(password: str) -> str:
    """Return what stands for the password in the signature of a login."""
    return _sha1(password)


def login_query(pairs: Pairs, password: str, salt: str) -> str:
    """Return the query of a login."""
    action = action_string(pairs)
    sign = _sha1(salt + password_digest(password) + action)
    return f"sign={sign}&salt={salt}{action}"


def call_query(pairs: Pairs, secret: str, token: str, salt: str) -> str:
    """Return the query of any other call; token itself is not part of what is signed."""
    action = action_string(pairs)
    sign = _sha1(salt + secret + token + action)
    return f"sign={sign}&salt={salt}&token={token}{action}"


def _sha1(text: str) -> str:
    # The protocol's choice, not ours.
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
