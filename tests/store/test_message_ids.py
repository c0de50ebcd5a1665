"""Message-IDs by their normal form: what is stored, and what was stored before there was one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from proxyd.store import timeline
from proxyd.store.tables import message_ids, messages, metadata
from tests.store.test_search import upgrade


def test_ids_that_were_stored_as_they_were_written_are_found_after_the_migration() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        upgrade(connection, "0004")
        for message, account, id in (
            ("01A", "ada@x", "A@Example.COM"),
            ("01B", "ada@x", "b@example.com"),
            ("01C", "ada@x", "A@example.com"),
            ("01D", "mary@x", "A@Example.COM"),
            ("01E", "ada@x", "0102@eu-west-1.amazonses.com"),
        ):
            connection.execute(
                sa.text("INSERT INTO message_ids (account, message_id, message) VALUES (:account, :id, :message)"),
                {"account": account, "id": id, "message": message},
            )
        upgrade(connection, "0005")
        rows = connection.execute(sa.text("SELECT account, message_id, message, written FROM message_ids")).all()
        assert sorted(tuple(row) for row in rows) == [
            ("ada@x", "0102@amazonses.com", "01E", "0102@eu-west-1.amazonses.com"),
            ("ada@x", "A@example.com", "01C", None),
            ("ada@x", "b@example.com", "01B", None),
            ("mary@x", "A@example.com", "01D", "A@Example.COM"),
        ]


@pytest.mark.parametrize("asked", [3, timeline.MANY, 50 * timeline.MANY], ids=["a few", "many", "a mailbox's worth"])
def test_known_however_many_are_asked_for(asked: int) -> None:
    """One by one, by one statement, or by reading all that the account has: the same answer."""
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        columns = [column for column in messages.c if not column.nullable and column.default is None]
        row = {column.name: {} if isinstance(column.type, sa.JSON) else "" for column in columns}
        row |= {"date": datetime.now(UTC), "at": datetime.now(UTC), "state": "received"}
        for n in range(40):
            connection.execute(messages.insert(), row | {"id": f"{n}", "account": "ada@x", "message_id": f"m{n}@x"})
            ids = {"account": "ada@x", "message_id": f"m{n}@x", "message": f"{n}"}
            connection.execute(message_ids.insert(), ids)
        ids = [*(f"other{n}@x" for n in range(asked)), "m7@X", "m7@x", "M8@x"]
        found = timeline.known(connection, "ada@x", ids)
        assert {id: each.message for id, each in found.items()} == {"m7@X": "7", "m7@x": "7"}
        assert timeline.known(connection, "mary@x", ids) == {}
