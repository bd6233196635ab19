"""The cloud as calls that return typed results or raise one of our errors; blocks, waits, ends.

What is asked for is in api.py. Here is how: signed, with a token that is renewed ahead of time
and once when the cloud does not know it any more, repeated once where that may help, never where
it would lock the account, and never a write.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from wattlog_host.dess import parsing, signing
from wattlog_host.dess.errors import (
    Again,
    DessError,
    Garbled,
    LoginMissing,
    LoginRefused,
    SessionEnded,
    Unreachable,
    of_code,
)
from wattlog_host.dess.parsing import integer
from wattlog_host.dess.tokens import Token

REPEAT_WAIT_S = 2.0
DISTRUST_MS = 300_000
"""So long after a fresh login that did not help no other is tried."""
RENEW_EVERY_MS = 120_000
"""A renewal ahead of time that failed is tried again after so long."""
HIDDEN = "***"
_HIDDEN_MIN = 6
_HIDDEN_MAX = 20

# Login: action, source.
PLATFORMS = {
    "ess": ("authSource", "1", "https://api.dessmonitor.com/public/"),
    "pv": ("auth", "0", "https://ios.shinemonitor.com/public/"),
}
COMPANY_KEY = "bnrl_frRFjEz8Mkn"
"""The vendor's own portal; public, and the same for everyone."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where and as whom to log in; platform is a key of PLATFORMS."""

    url: str
    username: str
    platform: str = "ess"
    company_key: str = COMPANY_KEY

    @property
    def name(self) -> str:
        """Return what a token is bound to."""
        return f"{self.url} {self.platform} {self.username}"


class Sender(Protocol):
    """What carries a query to the cloud."""

    def get(self, query: str, now_ms: int, total_s: float | None = None) -> bytes:
        """Return the answer's body."""

    def renew(self) -> None:
        """Let go of old connections."""


class Keeper(Protocol):
    """What keeps a token."""

    def read(self, account: str) -> Token | None:
        """Return the account's token."""

    def write(self, token: Token) -> None:
        """Keep it."""


