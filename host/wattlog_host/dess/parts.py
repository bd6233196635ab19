"""Puts the parts together: a client for the command line, the whole for the host."""

from collections.abc import Callable, Mapping
from pathlib import Path

from wattlog_host.clock import monotonic_ms, now_ms
from wattlog_host.dess import devcodes
from wattlog_host.dess.client import Client
from wattlog_host.dess.config import DessSettings, password_source
from wattlog_host.dess.controls import Audit
from wattlog_host.dess.panel import Panel
from wattlog_host.dess.poller import Poller
from wattlog_host.dess.service import Service, StoreSink, Transactions
from wattlog_host.dess.tokens import FILE_NAME, TokenFile
from wattlog_host.dess.transport import Transport
from wattlog_host.dess.worker import Worker

AUDIT_NAME = "dess-changes.jsonl"


def client_of(
    settings: DessSettings,
    username: str,
    data: Path,
    password: Callable[[], str | None],
    wait_s: Callable[[float], None],
) -> tuple[Client, Transport]:
    """Return a client, and what it sends with; the token's file lies in the data folder."""
    transport = Transport(settings.url)
    keeper = TokenFile(data / FILE_NAME)
    client = Client(settings.account(username), transport, keeper, password, now_ms, wait_s)
    return client, transport


def audit_of(data: Path) -> Audit:
    """Return the notes of changed settings."""
    return Audit(data / AUDIT_NAME, now_ms)


def solar_of(
    settings: DessSettings,
    data: Path,
    store: Transactions,
    environ: Mapping[str, str],
    say: Callable[[str], None],
    chance: Callable[[], float],
) -> tuple[Service, Panel]:
    """Return the poller beside the host and what its pages work with; raises ConfigError."""
    assert settings.username is not None, "checked when the settings were read"
    service: Service

    def wait_s(pause_s: float) -> None:
        service.wait_s(pause_s)

    client, transport = client_of(
        settings, settings.username, data, password_source(settings, environ), wait_s
    )
    poller = Poller(60_000 * settings.interval_min, chance)
    sink = StoreSink(store)
    catalogue = devcodes.load(settings.devcodes)
    worker = Worker(client, poller, catalogue, sink, now_ms, monotonic_ms, say)
    service = Service(worker, sink, monotonic_ms, transport.abort)
    panel = Panel(
        worker,
        store,
        audit_of(data),
        frozenset(settings.writable),
        settings.write_token_file,
        wait_s,
        now_ms,
        monotonic_ms,
    )
    return service, panel
