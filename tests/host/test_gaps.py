"""Runs of sequence numbers, against sets."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wattlog_host.gaps import Gap, Span, spans_of, uncovered, with_gap, without

SPAN = st.tuples(st.integers(1, 40), st.integers(0, 9)).map(lambda t: Span(t[0], sum(t)))
REASONS = ("evicted", "damaged", "refused")


def seqs(spans):
    return {seq for span in spans for seq in range(span.first, span.last + 1)}


@given(st.sets(st.integers(1, 60)))
def test_runs_hold_just_the_numbers(numbers):
    spans = spans_of(sorted(numbers))
    assert seqs(spans) == numbers
    assert all(a.last + 1 < b.first for a, b in pairwise(spans))


@given(SPAN, st.lists(SPAN))
def test_uncovered_is_the_difference_of_sets(span, covers):
    left = uncovered(span, sorted(covers))
    assert seqs(left) == seqs([span]) - seqs(covers)
    assert all(one.first <= one.last for one in left)


@given(st.lists(st.tuples(st.booleans(), SPAN, st.sampled_from(REASONS))))
def test_gaps_never_overlap_keep_their_reason_and_are_as_few_as_can_be(steps):
    gaps, plain = [], {}
    for is_gap, span, reason in steps:
        if is_gap:
            gaps = with_gap(gaps, Gap(span, reason, 5))
            for seq in seqs([span]):
                plain.setdefault(seq, reason)
        else:
            gaps = without(gaps, span)
            plain = {seq: why for seq, why in plain.items() if seq not in seqs([span])}
        told = [(seq, gap.reason) for gap in gaps for seq in sorted(seqs([gap.span]))]
        assert told == sorted(plain.items())
    for one, other in pairwise(gaps):
        touch = one.span.last + 1 == other.span.first
        # Cutting may leave neighbours of one reason apart; noting makes them one again.
        assert not (touch and one.reason == other.reason and steps[-1][0])


def test_what_is_untouched_keeps_its_number():
    gap = Gap(Span(5, 9), "evicted", 1, 7)
    assert without([gap], Span(1, 4)) == [gap]
    assert without([gap], Span(7, 7)) == [
        gap._replace(span=Span(5, 6), id=None), gap._replace(span=Span(8, 9), id=None)
    ]  # fmt: skip
    assert with_gap([gap], Gap(Span(11, 12), "evicted", 2))[0] is gap
    assert with_gap([gap], Gap(Span(10, 12), "evicted", 2)) == [Gap(Span(5, 12), "evicted", 2)]
