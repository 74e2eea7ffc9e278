"""Replacement of some rows of a table: equal rows stay untouched, missing rows are deleted."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from psycopg import sql

_INCOMING = sql.Identifier("recsys_assets_incoming")


class KeyedTable(msgspec.Struct, frozen=True):
    """A table: its key columns, which have a unique index, and its other columns."""

    name: str
    keys: tuple[str, ...]
    values: tuple[str, ...]


class ReplaceOutcome(msgspec.Struct, frozen=True):
    """Outcome of a replacement: the numbers of rows written, because they were new or different, and deleted."""

    written: int
    deleted: int


def replace_rows(
    connection: Any, table: KeyedTable, *, scope: Mapping[str, object], rows: Iterable[Sequence[object]]
) -> ReplaceOutcome:
    """Replace the rows of `table` that have the values of `scope` by exactly `rows`, in the current transaction.

    `rows` holds the columns that are not in `scope`, keys first, in the table's order. They are sent by COPY. Equal
    rows are not written, so that a repetition writes nothing.
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
    return ReplaceOutcome(written, deleted)


def _send(connection: Any, table: KeyedTable, sent: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Copy the rows into a temporary table whose columns have the types of the real table."""
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
