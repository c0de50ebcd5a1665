"""The index over a real store: what is found, what is not, and that a word goes with its message."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlcipher3 import dbapi2 as sqlcipher

from proxyd.formats.search_query import read_query
from proxyd.model import NotSent, Sent, SmtpReply
from proxyd.store import search
from proxyd.store.database import Database
from proxyd.store.schema import MIGRATIONS
from proxyd.store.tables import indexed, messages
from proxyd.web import answers, answers_search
from proxyd.web.viewer import May, Viewer
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, KEY, Desk, desk, message

BOB = "bob@example.test"
WITH_FILE = (
    'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n',
    "--b\r\nContent-Type: text/plain\r\n\r\nsee the drawing\r\n--b\r\nContent-Type: application/pdf\r\n"
    'Content-Disposition: attachment; filename="Turbine.pdf"\r\n\r\n%PDF\r\n--b--\r\n',
)


async def log(d: Desk, *octets: bytes, account: str = ADA) -> list[str]:
    """Logged, and read: what is found is what a person could have read."""
    await d.add_contact(GRACE)
    made = []
    for each in octets:
        with d.journal.changes.listening() as listener:
            begun = await d.begin(each, account=account)
            await d.journal.record(Sent(begun.id, SmtpReply(250, ("OK",)), d.clock.now()))
            for _ in range(3):  # begun, sent, read
                await listener.next()
        made.append(begun.id)
    await d.settled()
    return made


def found(d: Desk, q: str, viewer: Viewer = answers.OWNER) -> list[str]:
    return [each["id"] for each in answers_search.found(d.database, q, 100, viewer)["messages"]]


def dated(date: str, **more: str) -> bytes:
    return message(**more).replace(b"Mon, 23 Nov 2026 10:00:00 +0000", date.encode())  # type: ignore[arg-type]


@on_the_loop
async def test_what_a_person_types_finds_what_they_mean(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        offer, drawing, old = await log(
            d,
            message("Angebot für Größe L", id="a@x", body="Die Lieferung im Mai ist möglich.\r\n"),
            message("Drawing", id="b@x", more=WITH_FILE[0], body=WITH_FILE[1]),
            dated("Tue, 03 Mar 2020 09:00:00 +0000", id="c@x", subject="Old", to=f'"Grace Hopper" <{GRACE}>'),
        )
        for q, ids in {
            "angebot": [offer],
            "angeb": [offer],
            "GROSSE": [],
            "größe": [offer],
            "grosse": [],
            "groß": [offer],
            "moglich": [offer],  # accents may be left out
            '"lieferung im mai"': [offer],
            '"mai im lieferung"': [],
            "lieferung möglich": [offer],
            "from:ada": [drawing, offer, old],
            "from:grace": [],
            "to:grace": [drawing, offer, old],
            "to:hopper": [old],
            "customer.test": [drawing, offer, old],
            "subject:drawing": [drawing],
            "subject:turbine": [],
            "file:turbine": [drawing],
            "turbine.pdf": [drawing],
            "has:attachment": [drawing],
            "has:attachment angebot": [],
            "before:2021": [old],
            "after:2020": [drawing, offer],
            "to:grace -drawing": [offer, old],
            "-drawing": [offer, old],
            "account:" + ADA: [drawing, offer, old],
            "account:" + BOB: [],
            "nothing of this": [],
        }.items():
            assert found(d, q) == ids, q


@on_the_loop
async def test_pages_of_hits_hold_each_once_and_of_one_mail_one(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        d.accounts[BOB] = d.accounts[ADA].model_copy(update={"address": BOB})
        made = await log(d, *(message(id=f"m{n}@x") for n in range(5)))
        await log(d, message(id="m0@x"), account=BOB)
        seen: list[str] = []
        cursor = None
        while True:
            page = answers_search.found(d.database, "offer", 2, cursor=cursor)
            seen += [each["id"] for each in page["messages"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert sorted(seen) == sorted(made)
        assert len(found(d, "offer", Viewer(BOB, frozenset({BOB}), May.READ))) == 1
        assert found(d, "offer", Viewer("x", frozenset(), May.READ)) == []
        with pytest.raises(answers.Unacceptable):
            answers_search.found(d.database, "offer", 2, cursor="x")


@on_the_loop
async def test_words_go_with_their_message_and_come_anew_with_a_new_text(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await log(d, message(body="first words\r\n"))
        await log(d, message(body="second text\r\n"))
        assert found(d, "first") == []
        assert len(found(d, "second")) == 1
        await d.database.write(lambda c: c.execute(messages.delete()))
        assert found(d, "second") == []
        assert d.rows(indexed) == []
        with d.database.reading() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM search_index_docsize").scalar() == 0


@on_the_loop
async def test_a_mail_that_the_provider_refused_is_found_too(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.add_contact(GRACE)
        begun = await d.begin(message(body="the turbine\r\n"))
        with d.journal.changes.listening() as listener:
            await d.journal.record(NotSent(begun.id, SmtpReply(550, ("5.1.1 no",)), d.clock.now()))
            for _ in range(2):  # refused, read
                await listener.next()
        await d.settled()
        assert found(d, "turbine") == [begun.id]


def test_what_was_logged_before_there_was_an_index_is_in_it_after_the_migration() -> None:
    engine = sa.create_engine("sqlite://", module=sqlcipher)
    with engine.connect() as connection:
        upgrade(connection, "0005")
        body = {"text": "Die Lieferung", "attachments": [{"name": "Turbine.pdf", "inline": False}]}
        heading = {"from": {"name": "Ada", "address": ADA}, "to": [{"name": "", "address": GRACE}], "cc": [], "bcc": []}
        for id, said in (("01A", body), ("01B", body), ("01C", None)):
            row = {
                **dict.fromkeys(("account", "direction", "kind", "state", "source", "because"), "x"),
                **dict.fromkeys(("id", "message_id", "thread", "content", "mail"), id),
                **{"date": 5, "at": 5, "heading": json.dumps(heading), "subject": "Drawing", "contacts": "[]"},
                "body": json.dumps(said) if said else None,
            }
            names = ", ".join(row)
            values = ", ".join(f":{each}" for each in row)
            connection.execute(sa.text(f"INSERT INTO messages ({names}) VALUES ({values})"), row)
        upgrade(connection, "0006")
        query = read_query("lieferung has:attachment turb from:ada")
        hits = search.find(connection, query, 9, accounts=None, behind=None)
        assert [(each.message, each.number) for each in hits] == [("01B", 6), ("01A", 5)]


def upgrade(connection: sa.Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=80))
def test_nothing_that_is_typed_is_an_error(empty: Database, q: str) -> None:
    assert answers_search.found(empty, q, 10)["messages"] == []


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Database]:
    database = Database(tmp_path_factory.mktemp("empty"), KEY)
    yield database
    database.close()
