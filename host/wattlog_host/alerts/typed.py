"""Plain data back into the classes they were made of, or not at all: a file may hold anything."""

import types
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

INTEGER_MAX = 1 << 47
"""A time in ms until the year 6429, for clocks are odd at times; nothing kept is negative."""
TEXT_MAX = 10_000


def made_of(hint: Any, data: Any) -> Any:
    """Return data as this type says, by the types of a dataclass's fields; raise ValueError.

    What a field does not name is refused, what is absent has the field's default.
    """
    if is_dataclass(hint) and isinstance(hint, type):
        of = get_type_hints(hint)
        if not isinstance(data, dict) or not data.keys() <= of.keys():
            raise ValueError
        return hint(**{name: made_of(of[name], one) for name, one in data.items()})
    origin, inner = get_origin(hint), get_args(hint)
    if origin is types.UnionType:
        return None if data is None else made_of(inner[0], data)
    if origin in (list, tuple):
        return origin(made_of(inner[0], one) for one in _plain(list, data))
    if origin in (dict, Mapping):
        return {
            _plain(str, key): made_of(inner[1], one) for key, one in _plain(dict, data).items()
        }
    return data if hint is Any else _plain(hint, data)


def _plain(kind: Any, data: Any) -> Any:
    # True is an int for isinstance, and a sum of times with it would be believed.
    if type(data) is not kind:
        raise ValueError
    if kind is int and not 0 <= data <= INTEGER_MAX:
        raise ValueError
    if kind is str and len(data) > TEXT_MAX:
        raise ValueError
    return data
