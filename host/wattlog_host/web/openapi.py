"""The document of the API, made from the tables that also answer (questions.py, api.py)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from wattlog_host.web import schemas
from wattlog_host.web.asking import Parameter, schema_of

JSON = "application/json"
VERSION = "3.1.0"


class Described(NamedTuple):
    """One address as the document shows it: the media type of the answer, other statuses.

    body       the form of what is sent, None for nothing; then it is a POST
    is_closed  whether it wants a right that reading does not give
    """

    path: str
    about: str
    parameters: Sequence[Parameter]
    schema: Mapping[str, Any]
    media: str = JSON
    statuses: Sequence[int] = ()
    body: Mapping[str, Any] | None = None
    is_closed: bool = False


_STATUSES = {
    304: "nothing changed since the answer with this ETag",
    400: "a parameter is wrong; error says which, and what would be right",
    401: "the page has a password: log in, or send a token",
    403: "this is switched off here, or comes from the page of another site",
    404: "there is no such meter, device or channel, nothing to tell yet, or it is switched off",
    408: "what was sent took too long",
    413: "what was sent is too long",
    415: "what was sent is not application/json",
    422: "the device, or its configuration here, does not allow it",
    429: "too many wrong tokens (Retry-After)",
    502: "the cloud does not answer, or refuses",
    503: "the database cannot be used now, or too much is asked at once (Retry-After)",
}
# Of any address: a host with a password asks for it everywhere, but guests may be let in.
_ALWAYS = (401,)
_TOKEN = "token"


def document(routes: Iterable[Described], version: str) -> dict[str, Any]:
    """Return the OpenAPI document."""
    return {
        "openapi": VERSION,
        "info": {
            "title": "wattlog",
            "version": version,
            "description": "What a house's meters have read; only settings of inverters can be "
            "changed. Times in answers are ms since 1970 UTC, or ISO-8601 with offset; calendars "
            "are the house's; what is unknown is null.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{}, {_TOKEN: []}],
        "paths": _paths(routes),
        "components": {
            "schemas": {"Error": schemas.ERROR},
            "securitySchemes": {
                _TOKEN: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "where the page has a password: `wattlog-host token add NAME`",
                }
            },
        },
    }


def _paths(routes: Iterable[Described]) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        method = "get" if route.body is None else "post"
        paths.setdefault(route.path, {})[method] = _operation(route)
    return paths


def _operation(route: Described) -> dict[str, Any]:
    error = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses: dict[str, Any] = {
        "200": {"description": "the answer", "content": {route.media: {"schema": route.schema}}}
    }
    for status in sorted({*route.statuses, *_ALWAYS}):
        responses[str(status)] = {"description": _STATUSES[status]}
        if status != 304:
            responses[str(status)]["content"] = error
    name = route.path.strip("/").replace("/", "_").replace(".", "_")
    made: dict[str, Any] = {
        "operationId": name if route.body is None else f"change_{name}",
        "summary": route.about,
        "parameters": [schema_of(parameter) for parameter in route.parameters],
        "responses": responses,
    }
    if route.body is not None:
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": route.body}}}
    if route.is_closed:
        made["security"] = [{_TOKEN: []}]
    return made
