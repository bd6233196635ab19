"""A meter that sends no power, through the whole agent: in a file of its own for the heap."""

from agent_world import World, frame


def test_a_meter_without_power_gets_an_average_of_it():
    world = World()
    averages = {}
    for second in range(61):
        world.feed(second * 1000, frame(second, full=False, import_wh_e1=1000 + second))
        values = world.agent.meters[0].reading.values if second else []
        if len(values) > 1:
            averages[second] = values[1]
    assert averages == {30: (60, 3600, -1), 60: (60, 3600, -1)}  # 0.1 Wh in 1 s are 360.0 W
    assert world.log.stats().records == 61
