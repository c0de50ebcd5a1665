"""A store that an earlier proxyd wrote, opened by this one: nothing of it is lost, and what is new is made of it."""

from __future__ import annotations

import json
from pathlib import Path

import sqlalchemy as sa
from sqlcipher3 import dbapi2 as sqlcipher

from proxyd.store import companies, contact_pages, contacts, drafts, erasing, timeline
from proxyd.store.database import FILE, PAGE, Database
from tests.rigged import KEY
from tests.store.test_search import upgrade

PEOPLE = [
    ("grace@customer.test", "Grace@Customer.test", "Grace Hopper", "Customer Ltd", 1),
    ("bob@customer.test", "bob@customer.test", "", "", 2),
    ("lin@eu.customer.test", "lin@eu.customer.test", "Lin", "Lin & Co", 3),
    ("jane+crm@gmail.com", "jane+crm@gmail.com", "Jane", "", 4),
    ("old@customer.test", "old@customer.test", "", "customer  ltd", 5),
]


def before(folder: Path) -> None:
    """With the tables of revision 0013, and something in them."""
    folder.mkdir()

    def opened() -> sqlcipher.Connection:
        connection = sqlcipher.connect(str(folder / FILE), isolation_level=None)
        connection.execute(f"PRAGMA key = \"x'{KEY.hex()}'\"")
        connection.execute(f"PRAGMA cipher_page_size = {PAGE}")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    engine = sa.create_engine("sqlite://", module=sqlcipher, creator=opened)
    with engine.connect() as connection, connection.begin():
        upgrade(connection, "0013")
        for row in PEOPLE:
            connection.exec_driver_sql("INSERT INTO contacts VALUES (?, ?, ?, ?, ?)", row)
        for n, people in enumerate((["grace@customer.test"], ["jane+crm@gmail.com", "bob@customer.test"])):
            message = {
                "id": f"0{n}", "account": "ada@example.test", "message_id": f"{n}@x", "direction": "outgoing",
                "kind": "message", "state": "sent", "source": "smtp", "thread": f"0{n}", "date": n, "at": n,
                "heading": json.dumps({"from": {"name": "", "address": "a@x"}, "to": [], "cc": [], "bcc": []}),
                "subject": "Offer", "contacts": json.dumps(people), "because": "", "content": f"0{n}", "mail": f"0{n}",
            }  # fmt: skip
            names = ", ".join(message)
            marks = ", ".join("?" * len(message))
            connection.exec_driver_sql(f"INSERT INTO messages ({names}) VALUES ({marks})", tuple(message.values()))
            for key in people:
                connection.exec_driver_sql("INSERT INTO participants VALUES (?, ?)", (f"0{n}", key))
        draft = ("ada@example.test", "to grace@customer.test", json.dumps({"text": "Dear"}), 1)
        connection.exec_driver_sql("INSERT INTO drafts VALUES (?, ?, ?, ?)", draft)
        report = (1, 0, "#", True, 2, 0, "[]", "[]")
        connection.exec_driver_sql("INSERT INTO erasures VALUES (?, ?, ?, ?, ?, ?, ?, ?)", report)
    engine.dispose()


def test_everything_is_there_and_everybody_has_their_company(tmp_path: Path) -> None:
    before(tmp_path / "data")
    database = Database(tmp_path / "data", KEY)
    with database.writing() as store:
        people = contacts.several(store, [row[0] for row in PEOPLE])
        assert {key: (each.email, each.name, each.addresses) for key, each in people.items()} == {
            key: (email, name, (email,)) for key, email, name, _company, _at in PEOPLE
        }
        told = {each.key.partition("@")[0]: (each.company_name, each.company_by) for each in people.values()}
        assert told == {
            "grace": ("Customer Ltd", "hand"),
            "bob": ("Customer Ltd", "domain"),
            "lin": ("Lin & Co", "hand"),
            "jane+crm": ("", ""),
            "old": ("Customer Ltd", "hand"),
        }
        assert companies.find(store, "customer.test") == people["bob@customer.test"].company
        assert contact_pages.by_address(store, "customer ltd", 9, None) == [
            "bob@customer.test",
            "grace@customer.test",
            "old@customer.test",
        ]
        newest = contact_pages.newest_first(store, "", 9, None, None)
        assert [each.key for each in newest][:3] == ["jane+crm@gmail.com", "bob@customer.test", "grace@customer.test"]
        assert timeline.of_people(store, contacts.same_person(store, ["jane@gmail.com"]), None, 9) == []
        contacts.fold(store, "folded")
        assert timeline.of_people(store, contacts.same_person(store, ["jane@gmail.com"]), None, 9) == ["01"]
        counted = contacts.logged_with(store, [row[0] for row in PEOPLE], ["ada@example.test"])
        assert {key: count for key, (count, _last) in counted.items()} == dict.fromkeys(
            ["grace@customer.test", "jane+crm@gmail.com", "bob@customer.test"], 1
        )
        assert timeline.documents(store, ["00"])[0]["contacts"] == ["grace@customer.test"]
        assert drafts.get(store, "ada@example.test", "to grace@customer.test") == {"text": "Dear"}
        assert [each.messages for each in erasing.reports(store, "#")] == [2]
        assert store.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    database.close()
