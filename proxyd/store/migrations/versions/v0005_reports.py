"""What reports say of sent mail, who answers in a thread, and Message-IDs by their normal form."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    with op.batch_alter_table("messages") as table:
        table.add_column(sa.Column("notice", sa.String(), nullable=True))
        table.add_column(sa.Column("participant", sa.String(), nullable=True))
    op.create_table(
        "deliveries",
        sa.Column("message", sa.String(26), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("report", sa.String(26), nullable=False),
        sa.ForeignKeyConstraint(["message"], ["messages.id"], name=op.f("fk_deliveries_message"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("message", "key", name=op.f("pk_deliveries")),
    )
    with op.batch_alter_table("message_ids") as table:
        table.add_column(sa.Column("written", sa.String(), nullable=True))
    _normalise()


def _normalise() -> None:
    """The domain of an id in lower case. One that is there in both spellings stays with the message it has."""
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT account, message_id FROM message_ids")).all()
    there = {(row.account, row.message_id) for row in rows}
    for account, written in sorted(there):
        key = _key(written)
        if key == written:
            continue
        where = {"account": account, "written": written}
        if (account, key) in there:
            connection.execute(
                sa.text("DELETE FROM message_ids WHERE account = :account AND message_id = :written"), where
            )
            continue
        there.add((account, key))
        connection.execute(
            sa.text(
                "UPDATE message_ids SET message_id = :key, written = :written"
                " WHERE account = :account AND message_id = :written"
            ),
            where | {"key": key},
        )


def _key(message_id: str) -> str:
    left, at, right = message_id.rpartition("@")
    right = right.lower()
    return f"{left}{at}{'amazonses.com' if right.endswith('.amazonses.com') else right}" if at else message_id
