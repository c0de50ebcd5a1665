"""Sent copies that a client was promised."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("sent_copies") as table:
        table.add_column(sa.Column("promised_flags", sa.Text(), nullable=True))
