"""Average power from counters: where the steps are fine, over half a minute, and never guessed."""

from wattlog.average import PowerAverage
from wattlog.reading import Reading

METER = bytes.fromhex("0a01454d480000bc614e")
IMPORT, IMPORT_T1, EXPORT, AVERAGE = 1, 2, 4, 60


def reading(second, *rows, meter=METER, full=False):
    return Reading(meter, second, list(rows), full)


def averages(steps):
    """[(time in s, W*10)] of (time in s, reading)."""
    average = PowerAverage()
    found = []
    for second, one in steps:
        out = average.add(one, second * 1000)
        assert out.values[: len(one.values)] == one.values
        for number, value, scale in out.values[len(one.values) :]:
            assert (number, scale) == (AVERAGE, -1)
            found.append((second, value))
        assert out.full_dataset == one.full_dataset
    return found


def test_import_over_thirty_seconds():
    # 0.1 Wh every 2 s are 180 W.
    steps = [(s, reading(s, (IMPORT, 1000 + s // 2, -1))) for s in range(95)]
    assert averages(steps) == [(30, 1800), (60, 1800), (90, 1800)]


def test_export_counts_against_import():
    steps = [(s, reading(s, (IMPORT, 7, -1), (EXPORT, s, -1))) for s in range(0, 61, 10)]
    assert averages(steps) == [(30, -3600), (60, -3600)]
    steps = [(s, reading(s, (EXPORT, s, -1))) for s in range(31)]
    assert averages(steps) == [(30, -3600)]


def test_an_average_is_rounded():
    for rise, wanted in ((5, 581), (7, 813)):  # 58.06 W, 81.29 W
        steps = [(0, reading(0, (IMPORT, 0, -1))), (31, reading(31, (IMPORT, rise, -1)))]
        assert averages(steps) == [(31, wanted)]


def test_any_step_up_to_one_wh():
    for scale, rise, wanted in (
        (0, 1, 1200),
        (-1, 1, 120),
        (-4, 1, 0),
        (-5, 12345, 148),
        (-5, -1, None),
    ):
        steps = [
            (0, reading(0, (IMPORT, 99999, scale))),
            (30, reading(30, (IMPORT, 99999 + rise, scale))),
        ]
        assert averages(steps) == ([] if wanted is None else [(30, wanted)]), scale


def test_no_average_where_it_would_be_a_guess():
    def pair(first, second):
        return [(0, reading(0, first)), (30, reading(30, second))]

    cases = (
        ("whole kWh", pair((IMPORT, 1, 3), (IMPORT, 2, 3))),
        ("tens of Wh", pair((IMPORT, 1, 1), (IMPORT, 2, 1))),
        ("a tariff only", pair((IMPORT_T1, 1, -1), (IMPORT_T1, 9, -1))),
        ("the PIN was entered", pair((IMPORT, 1, 3), (IMPORT, 10009, -1))),
        ("export has appeared", [(0, reading(0, (IMPORT, 1, -1))),
                                 (30, reading(30, (IMPORT, 2, -1), (EXPORT, 9, -1)))]),
        ("import is fine, export is not",
         [(s, reading(s, (IMPORT, s, -1), (EXPORT, 9, 3))) for s in (0, 30)]),
        ("the counter was reset", pair((IMPORT, 9, -1), (IMPORT, 1, -1))),
        ("another meter",
         [(0, reading(0, (IMPORT, 1, -1))), (30, reading(30, (IMPORT, 9, -1), meter=b"x"))]),
        ("a silence of six minutes", [(s, reading(s, (IMPORT, s, -1))) for s in (0, 360)]),
        ("the meter sends its power",
         [(s, reading(s, (IMPORT, s, -1), (10, 5, 0), full=True)) for s in (0, 30, 60)]),
    )  # fmt: skip
    for name, steps in cases:
        assert averages(steps) == [], name


def test_the_meters_own_clock_counts_where_it_agrees_with_ours():
    cases = (
        ("it says 30 s, we 31", 30, 31, [(31, 3600)]),
        ("it says 29 s, we 31: not yet", 29, 31, []),
        ("it says 900 s, we 30: ours", 900, 30, [(30, 3600)]),
        ("it has none: ours", None, 40, [(40, 2700)]),
        ("it was reset: ours", -7, 30, [(30, 3600)]),
    )
    for name, by_meter_s, by_us_s, wanted in cases:
        later = None if by_meter_s is None else 100 + by_meter_s
        steps = [(0, reading(100, (IMPORT, 0, -1))), (by_us_s, reading(later, (IMPORT, 300, -1)))]
        wanted = [(second, value * 10) for second, value in wanted]
        assert averages(steps) == wanted, name
