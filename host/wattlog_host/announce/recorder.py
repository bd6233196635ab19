"""Home Assistant's statistics over its WebSocket, as far as hours that it missed need them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidURI, WebSocketException

from wattlog_host.announce.missed import Row

MESSAGE_BYTES_MAX = 32 * 2**20
"""A house with some ten thousand entities lists them in less."""
ANSWER_S_MAX = 60
UNIT = "kWh"
# From this version on, metadata say what kind of mean there is, and what class the unit is of.
_NEW_METADATA = (2025, 11)


class RecorderError(Exception):
    """Home Assistant could not be asked; str() is one line without the token."""


class _Straight(connect):
    """Follows no redirect: the token is for whoever is named, and nobody else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Recorder:
    """A connection that was let in."""

    def __init__(self, socket: ClientConnection, version: str) -> None:
        """Take the connection, and Home Assistant's version."""
        self._socket = socket
        self._version = version
        self._asked = 0

    async def entities(self) -> dict[str, str]:
        """Return the entity ids of what MQTT announced, by unique id."""
        found = await self._ask("config/entity_registry/list")
        return {one["unique_id"]: one["entity_id"] for one in found if one["platform"] == "mqtt"}

    async def units(self, entities: Sequence[str]) -> dict[str, str | None]:
        """Return the unit in which each statistic is kept; those that have none are absent."""
        found = await self._ask("recorder/get_statistics_metadata", statistic_ids=list(entities))
        return {one["statistic_id"]: one["statistics_unit_of_measurement"] for one in found}

    async def rows(self, entity: str, start_ms: int) -> list[Row]:
        """Return the hours of a statistic since then, rising, as far as they have both numbers."""
        found = await self._ask(
            "recorder/statistics_during_period",
            start_time=_iso(start_ms),
            statistic_ids=[entity],
            period="hour",
            types=["state", "sum"],
            units={"energy": UNIT},
        )
        return [
            Row(int(one["start"]), float(one["state"]), float(one["sum"]))
            for one in found.get(entity, ())
            if one.get("state") is not None and one.get("sum") is not None
        ]

    async def tell(self, entity: str, rows: Iterable[Row]) -> None:
        """Have it keep these hours."""
        metadata: dict[str, Any] = {
            "has_sum": True,
            "name": None,
            "source": "recorder",
            "statistic_id": entity,
            "unit_of_measurement": UNIT,
        }
        metadata |= (
            {"mean_type": 0, "unit_class": "energy"}
            if _year_month(self._version) >= _NEW_METADATA
            else {"has_mean": False}
        )
        stats = [{"start": _iso(row.start_ms), "state": row.state, "sum": row.sum} for row in rows]
        await self._ask("recorder/import_statistics", metadata=metadata, stats=stats)

    async def _ask(self, kind: str, **more: Any) -> Any:
        self._asked += 1
        await _send(self._socket, {"id": self._asked, "type": kind, **more})
        answer = await _receive(self._socket)
        if answer.get("id") != self._asked or answer.get("success") is not True:
            error = answer.get("error")
            code = error.get("code") if isinstance(error, Mapping) else None
            raise RecorderError(f"{kind} is refused: {str(code)[:40]}")
        return answer.get("result")


@asynccontextmanager
async def recorder_at(url: str, token: str) -> AsyncIterator[Recorder]:
    """Connect, show the token, and give what can be asked; raise RecorderError.

    url is like https://host:8123.
    """
    address = f"ws{url.removeprefix('http')}/api/websocket"
    try:
        async with (
            asyncio.timeout(ANSWER_S_MAX),
            _Straight(address, proxy=None, max_size=MESSAGE_BYTES_MAX) as socket,
        ):
            version = str((await _receive(socket)).get("ha_version"))
            await _send(socket, {"type": "auth", "access_token": token})
            if (await _receive(socket)).get("type") != "auth_ok":
                raise RecorderError("the token of announce.backfill_token_file is refused")
            yield Recorder(socket, version)
    except TimeoutError as err:
        raise RecorderError(f"{url} did not answer within {ANSWER_S_MAX} s") from err
    except (OSError, WebSocketException, InvalidURI) as err:
        raise RecorderError(f"{url} cannot be reached: {type(err).__name__}") from err
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise RecorderError(f"{url} answers what Home Assistant does not") from err


async def _send(socket: ClientConnection, message: Mapping[str, Any]) -> None:
    await socket.send(json.dumps(message))


async def _receive(socket: ClientConnection) -> dict[str, Any]:
    found = json.loads(await socket.recv())
    if not isinstance(found, dict):
        raise TypeError(found)
    return found


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()


def _year_month(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
