"""The first tables."""

import sqlalchemy as sa
from alembic import op

from proxyd.store.tables import Instant

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "chunks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=26), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunks")),
        sa.UniqueConstraint("owner", "seq", name=op.f("uq_chunks_owner_seq")),
    )
    op.create_table(
        "contacts",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("company", sa.String(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_contacts")),
    )
    op.create_table(
        "dropbox_copies",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("due", Instant(), nullable=True),
        sa.Column("trying_since", Instant(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dropbox_copies")),
    )
    op.create_index("ix_dropbox_copies_state", "dropbox_copies", ["state"], unique=False)
    op.create_table(
        "facts",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "key", name=op.f("pk_facts")),
    )
    op.create_table(
        "hashed_ids",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("id_hash", sa.String(), nullable=False),
        sa.Column("owner", sa.String(length=26), nullable=False),
        sa.PrimaryKeyConstraint("account", "id_hash", "owner", name=op.f("pk_hashed_ids")),
    )
    op.create_index("ix_hashed_ids_owner", "hashed_ids", ["owner"], unique=False)
    op.create_table(
        "messages",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("thread", sa.String(length=26), nullable=False),
        sa.Column("in_reply_to", sa.String(), nullable=True),
        sa.Column("date", Instant(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("heading", sa.JSON(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("contacts", sa.JSON(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("submission", sa.String(length=26), nullable=True),
        sa.Column("content", sa.String(length=26), nullable=False),
        sa.Column("body", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint("account", "message_id", name=op.f("uq_messages_account_message_id")),
    )
    op.create_index("ix_messages_date", "messages", ["date"], unique=False)
    op.create_index("ix_messages_submission", "messages", ["submission"], unique=False)
    op.create_index("ix_messages_thread", "messages", ["thread"], unique=False)
    op.create_table(
        "positions",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("uidvalidity", sa.BigInteger(), nullable=False),
        sa.Column("uidnext", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("account", "folder", name=op.f("pk_positions")),
    )
    op.create_table(
        "sent_copies",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("accepted_at", Instant(), nullable=False),
        sa.Column("due", Instant(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("appending_since", Instant(), nullable=True),
        sa.Column("folder", sa.String(), nullable=True),
        sa.Column("uidvalidity", sa.BigInteger(), nullable=True),
        sa.Column("uid", sa.BigInteger(), nullable=True),
        sa.Column("appended_uid", sa.BigInteger(), nullable=True),
        sa.Column("by", sa.String(), nullable=True),
        sa.Column("copies", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sent_copies")),
    )
    op.create_index("ix_sent_copies_account_state", "sent_copies", ["account", "state"], unique=False)
    op.create_table(
        "steps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=26), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_steps")),
    )
    op.create_index("ix_steps_owner", "steps", ["owner"], unique=False)
    op.create_table(
        "submissions",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=True),
        sa.Column("message_id", sa.String(), nullable=True),
        sa.Column("copy_fingerprint", sa.String(), nullable=True),
        sa.Column("envelope", sa.JSON(), nullable=True),
        sa.Column("tracked", sa.Boolean(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("begun_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("reply_code", sa.Integer(), nullable=True),
        sa.Column("reply_text", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("told_code", sa.Integer(), nullable=True),
        sa.Column("looked_at", Instant(), nullable=True),
        sa.Column("emptied", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
    )
    op.create_index("ix_submissions_account_fingerprint", "submissions", ["account", "fingerprint"], unique=False)
    op.create_index("ix_submissions_state", "submissions", ["state"], unique=False)
    op.create_table(
        "crm_entries",
        sa.Column("message", sa.String(length=26), nullable=False),
        sa.Column("crm", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("remote_id", sa.String(), nullable=True),
        sa.Column("due", Instant(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["message"], ["messages.id"], name=op.f("fk_crm_entries_message"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("message", "crm", name=op.f("pk_crm_entries")),
    )
    op.create_table(
        "message_ids",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("message", sa.String(length=26), nullable=False),
        sa.ForeignKeyConstraint(["message"], ["messages.id"], name=op.f("fk_message_ids_message"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account", "message_id", name=op.f("pk_message_ids")),
    )
    op.create_index("ix_message_ids_message", "message_ids", ["message"], unique=False)
    op.create_table(
        "participants",
        sa.Column("message", sa.String(length=26), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["message"], ["messages.id"], name=op.f("fk_participants_message"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("message", "key", name=op.f("pk_participants")),
    )
    op.create_index("ix_participants_key", "participants", ["key"], unique=False)
