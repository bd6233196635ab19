"""Moves the time of a Home Assistant that start.py started: POST /api/clock {"now": EPOCH_S}.

Its answer comes when all is done that was due until then, and written: Home Assistant's own timers
fire, by their own rules, as if the time had passed.
"""

import asyncio
import heapq

import time_machine
from homeassistant.components.http import HomeAssistantView
from homeassistant.components.recorder import get_instance
from homeassistant.components.recorder.tasks import SynchronizeTask
from homeassistant.util import dt as dt_util

SETTLE_TURNS = 3


async def async_setup(hass, config):
    """Offer the view."""
    hass.http.register_view(ClockView)
    return True


class ClockView(HomeAssistantView):
    """The clock's only hand."""

    url = "/api/clock"
    name = "api:clock"

    async def post(self, request):
        """Move on to the given time."""
        hass = request.app["hass"]
        now_s = (await request.json())["now"]
        _pass(hass.loop, now_s - dt_util.utcnow().timestamp())
        time_machine.coordinates_stack[-1].move_to(now_s)
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)
            await hass.async_block_till_done()
        # Its own way of waiting passes over the task that it is at just now.
        written = asyncio.Event()
        get_instance(hass).queue_task(SynchronizeTask(written))
        await written.wait()
        return self.json({})


def _pass(loop, passed_s):
    """Bring Home Assistant's timers nearer; those of the network stay."""
    for handle in loop._scheduled:
        if not handle.cancelled() and _is_homeassistants(handle._callback):
            handle._when -= passed_s
    heapq.heapify(loop._scheduled)


def _is_homeassistants(callback):
    return (getattr(callback, "__module__", None) or "").startswith("homeassistant.helpers.")
