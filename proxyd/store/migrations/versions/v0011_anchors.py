"""The newest messages that were read in a folder, to know it by."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    with op.batch_alter_table("positions") as table:
        table.add_column(sa.Column("anchors", sa.JSON(), nullable=True))
