"""Looks that are due for answers which were read before what they answer was on record; when a folder was read."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "late_looks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("message", sa.String(26), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["message"], ["messages.id"], name=op.f("fk_late_looks_message"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_late_looks")),
    )
    op.create_index("ix_late_looks_account", "late_looks", ["account"])
    op.add_column("positions", sa.Column("read_at", sa.BigInteger(), nullable=True))
