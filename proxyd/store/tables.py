"""The tables of our records, and the unique keys that answer "was this recorded before?".

One id, a ULID, names a submission and the logged message that comes of it, and owns the message's octets in `chunks`.
A submission of an untracked message is emptied once its Sent copy is verified: what stays is the keyed hash of its
Message-ID (`hashed_ids`), the reason and the bare steps.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, kept as microseconds since 1970: sorts, compares and reads the same in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        return None if value is None else _EPOCH + value * _MICROSECOND


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

submissions = Table(
    "submissions",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("account", String, nullable=False),
    Column("state", String, nullable=False),  # model.State
    Column("fingerprint", String),  # keyed hash of octets and envelope: the same mail sent again
    Column("message_id", String),
    Column("copy_fingerprint", String),  # formats.message.copy_fingerprint of the filed header
    Column("envelope", JSON),  # as it goes upstream
    Column("tracked", Boolean, nullable=False),
    Column("because", Text, nullable=False),
    Column("begun_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("reply_code", Integer),
    Column("reply_text", Text),  # the provider's lines, joined by LF
    Column("why", Text),  # where there is no reply
    Column("told_code", Integer),  # what the client heard, on a connection that still stood
    Column("looked_at", Instant),  # an unknown outcome was last looked for, and not found
    Column("emptied", Boolean, nullable=False, default=False),
    Index("ix_submissions_account_fingerprint", "account", "fingerprint"),
    Index("ix_submissions_state", "state"),
)

hashed_ids = Table(
    "hashed_ids",
    metadata,
    Column("account", String, primary_key=True),
    Column("id_hash", String, primary_key=True),
    Column("owner", String(26), primary_key=True),  # a submission or a message
    Index("ix_hashed_ids_owner", "owner"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("account", String, nullable=False),
    Column("message_id", String, nullable=False),
    Column("direction", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),
    Column("source", String, nullable=False),
    Column("thread", String(26), nullable=False),
    Column("in_reply_to", String),
    Column("date", Instant, nullable=False),
    Column("at", Instant, nullable=False),  # when it was recorded
    Column("heading", JSON, nullable=False),  # from, to, cc, bcc
    Column("subject", Text, nullable=False),
    Column("contacts", JSON, nullable=False),
    Column("because", Text, nullable=False),
    Column("submission", String(26)),  # the newest submission of it, where it went through us
    Column("content", String(26), nullable=False),  # owner of its octets in chunks
    Column("body", JSON),  # model.Body; null until it was read
    Column("expired", String),  # store.retention: attachments | bodies; null where everything is kept
    Column("mail", String(26), nullable=False, server_default=""),  # the same in every account's record of one mail
    Column("notice", String),  # rules.notices: what a machine's message says; null of a person's
    Column("participant", String),  # of an answer: known | unknown = its author was in none of the thread's messages
    UniqueConstraint("account", "message_id"),
    Index("ix_messages_account_in_reply_to", "account", "in_reply_to"),
    Index("ix_messages_mail", "mail"),
    Index("ix_messages_date", "date"),
    Index("ix_messages_thread", "thread"),
    Index("ix_messages_submission", "submission"),
)

message_ids = Table(
    "message_ids",
    metadata,
    Column("account", String, primary_key=True),
    Column("message_id", String, primary_key=True),  # rules.threads.id_key of it
    Column("message", String(26), ForeignKey("messages.id", ondelete="CASCADE"), nullable=False),
    Column("written", String),  # as it was written, where that is not its key
    Index("ix_message_ids_message", "message"),
    Index("ix_message_ids_message_id", "message_id"),
)

participants = Table(
    "participants",
    metadata,
    Column("message", String(26), ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String, primary_key=True),  # formats.message.mailbox_key
    Column("tag", Boolean, nullable=False, server_default="0"),  # the key without its tag of one that has one
    # Of the message, for counting without reading any: its account, and the key of its mail.
    Column("account", String, nullable=False, server_default=""),
    Column("mail", String(26), nullable=False, server_default=""),
    Index("ix_participants_key", "key", "tag", "account", "mail", "message"),
)

# Looks that are due: what was read before may answer this message, which was not on record then (or not by that name).
late_looks = Table(
    "late_looks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account", String, nullable=False),
    Column("message", String(26), ForeignKey("messages.id", ondelete="CASCADE"), nullable=False),
    Column("since", Instant, nullable=False),  # what came before is no answer to it
    Index("ix_late_looks_account", "account"),
)

# When somebody was last in a message of an account; of everybody, also who is no contact (yet).
last_words = Table(
    "last_words",
    metadata,
    Column("key", String, primary_key=True),
    Column("tag", Boolean, primary_key=True),
    Column("account", String, primary_key=True),
    Column("date", Instant, nullable=False),
    Index("ix_last_words_date", "date"),
)

suggestions = Table(
    "suggestions",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("account", String, nullable=False),
    Column("folder", String, nullable=False),
    Column("uidvalidity", BigInteger, nullable=False),
    Column("uid", BigInteger, nullable=False),
    Column("message_id", String, nullable=False),
    Column("id_hash", String, nullable=False),
    Column("author", JSON, nullable=False),
    Column("subject", Text, nullable=False),
    Column("date", Instant, nullable=False),
    Column("thread", String(26), nullable=False),
    Column("message", String(26), nullable=False),  # the newest of that thread
    Column("because", Text, nullable=False),
    Column("state", String, nullable=False),  # open | accepted
    Column("at", Instant, nullable=False),
    UniqueConstraint("account", "id_hash"),
)

refused_suggestions = Table(
    "refused_suggestions",
    metadata,
    Column("account", String, primary_key=True),
    Column("id_hash", String, primary_key=True),
    Column("at", Instant, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("message", String(26), ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String, primary_key=True),  # formats.message.mailbox_key of the recipient
    Column("address", String, nullable=False),
    Column("state", String, nullable=False),  # failed | delayed | delivered | relayed | expanded | read | deleted
    Column("status", String, nullable=False, default=""),
    Column("detail", Text, nullable=False, default=""),
    Column("at", Instant, nullable=False),
    Column("report", String(26), nullable=False),  # the message that said so
)

chunks = Table(
    "chunks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("owner", String(26), nullable=False),
    Column("seq", Integer, nullable=False),  # 0 is the header section with its blank line
    Column("data", LargeBinary, nullable=False),
    UniqueConstraint("owner", "seq"),
)

sent_copies = Table(
    "sent_copies",
    metadata,
    Column("id", String(26), primary_key=True),  # the submission
    Column("account", String, nullable=False),
    Column("state", String, nullable=False),  # model.CopyState
    Column("accepted_at", Instant, nullable=False),
    Column("due", Instant, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("appending_since", Instant),  # an APPEND of ours whose answer we have not recorded
    Column("folder", String),
    Column("uidvalidity", BigInteger),
    Column("uid", BigInteger),  # a copy that is there
    Column("appended_uid", BigInteger),  # ours, the only message we may ever remove
    Column("by", String),  # model.FiledBy
    Column("copies", Integer, nullable=False, default=0),
    Column("error", Text),
    Column("promised_flags", Text),  # a client's upload was answered in its stead: what the copy is still to carry
    Index("ix_sent_copies_account_state", "account", "state"),
)

# What waits here for the provider, or could not be delivered: its client heard 250, and nothing else of it is settled.
spool = Table(
    "spool",
    metadata,
    Column("id", String(26), primary_key=True),  # the submission
    Column("account", String, nullable=False),
    Column("state", String, nullable=False),  # waiting | unknown | failed
    Column("since", Instant, nullable=False),
    Column("due", Instant, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("trying_since", Instant),  # a try whose outcome is not known
    Column("error", Text, nullable=False, default=""),
    Column("reply_code", Integer),  # the provider's last word, where it gave one up
    Column("report", String),  # to the person's INBOX: owed | made; null where none is due
    Index("ix_spool_account_state", "account", "state"),
)

dropbox_copies = Table(
    "dropbox_copies",
    metadata,
    Column("id", String(26), primary_key=True),  # the submission
    Column("account", String, nullable=False),
    Column("address", String, nullable=False),
    Column("state", String, nullable=False),  # waiting | sent | failed | skipped
    Column("due", Instant),
    Column("trying_since", Instant),  # a try whose outcome we have not recorded
    Column("attempts", Integer, nullable=False, default=0),
    Column("error", Text),
    Index("ix_dropbox_copies_state", "state"),
)

crm_entries = Table(
    "crm_entries",
    metadata,
    Column("message", String(26), ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True),
    Column("crm", String, primary_key=True),
    Column("state", String, nullable=False),  # waiting | delivered | failed
    Column("remote_id", String),
    Column("due", Instant),
    Column("attempts", Integer, nullable=False, default=0),
    Column("error", Text),
    Column("trying", String),  # a step whose outcome we have not recorded: message | attachment N | state
    Column("trying_since", Instant),
    Column("told", String),  # the model.State that the CRM was told
    Index("ix_crm_entries_crm_state_due", "crm", "state", "due"),
)

crm_attachments = Table(
    "crm_attachments",
    metadata,
    Column("message", String(26), ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True),
    Column("crm", String, primary_key=True),
    Column("n", Integer, primary_key=True),  # its place in Body.attachments
    Column("remote_id", String, nullable=False),
)

crm_erasures = Table(
    "crm_erasures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account", String, nullable=False),
    Column("crm", String, nullable=False),
    Column("address", String, nullable=False),  # gone with the row, once the CRM has erased it
    Column("remote_ids", JSON, nullable=False),
    Column("due", Instant),
    Column("attempts", Integer, nullable=False, default=0),
    Column("error", Text),
)

companies = Table(
    "companies",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("name", String, nullable=False),  # "" = known by its domain alone
    Column("name_key", String, unique=True),  # store.companies.name_key; null where it has no name
    Column("by_hand", Boolean, nullable=False),  # stays when its last contact goes
    Column("at", Instant, nullable=False),
)

company_domains = Table(
    "company_domains",
    metadata,
    Column("domain", String, primary_key=True),
    Column("company", String(26), ForeignKey("companies.id", ondelete="CASCADE"), nullable=False),
    Index("ix_company_domains_company", "company"),
)

contacts = Table(
    "contacts",
    metadata,
    Column("key", String, primary_key=True),  # formats.message.mailbox_key of the first address
    Column("email", String, nullable=False),
    Column("name", String, nullable=False, default=""),
    Column("company", String(26), ForeignKey("companies.id", ondelete="SET NULL")),
    Column("company_by", String, nullable=False, server_default=""),  # hand | domain; "" without a company
    Column("sought", Text, nullable=False, server_default=""),  # what a search looks in: casefolded, all of it
    Column("at", Instant, nullable=False),
    Index("ix_contacts_company", "company"),
)

contact_addresses = Table(
    "contact_addresses",
    metadata,
    Column("key", String, primary_key=True),  # formats.message.mailbox_key
    Column("contact", String, ForeignKey("contacts.key", ondelete="CASCADE", onupdate="CASCADE"), primary_key=True),
    Column("tag", Boolean, nullable=False),  # the key without its tag of one that has one
    Column("email", String, nullable=False),  # as written
    Column("place", Integer, nullable=False),  # 0 = the first
    Index("ix_contact_addresses_contact", "contact"),
    Index("uq_contact_addresses_own", "key", unique=True, sqlite_where=text("tag = 0")),
)

merges = Table(
    "merges",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("contact", String, ForeignKey("contacts.key", ondelete="CASCADE", onupdate="CASCADE"), nullable=False),
    Column("merged", JSON, nullable=False),  # the other contact as it was
    Column("at", Instant, nullable=False),
    Index("ix_merges_contact", "contact"),
)

positions = Table(
    "positions",
    metadata,
    Column("account", String, primary_key=True),
    Column("folder", String, primary_key=True),
    Column("uidvalidity", BigInteger, nullable=False),
    Column("uidnext", BigInteger, nullable=False),
    Column("seen_at", Instant),
    Column("anchors", JSON),
    Column("read_at", Instant),
)

# Which logged messages are still to get the keyword that shows it.
marks = Table(
    "marks",
    metadata,
    Column("account", String, primary_key=True),
    Column("folder", String, primary_key=True),
    Column("uidvalidity", BigInteger, primary_key=True),
    Column("uid", BigInteger, primary_key=True),
    Column("at", Instant, nullable=False),  # since when it is owed
)

backfills = Table(
    "backfills",
    metadata,
    Column("account", String, primary_key=True),
    Column("dry_run", Boolean, primary_key=True),
    Column("since", Date, nullable=False),
    Column("until", Date, nullable=False),  # the day after the last
    Column("next_day", Date, nullable=False),  # what lies before it was gone through
    Column("asked_at", Instant, nullable=False),
    Column("state", String, nullable=False),  # asked | running | done | stopped
    Column("total", Integer, nullable=False),
    Column("read", Integer, nullable=False),
    Column("headers", Integer, nullable=False),
    Column("incoming", Integer, nullable=False),
    Column("outgoing", Integer, nullable=False),
    Column("logged", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("waits_for", Text, nullable=False),
    Column("ended_at", Instant),
)

facts = Table(
    "facts",
    metadata,
    Column("account", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("value", Text, nullable=False),
)

steps = Table(
    "steps",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("owner", String(26), nullable=False),
    Column("at", Instant, nullable=False),
    Column("what", String, nullable=False),
    Column("detail", Text, nullable=False, default=""),  # emptied with its submission
    Index("ix_steps_owner", "owner"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", String, primary_key=True),  # of the page's cookie
    Column("person", String),  # an account's address; null = the owner
    Column("since", Instant, nullable=False),
    Column("used", Instant, nullable=False),
)

drafts = Table(
    "drafts",
    metadata,
    Column("person", String, primary_key=True),  # an account's address; "" = the owner
    Column("about", String, primary_key=True),  # what it answers, or to whom it is
    Column("draft", JSON, nullable=False),
    Column("at", Instant, nullable=False),
)

draft_files = Table(
    "draft_files",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("person", String, nullable=False),
    Column("about", String, nullable=False),
    Column("name", String, nullable=False),
    Column("type", String, nullable=False),
    Column("octets", LargeBinary, nullable=False),
    ForeignKeyConstraint(["person", "about"], ["drafts.person", "drafts.about"], ondelete="CASCADE"),
    Index("ix_draft_files_person_about", "person", "about"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("name", String, primary_key=True),
    Column("digest", String, nullable=False, unique=True),  # keyed hash of the token
    Column("person", String),  # an account's address; null: it sees everything
    Column("may", String, nullable=False),
    Column("at", Instant, nullable=False),
)

# Which row of the full-text index is whose; `id` is the message's date in microseconds, or the next that is free.
indexed = Table(
    "indexed",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("message", String(26), ForeignKey("messages.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("attachments", Integer, nullable=False),  # those that are no pictures in the text
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("asker", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("fingerprint", String, nullable=False),  # keyed hash of what was asked
    Column("submission", String(26), nullable=False),
    Column("at", Instant, nullable=False),
    Index("ix_idempotency_keys_at", "at"),
)

erasures = Table(
    "erasures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("key_hash", String, nullable=False),  # keyed hash of whom was forgotten, by their first address
    Column("other_hashes", JSON),  # of their other addresses
    Column("known", Boolean, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("shared", Integer, nullable=False),
    Column("accounts", JSON, nullable=False),
    Column("crms", JSON, nullable=False),
)
