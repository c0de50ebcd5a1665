"""The key of one mail in the logs of several accounts, and finding answers that were logged before what they answer."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("messages") as table:
        table.add_column(sa.Column("mail", sa.String(length=26), nullable=False, server_default=""))
    op.execute("UPDATE messages SET mail = id")
    op.create_index("ix_messages_mail", "messages", ["mail"])
    op.create_index("ix_messages_account_in_reply_to", "messages", ["account", "in_reply_to"])
    op.create_index("ix_message_ids_message_id", "message_ids", ["message_id"])
