"""The figures about the past come from a real host that is asked over HTTP."""

from wattlog_tools import bench_history


def test_it_fills_a_database_and_asks_a_host(monkeypatch):
    monkeypatch.setattr(bench_history, "REST_S", 0)
    (figures,) = bench_history.measure([(2, 60)])
    assert 2_700 < figures.built.readings <= 2_880, "no reading lies in the future"
    assert [one.name for one in figures.answers] == [one.name for one in bench_history.QUESTIONS]
    assert all(one.wire_bytes > 50 and one.cpu_ms > 0 for one in figures.answers)
    text = "\n".join(bench_history.lines([figures]))
    assert "year of power" in text
    assert "times its CPU" in text
