"""What is told of a message in each of its states, and what is never told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from proxyd.model import CopyPresent, FiledBy, Found, LookedFor, NotSent, SendUnknown, Sent, SmtpReply
from proxyd.provider.allowance import Connections
from proxyd.store import contacts as contact_rows
from proxyd.store.database import Database
from proxyd.web import answers, answers_contacts
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, KEY, Desk, desk, message

NOTHING_WRONG: dict[str, Any] = {"problems": [], "remarks": []}
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TAKEN = SmtpReply(250, ("2.0.0 queued as 4711",))


def whats(told: dict[str, Any] | None) -> list[str]:
    assert told is not None
    return [step["what"] for step in told["steps"]]


def explained(d: Desk, id: str = "m1@example.test") -> dict[str, Any] | None:
    return answers.explain(d.database, id, NOW)


@on_the_loop
async def test_a_tracked_message_tells_its_steps_in_order_and_where_it_stands(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        begun = await d.begin(message())
        await d.journal.record(Sent(begun.id, TAKEN, d.clock.now()))
        assert whats(explained(d))[-2:] == ["Sent copy: waiting", "CRM local: delivered"]
        await d.clock.advance(60)
        await d.journal.record(CopyPresent(begun.id, Found("Sent", 1, 7), FiledBy.CLIENT, 1, d.clock.now()))
        told = explained(d)
        assert told is not None
        assert told | {"steps": ()} == {
            "message_id": "<m1@example.test>",
            "logged": True,
            "because": f"recipient {GRACE} is a contact",
            "at": "2026-11-23T10:00:00Z",
            "account": ADA,
            "state": "sent",
            "delivery": [],
            "sent_copy": {"state": "present", "by": "client", "folder": "Sent", "copies": 1},
            "steps": (),
        }
        assert whats(told) == [
            "begun",
            "taken by the provider",
            "one Sent copy present, filed by the client",
            "Sent copy: present",
            "CRM local: delivered",
        ]
        assert told["steps"][1]["detail"] == "250 2.0.0 queued as 4711"
        assert told["steps"][-2] == {
            "at": "2026-11-23T10:01:00Z",
            "what": "Sent copy: present",
            "detail": "1 in Sent, filed by client",
        }
        assert told["steps"][-1]["at"] == "2026-11-23T10:00:00Z", "since the provider took it"


@on_the_loop
async def test_an_untracked_message_tells_why_not_and_nothing_of_itself(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        octets = message("A private matter", to="aunt@elsewhere.test", body="a secret\r\n")
        begun = await d.begin(octets, ["aunt@elsewhere.test"])
        await d.journal.record(Sent(begun.id, SmtpReply(250, ("OK for aunt@elsewhere.test",)), d.clock.now()))
        await d.journal.record(CopyPresent(begun.id, Found("Sent", 1, 7), FiledBy.PROXYD, 1, d.clock.now()))
        told = explained(d)
        assert told is not None
        assert told["logged"] is False
        assert told["because"]
        assert told["sent_copy"]["copies"] == 1
        for private in ("aunt", "elsewhere", "private matter", "secret"):
            assert private not in json.dumps(told)


@on_the_loop
async def test_a_refused_message_and_the_same_again_are_one_story(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        first = await d.begin(message())
        await d.journal.record(NotSent(first.id, SmtpReply(550, ("5.7.1 no",)), d.clock.now()))
        await d.clock.advance(60)
        second = await d.begin(message())
        await d.journal.record(Sent(second.id, TAKEN, d.clock.now()))
        told = explained(d)
        assert whats(told)[:4] == ["begun", "not sent", "begun", "taken by the provider"]
        assert told is not None
        assert told["state"] == "sent"


@on_the_loop
async def test_nobody_knows_an_id_that_never_came(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        assert explained(d, "else@example.test") is None
        assert explained(d, "") is None


@on_the_loop
async def test_status_names_what_was_left_unknown(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        begun = await d.begin(message())
        await d.journal.record(SendUnknown(begun.id, "no answer to the final dot", d.clock.now()))
        await d.journal.record(LookedFor(begun.id, "Sent", d.clock.now()))
        account = answers.AccountState(ADA, d.journal.condition(ADA))
        state = answers.DaemonState("1", d.clock.now(), {}, [account])
        document = answers.status(d.database, state, d.clock.now())
        assert document["accounts"][0]["state"] == "connecting"
        assert document["accounts"][0]["unknown"] == [
            {
                "id": begun.id,
                "message_id": "<m1@example.test>",
                "since": "2026-11-23T10:00:00Z",
                "why": "no answer to the final dot",
                "looked_at": "2026-11-23T10:00:00Z",
            }
        ]


@on_the_loop
async def test_status_tells_how_many_connections_stand(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        account = answers.AccountState(ADA, d.journal.condition(ADA), None, Connections(12, 1, 15, "by one connection"))
        state = answers.DaemonState("1", d.clock.now(), {}, [account])
        (said,) = answers.status(d.database, state, d.clock.now())["accounts"]
        assert said["connections"] == {"clients": 12, "watcher": 1, "cap": 15}
        assert said["watching"] == "by one connection"


@on_the_loop
async def test_a_body_that_was_not_read_yet_is_read_for_whoever_asks(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        d.journal.bodies.stop()
        await d.begin(message(body="Dear Grace,\r\n"))
        assert d.timeline()[0]["text"] == ""
        (told,) = answers.timeline(d.database, GRACE, ADA, 10)["messages"]
        assert told["text"].strip() == "Dear Grace,"


@pytest.fixture
def database(tmp_path: Path) -> Any:
    opened = Database(tmp_path, KEY)
    yield opened
    opened.close()


def test_a_contact_is_completed_and_never_emptied(database: Database) -> None:
    assert answers_contacts.add(database, "Grace@Customer.test", "", "Navy")["new"] is True
    assert answers_contacts.add(database, "grace@customer.test", "Grace", "") == {
        "email": "Grace@Customer.test",
        "name": "Grace",
        "company": "Navy",
        "addresses": ["Grace@Customer.test"],
        "company_id": ANY,
        "company_by": "hand",
        "new": False,
    }


@pytest.mark.parametrize("email", ["", "grace", "a@b c.test", "a@b\r\nX: y"])
def test_what_is_no_address_is_no_contact(database: Database, email: str) -> None:
    with pytest.raises(answers.Unacceptable, match="accepted: one such as"):
        answers_contacts.add(database, email)
    with database.reading() as connection:
        assert contact_rows.every_key(connection) == []


def test_an_import_twice_changes_nothing(database: Database) -> None:
    book = b"email,name\nGRACE@customer.test,Grace\nlin@customer.test,\n"
    assert answers_contacts.take_in(database, book) == {"new": 2, "updated": 0, "unchanged": 0} | NOTHING_WRONG
    assert answers_contacts.take_in(database, book) == {"new": 0, "updated": 0, "unchanged": 2} | NOTHING_WRONG
    assert answers_contacts.take_in(database, b"email,name\nlin@customer.test,Lin\n")["updated"] == 1
