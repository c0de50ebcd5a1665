"""Message-IDs by their normal form: what is stored, and what was stored before there was one."""

from __future__ import annotations

import sqlalchemy as sa

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
