"""Which records are lost for good: arithmetic with runs of sequence numbers. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

EVICTED = "evicted"
DAMAGED = "damaged"
REFUSED = "refused"


class Span(NamedTuple):
    """A run of sequence numbers, both ends included."""

    first: int
    last: int

    def without(self, other: "Span") -> "list[Span]":
        """Return what is left of this run, in order."""
        left = []
        if self.first < other.first:
            left.append(Span(self.first, min(self.last, other.first - 1)))
        if self.last > other.last:
            left.append(Span(max(self.first, other.last + 1), self.last))
        return left


class Gap(NamedTuple):
    """A run that is lost, why, and when that was known; id is the store's, once it has one."""

    span: Span
    reason: str
    noted_ms: int
    id: int | None = None


def spans_of(seqs: Iterable[int]) -> list[Span]:
    """Return the runs that rising sequence numbers make."""
    spans: list[Span] = []
    for seq in seqs:
        if spans and spans[-1].last == seq - 1:
            spans[-1] = Span(spans[-1].first, seq)
        else:
            spans.append(Span(seq, seq))
    return spans


def uncovered(span: Span, covers: Iterable[Span]) -> list[Span]:
    """Return what of a run none of these covers; they come by rising first, and may overlap."""
    left = []
    at = span.first
    for cover in covers:
        if cover.first > at:
            left.append(Span(at, min(cover.first - 1, span.last)))
        at = max(at, cover.last + 1)
        if at > span.last:
            return [one for one in left if one.first <= one.last]
    left.append(Span(at, span.last))
    return [one for one in left if one.first <= one.last]


def without(gaps: Iterable[Gap], span: Span) -> list[Gap]:
    """Return the gaps as they are once this run is there; one that is touched has no id."""
    left = []
    for gap in gaps:
        if gap.span.last < span.first or gap.span.first > span.last:
            left.append(gap)
        else:
            left += [gap._replace(span=rest, id=None) for rest in gap.span.without(span)]
    return left


def with_gap(gaps: Sequence[Gap], gap: Gap) -> list[Gap]:
    """Return the gaps and this one, by rising seq; what was a gap before keeps its reason.

    Neighbours of one reason become one: what a log lost in a long outage is one gap, however
    often that was told.
    """
    new = [gap._replace(span=span) for span in uncovered(gap.span, [one.span for one in gaps])]
    out: list[Gap] = []
    for one in sorted([*gaps, *new]):
        last = out[-1] if out else None
        if last and last.reason == one.reason and last.span.last + 1 == one.span.first:
            noted_ms = max(last.noted_ms, one.noted_ms)
            out[-1] = Gap(Span(last.span.first, one.span.last), one.reason, noted_ms)
        else:
            out.append(one)
    return out