class Client:
    """One account. Threads may share it; their calls follow each other."""

    def __init__(
        self,
        account: Account,
        sender: Sender,
        keeper: Keeper,
        password: Callable[[], str | None],
        now_ms: Callable[[], int],
        wait_s: Callable[[float], None],
    ) -> None:
        """Take the rim: what sends, keeps, knows the password, the clock, and waits.

        password is asked for at each login, so that a changed file counts at once.
        """
        self.account = account
        self.counts: Counter[str] = Counter()
        self._sender = sender
        self._keeper = keeper
        self._password = password
        self._now_ms = now_ms
        self._wait_s = wait_s
        self._lock = threading.RLock()
        self._token: Token | None = None
        self._has_read = False
        self._refusal: tuple[str, LoginRefused] | None = None
        self._distrust_until_ms: int | None = None
        self._renewal_failed_ms: int | None = None
        self._salt = 0
        self._hidden: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Return what the account's platform is called in calls."""
        return PLATFORMS[self.account.platform][1]

    def call(self, *pairs: tuple[str, str], total_s: float | None = None) -> Any:
        """Return the data of a reading call; raise DessError. The first pair is the action."""
        with self._lock:
            self.counts["calls"] += 1
            try:
                return self._call_renewing(pairs, total_s)
            except (Again, Unreachable, Garbled) as err:
                self.counts[err.reason] += 1
                self._wait_s(REPEAT_WAIT_S)
            self.counts["repeats"] += 1
            return self._call_renewing(pairs, total_s)

    def write(self, *pairs: tuple[str, str]) -> Any:
        """Send a call that changes something, once; raise DessError.

        After any error but a plain refusal it is not known whether the change was made.
        """
        with self._lock:
            self._renew_if_due()
            # A connection that the host has just closed would leave us not knowing.
            self._sender.renew()
            self.counts["writes"] += 1
            try:
                return self._once(pairs, None)
            except SessionEnded:
                self._token = None
                raise

    def login(self) -> Token:
        """Get a fresh token and keep it; raise LoginRefused, LoginMissing or what else fails."""
        with self._lock:
            return self._login()

    def hide(self, text: str) -> str:
        """Return the text without any secret of ours that it may quote."""
        for secret in self._hidden:
            text = text.replace(secret, HIDDEN)
        return text

    # --- one call -----------------------------------------------------------------------------

    def _call_renewing(self, pairs: signing.Pairs, total_s: float | None) -> Any:
        self._renew_if_due()
        try:
            return self._once(pairs, total_s)
        except SessionEnded as err:
            self.counts["session"] += 1
            now_ms = self._now_ms()
            until_ms = self._distrust_until_ms
            if until_ms is not None and until_ms - DISTRUST_MS <= now_ms < until_ms:
                raise
            ended = err
        self._login()
        try:
            return self._once(pairs, total_s)
        except SessionEnded:
            # It is not the token then; to log in for every call would look like an attack.
            self._distrust_until_ms = self._now_ms() + DISTRUST_MS
            raise ended from None

    def _once(self, pairs: signing.Pairs, total_s: float | None) -> Any:
        token = self._token
        if token is None:
            raise LoginMissing("not logged in")
        self.counts["requests"] += 1
        query = signing.call_query(pairs, token.secret, token.token, self._next_salt())
        return self._data(self._sender.get(query, self._now_ms(), total_s), is_login=False)

    def _data(self, body: bytes, *, is_login: bool) -> Any:
        if not is_login:
            # Whoever sends our token back gets it into no table, page or log. The password is
            # hidden in what is said only: it may be a word that titles have.
            token = self._token
            for secret in (token.token, token.secret) if token is not None else ():
                if len(secret) >= _HIDDEN_MIN:
                    body = body.replace(secret.encode(), HIDDEN.encode())
        answer = parsing.envelope(body)
        if answer.err != 0:
            raise of_code(answer.err, self.hide(answer.desc), is_login=is_login)
        return answer.dat

    def _next_salt(self) -> str:
        # Told apart even within a millisecond, or with a clock that goes back.
        self._salt = max(self._salt + 1, self._now_ms())
        return str(self._salt)

    # --- login --------------------------------------------------------------------------------

    def _renew_if_due(self) -> None:
        if not self._has_read:
            self._has_read = True
            self._token = self._keeper.read(self.account.name)
            self._hide_also()
        token = self._token
        if token is None:
            self._login()
        elif token.is_due(self._now_ms()) and self._may_renew():
            try:
                self._login()
            except DessError:
                # The token at hand is good until the cloud says no; then this is told.
                self._token = token
                self._renewal_failed_ms = self._now_ms()

    def _may_renew(self) -> bool:
        failed_ms = self._renewal_failed_ms
        return failed_ms is None or not 0 <= self._now_ms() - failed_ms < RENEW_EVERY_MS

    def _login(self) -> Token:
        account, password = self.account, self._password()
        if password is None:
            raise LoginMissing(
                "no password: run `wattlog-host dess login`, or set dessmonitor.password_file"
            )
        digest = signing.password_digest(f"{account.name} {account.company_key} {password}")
        if self._refusal is not None and self._refusal[0] == digest:
            raise self._refusal[1]
        action, source, _ = PLATFORMS[account.platform]
        pairs = (
            ("action", action),
            ("usr", account.username),
            ("company-key", account.company_key),
            ("source", source),
            ("_app_client_", "web"),
            ("_app_id_", "wattlog"),
            ("_app_version_", "1.0"),
        )
        self._hide_also(password, signing.password_digest(password))
        self.counts["logins"] += 1
        query = signing.login_query(pairs, password, self._next_salt())
        try:
            dat = self._data(self._sender.get(query, self._now_ms()), is_login=True)
        except LoginRefused as err:
            self._refusal = (digest, err)
            self._token = None
            raise
        self._token = self._token_of(dat)
        self._hide_also(password, signing.password_digest(password))
        self._keeper.write(self._token)
        return self._token

    def _token_of(self, dat: Any) -> Token:
        found = dat if isinstance(dat, dict) else {}
        token, secret = found.get("token"), found.get("secret")
        if not all(isinstance(text, str) and 0 < len(text) <= 1_000 for text in (token, secret)):
            raise Garbled("the cloud's answer to the login has no token")
        now_ms, life_s = self._now_ms(), integer(found.get("expire"))
        # Its own word for how long; without one, until it says that it does not know us.
        expires_ms = now_ms + 1000 * life_s if life_s is not None and life_s > 0 else None
        return Token(self.account.name, str(token), str(secret), now_ms, expires_ms)

    def _hide_also(self, *more: str) -> None:
        token = self._token
        secrets = [*more, *((token.token, token.secret) if token is not None else ())]
        # A shorter one would hide half the words of a page. Former tokens may still count.
        new = [text for text in dict.fromkeys(secrets) if len(text) >= _HIDDEN_MIN]
        kept = [text for text in self._hidden if text not in new]
        self._hidden = tuple([*new, *kept][:_HIDDEN_MAX])
