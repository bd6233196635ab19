"""One question asked of many: by PostgreSQL in one round trip, by SQLite one after another.

SQLite is in the process, and answers in microseconds. To PostgreSQL each question is a message to
another process and back, which takes longer than to find the answer; a group of batches asks the
same few questions for each of its logs.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors

FROM_DAY = "from_day"
"""A parameter that the server has to know before it plans: by it whole partitions are left out.

Those that share one are asked together; of a group, that is nearly all.
"""
_NUMBER = "asked_number"


def is_far(connection: sa.Connection) -> bool:
    """Tell whether each question costs a round trip, so that it saves something to ask at once."""
    return connection.dialect.name == "postgresql"


def of_each(
    connection: sa.Connection, query: sa.Select[Any], asked: Sequence[Mapping[str, object]]
) -> list[Sequence[Any]]:
    """Return the rows that a query finds for each of these parameters; to be read by name."""
    if not is_far(connection):
        return [connection.execute(query, one).all() for one in asked]
    found: list[list[Any]] = [[] for _ in asked]
    together: dict[object, list[int]] = {}
    for index, one in enumerate(asked):
        together.setdefault(one.get(FROM_DAY), []).append(index)
    for from_day, indexes in together.items():
        columns: dict[str, object] = {
            name: [asked[index][name] for index in indexes] for name in asked[0]
        }
        if from_day is not None:
            columns[FROM_DAY] = from_day
        for row in connection.execute(_of_all(query), columns):
            found[indexes[row.asked_number - 1]].append(row)
    return found  # type: ignore[return-value]


def one_of_each(
    connection: sa.Connection, query: sa.Select[Any], asked: Sequence[Mapping[str, object]]
) -> Iterator[Any]:
    """Yield the one row that a query always finds for each of these parameters."""
    for rows in of_each(connection, query, asked):
        if len(rows) != 1:
            raise sa.exc.NoResultFound("what was there a moment ago is not there")
        yield rows[0]


@cache
def _of_all(query: sa.Select[Any]) -> sa.Select[Any]:
    """Return a query that takes an array of each other parameter, and tells whose each row is."""
    types: dict[str, Any] = {}

    def replaced(element: Any, **_: Any) -> Any:
        if not isinstance(element, sa.BindParameter) or not element.required:
            return None
        if element.key == FROM_DAY:
            return None
        types[element.key] = element.type
        return sa.literal_column(f"asked.{element.key}", element.type)

    # OFFSET 0 has the server ask for one after another, by index. It might otherwise think that
    # it is better to go through all of a table, and join.
    of_one: Any = visitors.replacement_traverse(query, {}, replaced)
    lateral = of_one.offset(sa.literal_column("0")).lateral("found")
    arrays = [sa.bindparam(name, type_=sa.ARRAY(of)) for name, of in types.items()]
    asked = (
        sa.func.unnest(*arrays)
        .table_valued(*types, with_ordinality=_NUMBER)
        .render_derived(name="asked")
    )
    return sa.select(asked.c[_NUMBER], *lateral.c).select_from(asked.join(lateral, sa.true()))
