"""Some rows of a table replaced by others, so that what is equal is not touched and what vanished is gone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

_INCOMING = sql.Identifier("recsys_assets_incoming")


@dataclass(frozen=True, slots=True)
class KeyedTable:
    """A table: the columns that distinguish a row from all others (with a unique index on them), and the others."""

    name: str
    keys: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Replaced:
    """How many rows were written, because they were new or different, and how many were deleted."""

    written: int
    deleted: int


def replace_rows(
    connection: Any, table: KeyedTable, *, scope: Mapping[str, object], rows: Iterable[Sequence[object]]
) -> Replaced:
    """Make the rows of `table` that have the values of `scope` exactly `rows`, in the transaction under way.

    `rows` holds the columns that are not in `scope`, in the table's order; they are sent by COPY. Equal rows stay as
    they are, so that doing it again writes nothing.
    """
    columns = [*table.keys, *table.values]
    sent = [column for column in columns if column not in scope]
    _send(connection, table, sent, rows)
    within = sql.SQL(" AND ").join(_equals(column, sql.Literal(value)) for column, value in scope.items())
    same = sql.SQL(" AND ").join(_equals(key, _of_incoming(key)) for key in table.keys if key in sent)
    deleted = connection.execute(
        sql.SQL(
            "DELETE FROM {table} AS t WHERE {within} AND NOT EXISTS (SELECT 1 FROM {incoming} AS i WHERE {same})"
        ).format(table=sql.Identifier(table.name), incoming=_INCOMING, within=within, same=same)
    ).rowcount
    written = connection.execute(_upsert(table, columns, scope)).rowcount
    connection.execute(sql.SQL("DROP TABLE {}").format(_INCOMING))
    return Replaced(written, deleted)


def _send(connection: Any, table: KeyedTable, sent: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Put the rows into a table of this session, whose columns have the types of the real one's."""
    names = sql.SQL(", ").join(map(sql.Identifier, sent))
    connection.execute(
        sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
            _INCOMING, names, sql.Identifier(table.name)
        )
    )
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(_INCOMING, names)) as copy,
    ):
        for row in rows:
            copy.write_row(row)


def _upsert(table: KeyedTable, columns: Sequence[str], scope: Mapping[str, object]) -> sql.Composed:
    selected = [sql.Literal(scope[column]) if column in scope else _of_incoming(column) for column in columns]
    changed = sql.SQL(" OR ").join(
        sql.SQL("t.{0} IS DISTINCT FROM excluded.{0}").format(sql.Identifier(value)) for value in table.values
    )
    return sql.SQL(
        "INSERT INTO {table} AS t ({columns}) SELECT {selected} FROM {incoming} AS i "
        "ON CONFLICT ({keys}) DO UPDATE SET {set} WHERE {changed}"
    ).format(
        table=sql.Identifier(table.name),
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        selected=sql.SQL(", ").join(selected),
        incoming=_INCOMING,
        keys=sql.SQL(", ").join(map(sql.Identifier, table.keys)),
        set=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(v)) for v in table.values),
        changed=changed,
    )


def _equals(column: str, value: sql.Composable) -> sql.Composed:
    return sql.SQL("t.{} = {}").format(sql.Identifier(column), value)


def _of_incoming(column: str) -> sql.Composed:
    return sql.SQL("i.{}").format(sql.Identifier(column))
