"""The document of the API, made from the tables that also answer (questions.py, api.py)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from wattlog_host.web import schemas
from wattlog_host.web.asking import Parameter, schema_of

JSON = "application/json"
VERSION = "3.1.0"


class Described(NamedTuple):
    """One address as the document shows it: the media type of the answer, other statuses."""

    path: str
    about: str
    parameters: Sequence[Parameter]
    schema: Mapping[str, Any]
    media: str = JSON
    statuses: Sequence[int] = ()


_STATUSES = {
    304: "nothing changed since the answer with this ETag",
    400: "a parameter is wrong; error says which, and what would be right",
    404: "there is no such meter or channel, or nothing to tell yet",
    503: "the database cannot be used now, or too much is asked at once (Retry-After)",
}


def document(routes: Iterable[Described], version: str) -> dict[str, Any]:
    """Return the OpenAPI document."""
    return {
        "openapi": VERSION,
        "info": {
            "title": "wattlog",
            "version": version,
            "description": "What a house's meters have read. For reading only. Times in answers "
            "are ms since 1970 UTC; calendars are the house's; what is unknown is null.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {route.path: {"get": _operation(route)} for route in routes},
        "components": {"schemas": {"Error": schemas.ERROR}},
    }


def _operation(route: Described) -> dict[str, Any]:
    error = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses: dict[str, Any] = {
        "200": {"description": "the answer", "content": {route.media: {"schema": route.schema}}}
    }
    for status in route.statuses:
        responses[str(status)] = {"description": _STATUSES[status]}
        if status != 304:
            responses[str(status)]["content"] = error
    return {
        "operationId": route.path.strip("/").replace("/", "_").replace(".", "_"),
        "summary": route.about,
        "parameters": [schema_of(parameter) for parameter in route.parameters],
        "responses": responses,
    }
