"""Who is asking, and what they may: the one place that knows password, sessions and tokens."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.types import Scope

from wattlog_host.access import passwords
from wattlog_host.access.accounts import NOBODY, Accounts
from wattlog_host.access.attempts import Attempts
from wattlog_host.access.secrets import digest_of
from wattlog_host.access.sessions import LASTS_MS, Sessions

_SCHEME = "bearer "
_CALLER = "wattlog.caller"


class WrongPassword(Exception):
    """It is not the password, or there is none."""


class Caller(NamedTuple):
    """Who asks.

    may_read    pages and data
    may_change  settings of devices
    secret      of the session, None where there is none
    """

    may_read: bool
    may_change: bool = False
    secret: str | None = None

    @property
    def csrf(self) -> str | None:
        """What each change within the session must carry; no other site can know it."""
        if self.secret is None:
            return None
        return hmac.new(self.secret.encode(), b"csrf", hashlib.sha256).hexdigest()


STRANGER = Caller(may_read=False)
READER = Caller(may_read=True)


def caller_of(request: Request) -> Caller:
    """Return who asks, as the guard found out."""
    caller: Caller = request.scope[_CALLER]
    return caller


@dataclass(slots=True)
class Door:
    """Open to all readers as long as there is no password and only this machine can ask.

    accounts        password and tokens as they are now
    is_exposed      whether other machines can ask: then it is closed without a password, too
    lets_guests_in  whether strangers may read
    own_tokens      path -> what tells whether a bearer token is right for this path alone
    """

    accounts: Callable[[], Accounts] = lambda: NOBODY
    sessions: Sessions = field(default_factory=Sessions)
    is_exposed: bool = False
    lets_guests_in: bool = False
    cookie: str = "wattlog"
    now_ms: Callable[[], int] = lambda: 0
    mono_ms: Callable[[], int] = lambda: 0
    own_tokens: Mapping[str, Callable[[str], bool]] = field(default_factory=dict)
    _attempts: Attempts = field(default_factory=Attempts)
    _token_attempts: Attempts = field(default_factory=Attempts)
    _hashing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_closed(self) -> bool:
        """Whether strangers stay outside, or may at most look in as guests."""
        return self.is_exposed or self.accounts().password is not None

    @property
    def has_password(self) -> bool:
        """Whether anybody can log in."""
        return self.accounts().password is not None

    def introduce(self, scope: Scope, headers: Headers) -> Caller:
        """Find out who asks, and note it for caller_of(); raise TooManyAttempts."""
        caller = self.caller(scope, headers)
        scope[_CALLER] = caller
        return caller

    def caller(self, scope: Scope, headers: Headers) -> Caller:
        """Return who asks; raise TooManyAttempts."""
        bearer = bearer_of(headers)
        if bearer is not None:
            return self._bearer(bearer, scope) or self._stranger()
        secret = self._cookie(headers)
        accounts = self.accounts()
        if secret is not None and self.sessions.is_valid(secret, accounts.mark(), self.now_ms()):
            return Caller(may_read=True, may_change=True, secret=secret)
        return self._stranger()

    async def login(self, password: str, address: str, secret: str | None) -> str:
        """Return the secret of a new session; that of before, if any, ends.

        Raises WrongPassword, TooManyAttempts.
        """
        self._attempts.begin(address, self.mono_ms())
        accounts = self.accounts()
        if accounts.password is None:
            raise WrongPassword
        # One at a time: each takes a core and 32 MiB.
        async with self._hashing:
            is_right = await asyncio.to_thread(passwords.matches, accounts.password, password)
        if not is_right:
            raise WrongPassword
        self._attempts.forgive(address)
        if secret is not None:
            self.sessions.end(secret)
        made = self.sessions.begin(accounts.mark(), self.now_ms())
        await self._save()
        return made

    async def logout(self, secret: str) -> None:
        """End the session."""
        self.sessions.end(secret)
        await self._save()

    def set_cookie(self, secret: str | None, *, is_secure: bool) -> str:
        """Return the header that gives the browser the session, or takes it away."""
        age_s = 0 if secret is None else LASTS_MS // 1000
        attributes = f"Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict"
        return f"{self.cookie}={secret or ''}; {attributes}{'; Secure' if is_secure else ''}"

    async def _save(self) -> None:
        # Under the lock, so that an older state never comes behind a newer one.
        async with self._hashing:
            await asyncio.to_thread(self.sessions.save)

    def _cookie(self, headers: Headers) -> str | None:
        return cookie_parser(headers.get("cookie", "")).get(self.cookie) or None

    def _stranger(self) -> Caller:
        return READER if self.lets_guests_in or not self.is_closed else STRANGER

    def _bearer(self, token: str, scope: Scope) -> Caller | None:
        found = self.accounts().tokens.get(digest_of(token))
        if found is not None:
            return Caller(may_read=True, may_change=found.may_change)
        is_right = self.own_tokens.get(scope["path"])
        if is_right is None:
            return None
        # A person may have thought it up, so it must not be guessed at any speed.
        address = address_of(scope)
        self._token_attempts.begin(address, self.mono_ms())
        if not is_right(token):
            return None
        self._token_attempts.forgive(address)
        return Caller(may_read=True, may_change=True)


def bearer_of(headers: Headers) -> str | None:
    """Return the token of a program; empty where it authorises in another way, None for none."""
    given = headers.get("authorization")
    if given is None:
        return None
    return given[len(_SCHEME) :].strip() if given.lower().startswith(_SCHEME) else ""


def address_of(scope: Scope) -> str:
    """Return the address that asks."""
    return scope["client"][0] if scope.get("client") else ""
