"""Statements that are compiled once: the same rows, types and errors as by SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from proxyd.store import prepared
from proxyd.store.database import Database
from proxyd.store.prepared import Prepared
from proxyd.store.tables import facts, sent_copies, suggestions

AT = datetime(2026, 11, 23, 10, 2, 11, 123456, tzinfo=UTC)
SUGGESTION = {
    **{"id": "1", "account": "a", "folder": "INBOX", "uidvalidity": 2**40, "uid": 7, "message_id": "m", "id_hash": "h"},
    **{"author": {"name": "Grace", "address": "grace@customer.example"}, "subject": "", "date": AT, "thread": "t"},
    **{"message": "n", "because": "b", "state": "open", "at": AT + timedelta(days=1)},
}

_COPY = prepared.insert(sent_copies, "id", "account", "state", "accepted_at", "due")
_FACT = prepared.insert(facts, "account", "key", "value")
_FACTS_OF = Prepared(sa.select(facts.c.key, facts.c.value).where(facts.c.account == sa.bindparam("of")))


@pytest.fixture
def connection(tmp_path) -> Iterator[sa.Connection]:
    with Database(tmp_path, bytes(32)).writing() as connection:
        yield connection


def test_types_go_in_and_come_out_as_by_sqlalchemy(connection):
    prepared.insert(suggestions, *SUGGESTION).run(connection, SUGGESTION)
    query = sa.select(suggestions).where(suggestions.c.id == sa.bindparam("of"))
    row = Prepared(query).one(connection, {"of": "1"})
    assert tuple(row) == tuple(connection.execute(query, {"of": "1"}).one())
    assert row.author == SUGGESTION["author"]
    assert row._asdict() == SUGGESTION


def test_what_is_left_out_gets_its_default(connection):
    _COPY.run(connection, {"id": "1", "account": "a", "state": "waiting", "accepted_at": AT, "due": AT})
    row = connection.execute(sa.select(sent_copies)).one()
    assert (row.attempts, row.copies, row.folder) == (0, 0, None)


def test_values_of_the_statement_itself(connection):
    _COPY.run(connection, {"id": "1", "account": "a", "state": "waiting", "accepted_at": AT, "due": AT})
    change = sent_copies.update().where(sent_copies.c.id == sa.bindparam("of"))
    later = AT + timedelta(hours=1)
    Prepared(change.values(due=later, state=sa.bindparam("state"), error=None)).run(
        connection, {"of": "1", "state": "failed"}
    )
    row = connection.execute(sa.select(sent_copies)).one()
    assert (row.due, row.state, row.error) == (later, "failed", None)


def test_rows(connection):
    _FACT.run_each(connection, [{"account": "a", "key": key, "value": key.upper()} for key in ("x", "y")])
    assert [(row.key, row.value) for row in _FACTS_OF.all(connection, {"of": "a"})] == [("x", "X"), ("y", "Y")]
    assert _FACTS_OF.column(connection, {"of": "a"}) == ["x", "y"]
    assert _FACTS_OF.one(connection, {"of": "nobody"}) is None
    assert _FACTS_OF.value(connection, {"of": "nobody"}) is None
    with pytest.raises(sa.exc.MultipleResultsFound):
        _FACTS_OF.value(connection, {"of": "a"})


def test_a_row_that_is_there_already(connection):
    put = prepared.insert(facts, "account", "key", "value", where_missing=True)
    put.run_each(connection, [{"account": "a", "key": key, "value": value} for key, value in ("kx", "ky", "lz")])
    assert [tuple(row) for row in _FACTS_OF.all(connection, {"of": "a"})] == [("k", "x"), ("l", "z")]


def test_a_parameter_that_is_missing_is_an_error(connection):
    with pytest.raises(KeyError):
        _FACTS_OF.all(connection, {})


def test_an_error_is_sqlalchemys_and_says_nothing_of_what_was_to_be_kept(connection):
    row = {"account": "a", "key": "k", "value": "a secret"}
    _FACT.run(connection, row)
    with pytest.raises(sa.exc.IntegrityError) as error:
        _FACT.run(connection, row)
    assert "secret" not in str(error.value)


def test_it_runs_in_the_transaction(tmp_path):
    database = Database(tmp_path, bytes(32))
    row = {"account": "a", "key": "k", "value": "v"}
    with database.reading() as connection:  # has none yet
        _FACT.run(connection, row)
        assert _FACTS_OF.column(connection, {"of": "a"}) == ["k"]
        connection.rollback()
        assert _FACTS_OF.column(connection, {"of": "a"}) == []
