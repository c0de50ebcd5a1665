"""What waits here, and what could not be delivered: told everywhere, decided on, beside a daemon and without one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from proxyd.model import SendUnknown, Sent, SmtpReply, Spooled, Undeliverable
from proxyd.store.tables import chunks, spool, submissions
from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, KEY, Desk, desk, message
from tests.web.served import served
from tests.web.test_api import BOB, with_colleague

NO_SUCH = SmtpReply(550, ("5.1.1 <grace@customer.test>: no such user",))


async def waits(d: Desk, n: int, error: str = "no route", account: str = ADA) -> str:
    begun = await d.begin(message(id=f"m{n}@example.test", subject=f"Offer {n}", sender=account), account=account)
    now = d.clock.now()
    await d.journal.record(Spooled(begun.id, error, now, now))
    return str(begun.id)


async def failed(d: Desk, n: int) -> str:
    id = await waits(d, n)
    await d.journal.record(Undeliverable(id, NO_SUCH.text, d.clock.now(), NO_SUCH))
    return id


def test_there_is_nothing(tmp_path: Path) -> None:
    seen = typed("spool", folder=tmp_path)
    assert (seen.code, seen.out) == (0, "Nothing waits here for a provider.\n")
    assert typed("spool", "retry", folder=tmp_path).out == "There was nothing of that kind.\n"
    wrong = typed("spool", "drop", "--yes", "01KNONE", folder=tmp_path)
    assert (wrong.code, "no mail in the spool has the id '01KNONE'" in wrong.err) == (1, True)
    assert typed("spool", "show", "01KNONE", folder=tmp_path).code == 1


@on_the_loop
async def test_told_by_status_and_doctor_and_decided_on_beside_a_daemon(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        s.listening = dict.fromkeys(("smtp", "smtps", "imap", "imaps", "web"), "127.0.0.1:1")
        first = await waits(s.desk, 1)
        second = await failed(s.desk, 2)
        seen = await typed_beside("spool", folder=tmp_path, width=200)
        assert seen.code == 1
        assert "Offer 1" in seen.out
        assert "not delivered" in seen.out
        status = await typed_beside("status", "--json", folder=tmp_path)
        (account,) = status.json["accounts"]
        assert account["waiting"]["spool"] == 1
        assert [(each["id"], each["state"]) for each in account["spool"]] == [(first, "waiting"), (second, "failed")]
        assert GRACE not in str(account["spool"]), "alerts are made of it"
        shown = await typed_beside("status", folder=tmp_path, width=300)
        assert (shown.code, "A mail could not be delivered" in shown.out) == (1, True)
        cure = f"proxyd spool retry --account {ADA}"
        assert cure in (await typed_beside("doctor", folder=tmp_path, width=300)).out
        written = await typed_beside("spool", "show", second[-9:].lower(), folder=tmp_path)
        assert "Subject: Offer 2" in written.out

        done = await typed_beside("spool", "retry", "--json", folder=tmp_path)
        assert done.json == {"mails": 2}
        assert [each["state"] for each in s.desk.rows(spool)] == ["waiting", "waiting"]
        assert {each["state"] for each in s.desk.rows(submissions)} == {"submitting"}
        asked = await typed_beside("spool", "drop", first, folder=tmp_path, keys="n\n")
        assert asked.code != 0
        assert (await typed_beside("spool", "drop", "--yes", first, folder=tmp_path)).out == "1 mail dropped.\n"
        assert [each["id"] for each in s.desk.rows(spool)] == [second]
        assert first not in {each["owner"] for each in s.desk.rows(chunks)}, "nothing of it is kept"


@on_the_loop
async def test_one_that_may_have_been_sent_is_sent_again_by_name_alone(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        id = await waits(s.desk, 1)
        await s.desk.journal.record(SendUnknown(id, "cut", s.desk.clock.now()))
        assert (await typed_beside("spool", "retry", folder=tmp_path)).out == "There was nothing of that kind.\n"
        assert (await typed_beside("spool", "retry", id, folder=tmp_path)).code != 0, "nobody there to be asked"
        assert [each["state"] for each in s.desk.rows(spool)] == ["unknown"]
        assert (await typed_beside("spool", "retry", "--yes", id, folder=tmp_path)).code == 0
        assert [each["state"] for each in s.desk.rows(spool)] == ["waiting"]


@on_the_loop
async def test_without_a_daemon(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    key = tmp_path / "data/store.key"
    key.touch(mode=0o600)
    key.write_text(KEY.hex() + "\n")
    async with desk(tmp_path) as d:
        id = await failed(d, 1)
    assert (await typed_beside("spool", "--json", folder=tmp_path)).json["mails"][0]["id"] == id
    assert "Subject: Offer 1" in (await typed_beside("spool", "show", id, folder=tmp_path)).out
    assert (await typed_beside("spool", "retry", folder=tmp_path)).out == "1 mail to be tried again.\n"
    assert (await typed_beside("spool", "drop", "--yes", id, folder=tmp_path)).out == "1 mail dropped.\n"


@on_the_loop
async def test_a_colleague_sees_none_of_it(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        with_colleague(s)
        await s.desk.add_contact(GRACE)
        id = await waits(s.desk, 1)
        async with await s.token(person=BOB) as bob:
            assert (await bob.get("/api/v1/spool")).json() == {"mails": []}
            assert (await bob.get(f"/api/v1/spool/{id}/raw")).status_code == 404
            assert (await bob.post("/api/v1/spool/drop", json={"mails": [id]})).status_code == 422
        _, mine = await s.get("/api/v1/spool")
        assert [each["id"] for each in mine["mails"]] == [id]


@on_the_loop
async def test_a_forgotten_contact_gets_what_waits_for_them_and_nothing_else_is_kept(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        first = await waits(s.desk, 1)
        second = await failed(s.desk, 2)
        done = await typed_beside("forget", "--yes", GRACE, folder=tmp_path)
        assert "1 mail to them waits here to be sent" in done.out
        assert [each["id"] for each in s.desk.rows(spool)] == [first]
        owners = {each["owner"] for each in s.desk.rows(chunks)}
        assert (first in owners, second in owners) == (True, False)
        await s.desk.journal.record(Sent(first, SmtpReply(250, ("OK",)), s.desk.clock.now()))
        assert s.desk.timeline() == []


@on_the_loop
async def test_what_waits_for_more_than_an_hour_is_told(tmp_path: Path) -> None:
    from proxyd.rules import record_troubles
    from proxyd.web.troubles import troubles

    async with desk(tmp_path) as d:
        await waits(d, 1)
        rows = troubles(d.database, d.clock.now())["spool"]
        assert record_troubles.spool(rows, ADA, d.clock.now()) == []
        (found,) = record_troubles.spool(rows, ADA, d.clock.now() + timedelta(hours=2))
        assert found.sentence == "1 mail waits here for the provider, for 2 hours by now."


@on_the_loop
async def test_settled_by_who_asked_its_recipient(tmp_path: Path) -> None:
    """However old it is: its sender believes that it went."""
    async with served(tmp_path) as s:
        id = await waits(s.desk, 1)
        await s.desk.clock.advance(20 * 86400)
        assert await s.desk.journal.spool.handing_over(id)
        await s.desk.journal.record(SendUnknown(id, "cut", s.desk.clock.now()))
        done = await typed_beside("settle", "--not-sent", "<m1@example.test>", folder=tmp_path)
        assert done.out == f"It counts as not sent, and is kept here; to send it: proxyd spool retry {id}\n"
        (row,) = s.desk.rows(spool)
        assert (row["state"], row["report"]) == ("failed", "made"), "whoever says it need not be told"
        assert (await typed_beside("spool", "retry", id, folder=tmp_path)).code == 0
        assert [each["state"] for each in s.desk.rows(submissions)] == ["submitting"]


@on_the_loop
async def test_disconnecting_says_what_waits(tmp_path: Path) -> None:
    (tmp_path / "config/accounts.d").mkdir(parents=True)
    async with served(tmp_path) as s:
        await waits(s.desk, 1)
        done = await typed_beside("disconnect", "--yes", ADA, folder=tmp_path)
        assert "1 mail that you sent waits here to be handed over" in done.err
        assert "it is sent if the account is connected again within 4 days" in done.err
        assert [each["state"] for each in s.desk.rows(spool)] == ["waiting"]


@on_the_loop
async def test_what_explain_says_of_it(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        await waits(s.desk, 1, "450 4.7.1 greylisted")
        told = (await typed_beside("explain", "--json", "<m1@example.test>", folder=tmp_path)).json
        assert (told["logged"], told["state"]) == (True, "submitting")
        assert [each["what"].partition(" since")[0] for each in told["steps"]] == [
            "begun",
            "waits at proxyd for the provider",
            "in the spool",
        ]
