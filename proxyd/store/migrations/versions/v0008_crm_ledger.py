"""What each CRM has of a message, step by step; what it is to erase."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    with op.batch_alter_table("crm_entries") as table:
        table.add_column(sa.Column("trying", sa.String(), nullable=True))
        table.add_column(sa.Column("trying_since", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("told", sa.String(), nullable=True))
        table.create_index("ix_crm_entries_crm_state_due", ["crm", "state", "due"])
    op.create_table(
        "crm_attachments",
        sa.Column("message", sa.String(26), nullable=False),
        sa.Column("crm", sa.String(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("remote_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("message", "crm", "n", name="pk_crm_attachments"),
        sa.ForeignKeyConstraint(["message"], ["messages.id"], name="fk_crm_attachments_message", ondelete="CASCADE"),
    )
    op.create_table(
        "crm_erasures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("crm", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("remote_ids", sa.JSON(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_crm_erasures"),
    )
