"""A contact has several addresses and a company that is a record; who was last in a message of an account; drafts keep
files."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from ulid import ULID

# What a domain says of a company is a rule and no part of the tables: the newest there is will do.
from proxyd.rules.company_domains import candidates, domain_of
from proxyd.rules.plus_tags import untagged

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    _company_tables()
    _contact_tables()
    _other_tables()
    connection = op.get_bind()
    _contacts(connection)
    _tags(connection)
    connection.exec_driver_sql(
        "INSERT INTO last_words (key, tag, account, date) SELECT p.key, p.tag, m.account, max(m.date)"
        " FROM participants p JOIN messages m ON m.id = p.message GROUP BY p.key, p.tag, m.account"
    )


def _company_tables() -> None:
    op.create_table(
        "companies",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("name_key", sa.String(), nullable=True),
        sa.Column("by_hand", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_companies")),
        sa.UniqueConstraint("name_key", name=op.f("uq_companies_name_key")),
    )
    op.create_table(
        "company_domains",
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("company", sa.String(length=26), nullable=False),
        sa.ForeignKeyConstraint(
            ["company"], ["companies.id"], name=op.f("fk_company_domains_company"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_company_domains")),
    )
    op.create_index("ix_company_domains_company", "company_domains", ["company"])


def _contact_tables() -> None:
    op.rename_table("contacts", "contacts_before")
    op.create_table(
        "contacts",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("company", sa.String(length=26), nullable=True),
        sa.Column("company_by", sa.String(), server_default="", nullable=False),
        sa.Column("sought", sa.Text(), server_default="", nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["company"], ["companies.id"], name=op.f("fk_contacts_company"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_contacts")),
    )
    op.create_index("ix_contacts_company", "contacts", ["company"])
    op.create_table(
        "contact_addresses",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("contact", sa.String(), nullable=False),
        sa.Column("tag", sa.Boolean(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["contact"],
            ["contacts.key"],
            name=op.f("fk_contact_addresses_contact"),
            ondelete="CASCADE",
            onupdate="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key", "contact", name=op.f("pk_contact_addresses")),
    )
    op.create_index("ix_contact_addresses_contact", "contact_addresses", ["contact"])
    op.create_index(
        "uq_contact_addresses_own", "contact_addresses", ["key"], unique=True, sqlite_where=sa.text("tag = 0")
    )
    op.create_table(
        "merges",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("contact", sa.String(), nullable=False),
        sa.Column("merged", sa.JSON(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["contact"], ["contacts.key"], name=op.f("fk_merges_contact"), ondelete="CASCADE", onupdate="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merges")),
    )
    op.create_index("ix_merges_contact", "merges", ["contact"])


def _other_tables() -> None:
    op.create_table(
        "last_words",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("tag", sa.Boolean(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("date", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "tag", "account", name=op.f("pk_last_words")),
    )
    op.create_index("ix_last_words_date", "last_words", ["date"])
    op.create_table(
        "draft_files",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("about", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("octets", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person", "about"],
            ["drafts.person", "drafts.about"],
            name=op.f("fk_draft_files_person"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_draft_files")),
    )
    op.create_index("ix_draft_files_person_about", "draft_files", ["person", "about"])
    op.add_column("erasures", sa.Column("other_hashes", sa.JSON(), nullable=True))
    op.add_column("participants", sa.Column("tag", sa.Boolean(), server_default="0", nullable=False))


def _contacts(connection: sa.Connection) -> None:
    """Each with its one address; a company's name becomes a record, which the first of its contacts gives its domain.
    Who has no company gets that of their domain."""
    companies: dict[str, str] = {}
    names: dict[str | None, str] = {}
    domains: dict[str, str] = {}
    rows = connection.exec_driver_sql(
        "SELECT key, email, name, company, at FROM contacts_before ORDER BY at, key"
    ).all()
    for row in rows:
        named = " ".join(row.company.split())
        if not named:
            continue
        company = companies.get(named.casefold())
        if company is None:
            company = companies[named.casefold()] = _company(connection, named, row.at)
            names[company] = named
        domain = domain_of(row.key)
        if domain is not None and not any(each in domains for each in candidates(domain)):
            domains[domain] = company
    for row in rows:
        domain = domain_of(row.key)
        if not row.company.strip() and domain is not None and not any(each in domains for each in candidates(domain)):
            domains[domain] = _company(connection, "", row.at)
    for domain, company in domains.items():
        connection.exec_driver_sql("INSERT INTO company_domains VALUES (?, ?)", (domain, company))
    for row in rows:
        company, by = companies.get(" ".join(row.company.split()).casefold()), "hand"
        if company is None:
            domain, by = domain_of(row.key), "domain"
            company = next((domains[each] for each in candidates(domain or "") if each in domains), None)
        sought = "\n".join((row.email, row.name, names.get(company, ""))).casefold()
        connection.exec_driver_sql(
            "INSERT INTO contacts (key, email, name, company, company_by, sought, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row.key, row.email, row.name, company, by if company else "", sought, row.at),
        )
        _address(connection, row, row.key, tag=False)
        if untagged(row.key) != row.key:
            _address(connection, row, untagged(row.key), tag=True)
    op.drop_table("contacts_before")


def _company(connection: sa.Connection, name: str, at: int) -> str:
    id = str(ULID())
    named = name.casefold() or None
    connection.exec_driver_sql("INSERT INTO companies VALUES (?, ?, ?, 0, ?)", (id, name, named, at))
    return id


def _address(connection: sa.Connection, row: Any, key: str, *, tag: bool) -> None:
    connection.exec_driver_sql(
        "INSERT INTO contact_addresses (key, contact, tag, email, place) VALUES (?, ?, ?, ?, 0)",
        (key, row.key, tag, row.email),
    )


def _tags(connection: sa.Connection) -> None:
    rows = connection.exec_driver_sql("SELECT message, key FROM participants WHERE key LIKE '_%+%@%'").all()
    for message, key in rows:
        if untagged(key) != key:
            connection.exec_driver_sql("INSERT OR IGNORE INTO participants VALUES (?, ?, 1)", (message, untagged(key)))
