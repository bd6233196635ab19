"""Agents are asked for every reading only while somebody watches."""

from wattlog_host.wishes import REPEAT_MS, WISH_S, LiveWishes


def step(wishes, now_ms, edges=("cellar", "attic"), is_watched=True):
    due = wishes.due(is_watched=is_watched, edges=edges, now_ms=now_ms)
    for edge in due:
        wishes.asked(edge, now_ms)
    return due


def test_nobody_is_asked_while_nobody_watches():
    wishes = LiveWishes()
    assert [step(wishes, at, is_watched=False) for at in (0, REPEAT_MS, 10 * REPEAT_MS)] == [
        []
    ] * 3


def test_each_is_asked_at_once_and_again_before_the_wish_ends():
    wishes = LiveWishes()
    times = (0, 1, REPEAT_MS - 1, REPEAT_MS, REPEAT_MS + 1)
    assert [len(step(wishes, at)) for at in times] == [2, 0, 0, 2, 0]
    assert REPEAT_MS < 1000 * WISH_S


def test_who_comes_or_comes_back_is_asked_at_once():
    wishes = LiveWishes()
    assert step(wishes, 0, ["cellar"]) == ["cellar"]
    assert step(wishes, 5, ["cellar", "attic"]) == ["attic"]
    assert step(wishes, 6, ["attic"]) == []
    assert step(wishes, 7, ["cellar", "attic"]) == ["cellar"]


def test_who_opens_the_page_again_is_served_at_once():
    wishes = LiveWishes()
    step(wishes, 0)
    step(wishes, 5, is_watched=False)
    assert len(step(wishes, 6)) == 2


def test_who_could_not_be_told_is_told_as_soon_as_possible():
    wishes = LiveWishes()
    assert wishes.due(is_watched=True, edges=["cellar"], now_ms=0) == ["cellar"]
    assert wishes.due(is_watched=True, edges=["cellar"], now_ms=1) == ["cellar"]
