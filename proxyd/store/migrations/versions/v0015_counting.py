"""Who takes part in which mail of which account stands in one index: messages are counted without reading any."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("participants", sa.Column("account", sa.String(), server_default="", nullable=False))
    op.add_column("participants", sa.Column("mail", sa.String(length=26), server_default="", nullable=False))
    op.execute(
        "UPDATE participants SET (account, mail) ="
        " (SELECT m.account, m.mail FROM messages m WHERE m.id = participants.message)"
    )
    op.drop_index("ix_participants_key", "participants")
    op.create_index("ix_participants_key", "participants", ["key", "tag", "account", "mail", "message"])
