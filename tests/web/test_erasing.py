"""A contact handed over and forgotten: all of it comes out, and nothing of it is left in the store."""

from __future__ import annotations

import base64
import hashlib
import json
import mailbox
from pathlib import Path

from proxyd.formats.mime import attachment
from proxyd.model import CopyPresent, FiledBy, Found, Sent, SmtpReply
from proxyd.store import ledger
from proxyd.store.tables import chunks, contacts, crm_erasures, hashed_ids, indexed, messages, submissions
from proxyd.web import answers_search
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.web.served import Served, served
from tests.web.test_api import BOB, with_colleague
from tests.web.test_control import PDF, with_attachment

LIN = "lin@customer.test"


async def log(s: Served, octets: bytes, *recipients: str, of: str = ADA, filed: bool = True) -> str:
    begun = await s.desk.begin(octets, recipients or (GRACE,), account=of)
    at = s.desk.clock.now()
    await s.desk.journal.record(Sent(begun.id, SmtpReply(250, (f"OK for {(recipients or (GRACE,))[0]}",)), at))
    if filed:
        await s.desk.journal.record(CopyPresent(begun.id, Found("Sent", 1, 7), FiledBy.CLIENT, 1, at))
    return begun.id


@on_the_loop
async def test_everything_with_a_contact_is_handed_over(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        await log(s, with_attachment())
        await log(s, message(id="m2@example.test", body="From here on\r\n"))
        answer = await s.client.get(f"/api/v1/contacts/{GRACE}/export", params={"format": "mbox"})
        file = tmp_path / "grace.mbox"
        file.write_bytes(answer.content)
        first, second = (mailbox.mbox(file).get_bytes(n) for n in range(2))
        assert b"".join(attachment([first], 0)) == PDF
        assert b"\n>From here on\n" in second
        document = json.loads((await s.client.get(f"/api/v1/contacts/{GRACE}/export?format=json")).content)
        assert document["contact"]["email"] == GRACE
        one, two = document["messages"]
        assert (one["message_id"], two["text"]) == ("<m1@example.test>", "From here on")
        (listed,) = one["attachments"]
        assert hashlib.sha256(base64.b64decode(listed["content"])).hexdigest() == listed["sha256"]
        nobody = json.loads((await s.client.get("/api/v1/contacts/x@y.test/export?format=json")).content)
        assert nobody == {"contact": None, "messages": []}


@on_the_loop
async def test_an_export_holds_what_its_asker_sees(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        with_colleague(s, "owner")
        await s.desk.add_contact(GRACE)
        await log(s, message(id="b@example.test"), of=BOB)
        async with await s.token() as ada:
            exported = (await ada.get(f"/api/v1/contacts/{GRACE}/export?format=json")).json()
            assert exported["messages"] == []
            assert (await ada.post(f"/api/v1/contacts/{GRACE}/forget")).status_code == 403


@on_the_loop
async def test_who_is_forgotten_leaves_nothing_but_a_report_without_data(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE, LIN)
        await log(s, with_attachment())
        await log(s, message("Secret plan", id="m2@example.test"), GRACE, LIN)
        kept = await log(s, message(id="m3@example.test", to=LIN), LIN)
        await s.get(f"/api/v1/messages/{kept}")
        report = (await s.client.post(f"/api/v1/contacts/{GRACE.upper()}/forget")).json()
        assert (report["was_contact"], report["messages"], report["shared"]) == (True, 2, 1)
        assert (report["accounts"], report["crm"]) == ([ADA], [])
        assert [row["id"] for row in s.desk.rows(messages)] == [kept]
        assert {row["owner"] for row in s.desk.rows(chunks)} == {kept}
        assert {row["message"] for row in s.desk.rows(indexed)} <= {kept}
        assert [row["email"] for row in s.desk.rows(contacts)] == [LIN]
        with s.desk.database.reading() as connection:
            names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
            everything = "".join(
                str(connection.exec_driver_sql(f'SELECT * FROM "{name}"').all())
                for name in names
                if not name.startswith("search_index")
            )
        for data in ("grace", "Secret plan", "m2@example", "angebot"):
            assert data not in everything
        assert answers_search.found(s.desk.database, "secret", 10)["messages"] == []
        assert (await s.get("/api/v1/explain", message_id="m2@example.test"))[0] == 404
        assert (await s.get("/api/v1/erasures", contact=GRACE))[1] == {"erasures": [report]}
        assert (await s.get("/api/v1/erasures", contact=LIN))[1] == {"erasures": []}
        again = (await s.client.post(f"/api/v1/contacts/{GRACE}/forget")).json()
        assert (again["was_contact"], again["messages"]) == (False, 0)


@on_the_loop
async def test_a_sent_copy_that_is_owed_is_filed_first_and_then_goes_too(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        id = await log(s, message(), filed=False)
        await s.client.post(f"/api/v1/contacts/{GRACE}/forget")
        assert s.desk.rows(messages) == []
        (due,) = await s.desk.journal.copies.due(ADA)
        assert due.content is not None
        assert await due.content.__class__.chunks(due.content).__anext__()
        present = CopyPresent(id, Found("Sent", 1, 7), FiledBy.PROXYD, 1, s.desk.clock.now())
        await s.desk.journal.record(present)
        assert s.desk.rows(chunks) == []
        (row,) = s.desk.rows(submissions)
        assert (row["emptied"], row["because"], row["envelope"]) == (True, "erased: a person of it was forgotten", None)
        assert len(s.desk.rows(hashed_ids)) >= 1  # by which the copy was known; keyed hashes, no data


@on_the_loop
async def test_the_crms_that_have_it_are_told(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        id = await log(s, message())

        def logged_there(connection):  # type: ignore[no-untyped-def]
            values = {"message": id, "crm": "hubspot", "state": "delivered", "remote_id": "4711"}
            connection.execute(ledger.crm_entries.insert(), values)

        await s.desk.database.write(logged_there)
        report = (await s.client.post(f"/api/v1/contacts/{GRACE}/forget")).json()
        assert report["crm"] == [{"account": ADA, "name": "hubspot", "messages": 1}]
        (owed,) = s.desk.rows(crm_erasures)
        assert (owed["crm"], owed["address"], owed["remote_ids"]) == ("hubspot", GRACE, ["4711"])
        assert s.desk.journal.wakes.outbox.is_set()
