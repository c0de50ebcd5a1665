"""Statements that every mail needs: compiled once, run by the driver itself.

Why this way: SQLAlchemy looks each statement up in its cache, builds a context and a result around it; that costs five
times what SQLite needs for the small ones of a mail's way, and the person's client waits for a dozen of them. Tables
and statements stay SQLAlchemy's, types and dialect included; what is spared is only what it does anew at each call.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite


def insert(table: sa.Table, *columns: str, where_missing: bool = False) -> Prepared:
    """A row of these columns; the others get their default, or NULL. `where_missing`: unless it is there already."""
    statement = sqlite.insert(table).values({name: sa.bindparam(name) for name in columns})
    return Prepared(statement.on_conflict_do_nothing() if where_missing else statement)


class Prepared:
    """A statement with named parameters. It runs in the connection's transaction, as `Connection.execute` would, and
    raises what that raises. Every parameter is one value: lists (`IN`) are not for this."""

    def __init__(self, statement: sa.Select[Any] | sa.Insert | sa.Update | sa.Delete) -> None:
        self._statement = statement
        self._ready: _Ready | None = None

    def run(self, connection: sa.Connection, values: Mapping[str, Any]) -> None:
        self._run(connection, values).close()

    def run_each(self, connection: sa.Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        for values in rows:
            self._run(connection, values).close()

    def all(self, connection: sa.Connection, values: Mapping[str, Any]) -> list[Any]:
        """The rows, as named tuples."""
        ready = self._prepared(connection)
        return [ready.row(each) for each in self._run(connection, values).fetchall()]

    def one(self, connection: sa.Connection, values: Mapping[str, Any]) -> Any | None:
        """The one row, or None."""
        rows = self.all(connection, values)
        if len(rows) > 1:
            raise sa.exc.MultipleResultsFound("one row was expected")
        return rows[0] if rows else None

    def column(self, connection: sa.Connection, values: Mapping[str, Any]) -> list[Any]:
        """The first column of all rows."""
        return [row[0] for row in self.all(connection, values)]

    def value(self, connection: sa.Connection, values: Mapping[str, Any]) -> Any | None:
        """The first column of the one row; None where there is no row."""
        row = self.one(connection, values)
        return None if row is None else row[0]

    def _prepared(self, connection: sa.Connection) -> _Ready:
        if self._ready is None:
            self._ready = _Ready(self._statement, connection.dialect)
        return self._ready

    def _run(self, connection: sa.Connection, values: Mapping[str, Any]) -> Any:
        ready = self._ready or self._prepared(connection)
        if not connection.in_transaction():
            connection.begin()
        raw: Any = connection.connection.driver_connection
        parameters = ready.parameters(values)
        try:
            return raw.execute(ready.sql, parameters)
        except ready.error as error:
            raise sa.exc.DBAPIError.instance(
                ready.sql, None, error, ready.error, hide_parameters=True, dialect=connection.dialect
            ) from error


class _Ready:
    """The text for one dialect, and how values get in and out."""

    def __init__(self, statement: Any, dialect: sa.Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self.sql: str = compiled.string
        self.error: type[Exception] = dialect.loaded_dbapi.Error
        fixed = {name: value for name, value in compiled.params.items() if not compiled.binds[name].required}
        fixed |= {column.key: column.default.arg for column in compiled.insert_prefetch}
        self._in = [
            _Value(name, _to_database(compiled.binds[name].type, dialect), fixed) for name in compiled.positiontup
        ]
        columns = statement.selected_columns if isinstance(statement, sa.Select) else ()
        self._out = [each.type.dialect_impl(dialect).result_processor(dialect, None) for each in columns]
        self._changed = any(self._out)
        shape: Any = namedtuple  # whose fields a type checker wants to read in the source
        self._row = shape("Row", [each.name for each in columns], rename=True)._make

    def parameters(self, values: Mapping[str, Any]) -> list[Any]:
        return [each.fixed if each.is_fixed else each.of(values[each.name]) for each in self._in]

    def row(self, raw: tuple[Any, ...]) -> Any:
        if self._changed:
            raw = tuple(each if to is None else to(each) for to, each in zip(self._out, raw, strict=True))
        return self._row(raw)


class _Value:
    """One place in the statement."""

    __slots__ = ("fixed", "is_fixed", "name", "of")

    def __init__(self, name: str, of: Callable[[Any], Any], fixed: Mapping[str, Any]) -> None:
        self.name = name
        self.of = of
        self.is_fixed = name in fixed
        self.fixed = of(fixed[name]) if self.is_fixed else None


def _to_database(type: Any, dialect: sa.Dialect) -> Callable[[Any], Any]:
    return type.dialect_impl(dialect).bind_processor(dialect) or _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
