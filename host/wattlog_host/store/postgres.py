"""A database in PostgreSQL: its one writer, its sessions' settings, what it takes on disk."""

import contextlib
import logging
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from wattlog_host.store import sharing
from wattlog_host.store.records import StoreError
from wattlog_host.store.role import Role

# A server that is gone is noticed, so that nobody waits for it for ever; and so is a host.
_CONNECT = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "options": " ".join(
        f"-c tcp_keepalives_{name}" for name in ("idle=30", "interval=10", "count=3")
    ),
}
# To compile a plan over the partitions of years takes seconds, and what is asked milliseconds.
_OF_ALL = ("SET jit = off",)
_OF_WRITER = (
    *_OF_ALL,
    # An acknowledged batch survives a power cut of the server.
    "SET synchronous_commit = on",
    "SET lock_timeout = '2s'",
)
_OF_READER = (
    *_OF_ALL,
    # One state for all of a transaction.
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
)
_SIZE = sa.text("SELECT pg_database_size(current_database())")
_LOCK_NOT_AVAILABLE = "55P03"
# Measured again after so many calls.
_CALLS = 256


def name_of(url: sa.URL) -> str:
    """Return what the database is called before a person, without a password."""
    return url.set(drivername="postgresql").render_as_string(hide_password=True)


def engine(url: sa.URL, role: Role | None, readers: int) -> sa.Engine:
    """Return an engine for this role, None for one that only reads.

    One that writes has one session, which is refused while what it needs is taken.
    """
    # What it warns of is that a connection is lost, which we say ourselves, once.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    try:
        made = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args=_CONNECT,
            pool_size=readers if role is None else 1,
            max_overflow=0,
            pool_pre_ping=True,
        )
    except ImportError as err:
        raise StoreError("PostgreSQL needs psycopg: install wattlog[postgres]") from err

    @event.listens_for(made, "connect")
    def _configure(dbapi: Any, record: Any) -> None:
        try:
            with dbapi.cursor() as cursor:
                for statement in _OF_READER if role is None else _OF_WRITER:
                    cursor.execute(statement)
                if role is not None:
                    record.info[sharing.ROLE] = role
                    record.info[sharing.SLOT] = _take(cursor, url, role)
            dbapi.commit()
        except BaseException:
            dbapi.close()
            raise

    return made


class Space:
    """What the database takes on the server's disk."""

    def __init__(self, engine: sa.Engine) -> None:
        """Ask for it."""
        self._engine = engine
        self._calls = 0
        self._bytes = 0
        self._measure()

    def require(self) -> None:
        """Measure again now and then; a server cannot lose its files' names unnoticed."""
        self._calls += 1
        if self._calls % _CALLS == 0:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                self._measure()

    def size_bytes(self) -> int:
        """Return what was measured last."""
        return self._bytes

    def used_bytes(self, connection: sa.Connection) -> int:
        """Return what the database takes now."""
        return int(connection.execute(_SIZE).scalar_one())

    def free_bytes(self) -> int | None:
        """Return None: the server's disk may be anywhere."""
        return None

    def _measure(self) -> None:
        with self._engine.begin() as connection:
            self._bytes = int(connection.execute(_SIZE).scalar_one())


def _take(cursor: Any, url: sa.URL, role: Role) -> int:
    """Take what this role writes under; return its slot."""
    cursor.execute("SHOW fsync")
    if cursor.fetchone() != ("on",):
        raise StoreError(
            f"{name_of(url)} runs with fsync = off: a power cut would lose what was acknowledged"
        )
    if role is Role.ALONE:
        if not _has_got(cursor, "pg_advisory_lock", sharing.LOCK_KEY):
            raise StoreError(
                f"another wattlog-host uses {name_of(url)}; stop it or use another one"
            )
        return 0
    if not _has_got(cursor, "pg_advisory_lock_shared", sharing.LOCK_KEY):
        raise StoreError(
            f"a wattlog-host that is not of this cell uses {name_of(url)}; stop it, or give it "
            "the same cell.share"
        )
    if role is Role.LEAD:
        if not _has_got(cursor, "pg_advisory_lock", sharing.LOCK_KEY + 1):
            raise StoreError(
                f"another wattlog-host leads the cell at {name_of(url)}; start this one as "
                "`wattlog-host worker`"
            )
        return 0
    for slot in sharing.SLOTS:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (sharing.LOCK_KEY + 1 + slot,))
        if cursor.fetchone()[0]:
            return slot
    raise StoreError(
        f"the cell at {name_of(url)} has {len(sharing.SLOTS)} workers, which is all it takes"
    )


def _has_got(cursor: Any, function: str, key: int) -> bool:
    """Take a lock; tell whether that worked.

    It is waited for, up to lock_timeout: the server may not have noticed yet that the one who had
    it has ended.
    """
    try:
        cursor.execute(f"SELECT {function}(%s)", (key,))
    except Exception as err:
        if getattr(err, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        return False
    return True
