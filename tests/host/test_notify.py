"""What the host tells its service manager, on a real socket."""

import asyncio
import threading

import pytest

from manager import Manager
from wattlog_host import errands
from wattlog_host.live import HostView, LiveView
from wattlog_host.store.store import Store
from wattlog_pi.notify import Notifier

ADDRESS = "http://127.0.0.1:8080/"


@pytest.fixture
def manager(tmp_path):
    made = Manager(tmp_path, 0.2)
    yield made
    made.close()


def view_of():
    return LiveView(HostView("1", 0, broker_trouble=None), {})


async def during_a_beat(store, manager, act):
    """Run act() beside a heart that beats."""
    beating = asyncio.create_task(
        errands.beat(
            Notifier(manager.environ), store, lambda: errands.status_line(view_of(), ADDRESS)
        )
    )
    try:
        await act()
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await store.close(0)


def test_a_writer_that_hangs_ends_the_beats_and_one_that_goes_on_brings_them_back(
    tmp_path, manager
):
    store = Store(tmp_path / "wattlog.db", "1", 0)
    hanging, entered = threading.Event(), threading.Event()

    def hang(_):
        entered.set()
        hanging.wait(30)

    async def act():
        for _ in range(3):
            assert "WATCHDOG" in await asyncio.to_thread(manager.next)
        store.transact(hang)
        await asyncio.to_thread(entered.wait)
        manager.drain()
        # At most the one that was on its way; the loop runs meanwhile, and readers answer.
        await asyncio.to_thread(manager.next, 0.1)
        await store.check()
        assert await asyncio.to_thread(manager.next, 0.5) is None
        hanging.set()
        assert "WATCHDOG" in await asyncio.to_thread(manager.next)

    asyncio.run(during_a_beat(store, manager, act))


def test_a_loop_that_hangs_ends_the_beats(tmp_path, manager):
    store = Store(tmp_path / "wattlog.db", "1", 0)

    async def act():
        await asyncio.to_thread(manager.next)
        manager.drain()
        assert manager.next(0.5) is None  # waits in the loop itself
        assert "WATCHDOG" in await asyncio.to_thread(manager.next)

    asyncio.run(during_a_beat(store, manager, act))


def test_the_status_says_what_a_person_would_ask():
    view = view_of()
    assert errands.status_line(view, ADDRESS) == f"page {ADDRESS}; 0 of 0 meters send"
    view.host.store_trouble = "disk is full"
    view.host.broker_trouble = "refused"
    line = f"page {ADDRESS}; 0 of 0 meters send; disk is full; no broker connection: refused"
    assert errands.status_line(view, ADDRESS) == line


def test_the_host_is_ready_when_its_page_answers_and_says_when_it_ends(make_host, manager):
    host = make_host()
    starting = threading.Thread(target=host.start, kwargs={"environ": manager.environ})
    starting.start()
    first = manager.next()
    assert host.get("/healthz")[0] in (200, 503)  # it answers at once, whatever the broker does
    assert first["READY"] == "1"
    assert first["STATUS"].startswith(f"page http://127.0.0.1:{host.http_port}/; ")
    starting.join()
    for _ in range(3):
        manager.wait_for("WATCHDOG")
    ending = threading.Thread(target=host.end)
    ending.start()
    manager.wait_for("STOPPING")
    ending.join()


def test_a_host_that_cannot_start_is_never_ready(make_host, run_host, manager, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/wattlog.db").write_bytes(b"no database" * 100)
    config = make_host().config_path
    done = run_host("--config", config, **manager.environ)
    assert done.returncode == 2, done.stderr
    assert manager.next(0) is None
