"""The gate under any sequence: no good reading is lost, no detectable wrong one comes out."""

from hypothesis import given
from hypothesis import strategies as st

from wattlog.gate import HELD_MAX, Gate
from wattlog.reading import Reading

METER = bytes.fromhex("0a01454d480000bc614e")
IMPORT, EXPORT, POWER = 1, 4, 10
START_WH_E1 = 10**9
FAR_WH_E1 = 10**11  # more than any house draws in any of these sequences
POWER_W_MAX = 69_000

periods_s = st.integers(1, 30)
flows = st.lists(
    st.tuples(st.integers(-POWER_W_MAX, POWER_W_MAX), st.integers(0, 900)), min_size=2
)
far_off = st.sampled_from(("falls", "jumps", "set", "scale", "id"))


def good_readings(period_s, flow):
    """(reading, its time) of a meter on a house with these flows and delays of its frames."""
    imported = exported = START_WH_E1
    taken = []
    for index, (power_w, delay_ms) in enumerate(flow):
        step_wh_e1 = abs(power_w) * period_s // 360
        imported += step_wh_e1 if power_w > 0 else 0
        exported += step_wh_e1 if power_w < 0 else 0
        second = 1000 + index * period_s
        rows = [(IMPORT, imported, -1), (EXPORT, exported, -1), (POWER, power_w, 0)]
        taken.append((Reading(METER, second, rows, True), second * 1000 + delay_ms))
    return taken


def far_from(good, how, index):
    """The reading as a fault has it that shows: each index is wrong in its own way."""
    (one, imported, scale), *others = good.values
    if how == "id":
        return good._replace(server_id=METER[:-1] + bytes((index,)))
    if how == "set":
        return good._replace(values=[*good.values, (20 + index, 1, 0)])
    if how == "scale":
        return good._replace(values=[*good.values[:2], (POWER, 1, 1 + index)])
    wrong = imported + FAR_WH_E1 * (1 + index) if how == "jumps" else START_WH_E1 // (2 + index)
    return good._replace(values=[(one, wrong, scale), *others])


def run(taken):
    gate = Gate()
    out = []
    for count, one in enumerate(taken, 1):
        out += gate.check(*one)
        ended = gate.counts.get("released", 0) + gate.counts.get("glitch", 0)
        assert gate.good + ended + len(gate.held) == count
        assert len(gate.held) <= HELD_MAX
    return gate, out


def is_in_order(part, whole):
    """Is part what is left of whole when some are taken out? Compared by identity."""
    rest = iter(whole)
    return all(any(one[0] is other[0] and one[1] == other[1] for other in rest) for one in part)


@given(periods_s, flows)
def test_good_readings_all_come_out_at_once(period_s, flow):
    taken = good_readings(period_s, flow)
    gate, out = run(taken)
    assert out == taken
    assert gate.counts == {}
    assert gate.events() == []


@given(periods_s, flows, st.data())
def test_single_faults_that_show_cost_no_good_reading_and_never_come_out(period_s, flow, data):
    good = good_readings(period_s, flow)
    taken = []
    for index, one in enumerate(good):
        if data.draw(st.booleans()):
            wrong = far_from(one[0], data.draw(far_off), index % 50)
            taken.append((wrong, one[1]))
        taken.append(one)
    gate, out = run(taken)
    assert out == good
    assert gate.counts.get("glitch", 0) == len(taken) - len(good)
    assert gate.events() == []


@given(periods_s, flows, st.data())
def test_a_fault_that_does_not_show_costs_at_most_the_reading_behind_it(period_s, flow, data):
    # A counter that is a little too high cannot be told from a good one. If the next reading
    # undercuts it and the one after does not, the one between looks like the fault: to let it
    # pass would make the record fall and rise again.
    good = good_readings(period_s, flow)
    at = data.draw(st.integers(0, len(good) - 1))
    (number, imported, scale), *others = good[at][0].values
    near = data.draw(st.integers(-(10**5), 10**5))
    wrong = good[at][0]._replace(values=[(number, imported + near, scale), *others])
    gate, out = run([*good[:at], (wrong, good[at][1]), *good[at + 1 :]])
    lost = [index for index, one in enumerate(good) if index != at and one not in out]
    held = [reading for reading, _, _ in gate.held]
    lost = [index for index in lost if good[index][0] not in held]
    assert lost in ([], [at + 1])


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 10**6), st.integers(0, 40))
    )
)
def test_whatever_comes_the_books_balance_and_the_order_stays(rows):
    taken = []
    now_ms = 0
    for identity, shape, energy, wait_s in rows:
        now_ms += wait_s * 1000
        values = [(IMPORT, energy, -1), (EXPORT, 0, 0), (POWER, 7, 0), (21, 230, 0)][: shape + 1]
        taken.append((Reading(METER[:-1] + bytes((identity,)), wait_s, values, True), now_ms))
    _, out = run(taken)
    assert is_in_order(out, taken)


def and_then(before, how):
    """The same flows once more, from a meter that has changed in this way."""
    pause_s = before[-1][0].sec_index - before[0][0].sec_index + 30
    rises = [before[-1][0].values[index][1] - START_WH_E1 for index in range(2)]
    after = []
    for reading, taken_ms in before:
        rows = list(reading.values)
        if how in ("scale", "set"):  # the counters go on from where they are
            for index in range(2):
                number, value, scale = rows[index]
                rows[index] = (number, value + rises[index], scale)
        later = reading._replace(sec_index=reading.sec_index + pause_s, values=rows)
        after.append((far_from(later, how, 1), taken_ms + pause_s * 1000))
    return after


@given(periods_s, flows, far_off)
def test_a_change_that_stays_costs_nothing(period_s, flow, how):
    before = good_readings(period_s, flow)
    after = and_then(before, how)
    gate, out = run(before + after)
    assert out == before + after
    assert gate.counts["released"] == 1
    assert len(gate.events()) == (0 if how in ("scale", "set") else 1)
