"""SQL for batches of a renewed log: the same ones under the ids it had before, or has got since.

A batch is the same where edge, boot, first number and bytes are, but for holes. Boot and number
alone are not enough: a machine that is put back with its memory goes on in the same boot.
"""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from wattlog_host.ingest import merged
from wattlog_host.store import lookup, tables
from wattlog_host.store.logs import Log, Logs
from wattlog_host.wire import Batch
from wattlog_pi.system_clock import Trust

_BATCH = tables.batch.c
_KIN = sa.select(
    _BATCH.log_id, _BATCH.first_seq, _BATCH.boot, _BATCH.packed, _BATCH.readings,
    _BATCH.received_ms, _BATCH.received_trust, _BATCH.skipped,
).where(
    _BATCH.log_id.in_(sa.bindparam("log_ids")), _BATCH.first_seq.in_(sa.bindparam("first_seqs"))
)  # fmt: skip


class Kin(NamedTuple):
    """A batch that is stored under another id of its log."""

    log_id: int
    number: int
    boot: int
    packed: bytes
    readings: int
    received_ms: int
    trust: Trust
    skipped: int


class KinFinder:
    """What one transaction knows of its logs under their other ids."""

    def __init__(self, connection: sa.Connection, logs: Logs) -> None:
        """Know nothing yet."""
        self._connection = connection
        self._logs = logs
        self._stored: dict[tuple[int, int], list[Kin]] = {}
        """(id of the log, first_seq) -> what is stored so under its other ids."""
        self._gone: set[tuple[int, int]] = set()
        """(id of the log, first_seq) of what has moved away."""

    def look_up(self, log: Log, first_seqs: Sequence[int]) -> None:
        """Load what may be asked for about batches that begin with these numbers."""
        numbers = {log_id: number for number, log_id in log.kin.items()}
        rows = self._connection.execute(
            _KIN, {"log_ids": sorted(numbers), "first_seqs": sorted(set(first_seqs))}
        )
        for row in rows:
            self._stored.setdefault((log.id, row.first_seq), []).append(
                Kin(
                    row.log_id, numbers[row.log_id], row.boot, row.packed, row.readings,
                    row.received_ms, Trust(row.received_trust), lookup.as_bits(row.skipped),
                )
            )  # fmt: skip

    def same(self, log: Log, batch: Batch) -> Kin | None:
        """Return where the same batch is under another id, a later one if there is a choice."""
        alike = [
            one
            for one in self._named(log, batch)
            if one.boot == batch.boot and merged(batch, one.packed) is not None
        ]
        return max(alike, key=lambda one: log.is_before(one.number), default=None)

    def shared(self, log: Log, batch: Batch) -> set[int]:
        """Return which of a batch's records are under another id in one that is not the same.

        A group that grew when the machine was copied, memory and all: its first records are in
        both.
        """
        own = {record.seq: record for record in batch.records}
        seqs: set[int] = set()
        for kin in self._named(log, batch):
            if kin.boot != batch.boot or merged(batch, kin.packed) is not None:
                continue
            other = lookup.batch_from(log.edge, batch.log, batch.first_seq, kin.packed)
            seqs.update(
                record.seq
                for record in other.records
                if own.get(record.seq) == record
                and not kin.skipped >> record.seq - batch.first_seq & 1
            )
        return seqs

    def is_gone(self, log: Log, first_seq: int) -> None:
        """Note that a batch is not under this id any more."""
        self._gone.add((log.id, first_seq))

    def _named(self, log: Log, batch: Batch) -> list[Kin]:
        """Return what is under the other ids of its log with the same first number."""
        found = [
            one
            for one in self._stored.get((log.id, batch.first_seq), ())
            if not self._is_stale(log.edge, one, batch.first_seq)
        ]
        for number, log_id in log.kin.items():
            other = self._logs.get(log.edge, number)
            planned = other.fresh.get(batch.first_seq) if other is not None else None
            if planned is not None and planned.batch.boot is not None:
                found.append(
                    Kin(
                        log_id, number, planned.batch.boot, planned.batch.packed,
                        len(planned.rows), planned.received_ms, planned.trust, planned.skipped,
                    )
                )  # fmt: skip
        return found

    def _is_stale(self, edge: str, kin: Kin, first_seq: int) -> bool:
        """Tell whether this transaction has moved or rewritten what was looked up."""
        other = self._logs.get(edge, kin.number)
        is_fresh = other is not None and first_seq in other.fresh
        return is_fresh or (kin.log_id, first_seq) in self._gone
