"""The door of this host, made of its settings; none is left open to other machines."""

from collections.abc import Callable

from wattlog_host.access.accounts import accounts_in
from wattlog_host.access.kept import AccessRefused
from wattlog_host.access.sessions import FILE_NAME, Sessions
from wattlog_host.settings import Settings, is_loopback
from wattlog_host.web.door import Door


def door_of(settings: Settings, now_ms: Callable[[], int], mono_ms: Callable[[], int]) -> Door:
    """Return the door; raise AccessRefused, KeptBroken where the host must not serve its page."""
    kept = accounts_in(settings.data)
    is_exposed = not is_loopback(settings.http_listen)
    accounts = kept.now()
    if is_exposed and accounts.password is None and not accounts.tokens:
        raise AccessRefused(
            f'http.listen = "{settings.http_listen}" lets other machines ask, and there is no '
            f"password yet: set one with `wattlog-host{settings.options()} password`"
        )
    return Door(
        kept.now,
        Sessions(settings.data / FILE_NAME),
        is_exposed=is_exposed,
        lets_guests_in=settings.http_guest,
        # Cookies do not tell ports apart: two hosts of one machine need two names.
        cookie=f"wattlog-{settings.http_port}",
        now_ms=now_ms,
        mono_ms=mono_ms,
    )
