"""The full-text index, and in it what is logged already."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "indexed",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("message", sa.String(length=26), nullable=False),
        sa.Column("attachments", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["message"], ["messages.id"], name=op.f("fk_indexed_message"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_indexed")),
        sa.UniqueConstraint("message", name=op.f("uq_indexed_message")),
    )
    op.execute(
        "CREATE VIRTUAL TABLE search_index USING fts5(subject, body, sender, recipients, files, content='',"
        " contentless_delete=1, tokenize=\"unicode61 remove_diacritics 2\", prefix='2 3')"
    )
    # However a message goes, its words go with it.
    op.execute(
        "CREATE TRIGGER tr_indexed_deleted AFTER DELETE ON indexed BEGIN"
        " DELETE FROM search_index WHERE rowid = old.id; END"
    )
    _index_what_is_there(op.get_bind())


def _index_what_is_there(connection: sa.Connection) -> None:
    taken: set[int] = set()
    ids = connection.exec_driver_sql("SELECT id FROM messages WHERE body IS NOT NULL ORDER BY date").scalars().all()
    for id in ids:
        query = "SELECT date, heading, subject, body FROM messages WHERE id = ?"
        date, heading, subject, body = connection.exec_driver_sql(query, (id,)).one()
        people, said = json.loads(heading), json.loads(body)
        if said is None:
            continue
        while date in taken:
            date += 1
        taken.add(date)
        files = [each["name"] for each in said["attachments"] if not each["inline"]]
        recipients = [*people["to"], *people["cc"], *people["bcc"]]
        texts = (subject, said["text"], _people([people["from"]]), _people(recipients), "\n".join(files))
        connection.exec_driver_sql("INSERT INTO indexed VALUES (?, ?, ?)", (date, id, len(files)))
        connection.exec_driver_sql(
            "INSERT INTO search_index(rowid, subject, body, sender, recipients, files) VALUES (?, ?, ?, ?, ?, ?)",
            (date, *texts),
        )


def _people(people: list[dict[str, str]]) -> str:
    return "\n".join(f"{each['name']} {each['address']}" for each in people)
