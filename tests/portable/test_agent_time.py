"""When the agent notes the time, and how far it is to be believed."""

from agent_world import World, frame


def test_the_time_is_noted_before_the_reading_that_it_dates():
    world = World()
    world.clock.now = 1795296211440
    world.source.waiting.append(frame(7) + frame(8))
    world.agent.step(50)
    assert [record[0] for record in world.records()] == [0, 1, 1]
    assert world.records()[0] == [0, 50, 1795296211440]


def test_a_clock_that_is_confirmed_is_noted_again():
    world = World()
    world.clock.now = 1795296211440
    world.clock.sure = False
    world.agent.step(50)
    world.agent.step(60)
    world.clock.sure = True
    world.agent.step(70)
    world.agent.step(80)
    assert world.records() == [[0, 50, 1795296211440], [0, 70, 1795296211440]]
    assert [world.log_sync(seq) for seq in (1, 2)] == [False, True]


def test_a_clock_that_is_set_while_it_is_read_is_not_called_sure():
    world = World()

    class Stepping:
        now = 1795296211440

        def epoch_ms(self):
            now, self.now = self.now, 1795555411440  # the time server answers just now
            return now

        def is_sure(self):
            return self.now == 1795555411440

    world.agent._clock = Stepping()
    for now_ms in (50, 60, 70):
        world.agent.step(now_ms)
    assert [world.log_sync(seq) for seq in (1, 2)] == [False, True]
    assert [row[2] for row in world.records()] == [1795296211440, 1795555411440]


def test_a_renewed_log_is_told_the_time():
    world = World()
    world.clock.now = 1795296211440
    world.agent.step(50)
    world.log.renew()
    world.agent.step(60)
    world.agent.step(70)
    assert [row[1] for row in world.records()] == [50, 60]


def test_a_clock_that_is_not_set_is_not_noted():
    world = World()
    world.source.waiting.append(frame(7) + frame(8))
    world.agent.step(50)
    assert [record[0] for record in world.records()] == [1, 1]
    world.clock.now = 1795296211440
    world.agent.step(60)
    assert [record[0] for record in world.records()] == [1, 1, 0]
