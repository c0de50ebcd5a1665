"""What a CRM refused is told, and a person decides."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from proxyd.store import ledger
from proxyd.store.mailboxes import set_fact
from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.web.served import Served, served

RETRY = f"proxyd crm retry --crm hubspot --account {ADA}"


async def refused(s: Served, n: int, error: str = "hub answered 400: no [such] owner", crm: str = "hubspot") -> str:
    """Message `n` was logged, and the CRM refused it."""
    from proxyd.model import Sent, SmtpReply

    begun = await s.desk.begin(message(id=f"m{n}@example.test", subject=f"Offer {n}"))
    await s.desk.journal.record(Sent(begun.id, SmtpReply(250, ("OK",)), s.desk.clock.now()))
    await s.desk.journal.ledger.standings()

    def job(connection: Any) -> None:
        ledger.owe(connection, begun.id, [crm], s.desk.clock.now())
        ledger.postponed(connection, begun.id, crm, error, None)

    await s.desk.database.write(job)
    return str(begun.id)


def states(s: Served, crm: str = "hubspot") -> list[str]:
    listed = [each for message in reversed(s.desk.timeline()) for each in message["crm"]]
    return [each["state"] for each in listed if each["name"] == crm]


@contextlib.asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Served]:
    async with served(folder) as s:
        await s.desk.add_contact(GRACE)
        s.listening = dict.fromkeys(("smtp", "smtps", "imap", "imaps", "web"), "127.0.0.1:1")
        yield s


def test_there_is_nothing(tmp_path: Path) -> None:
    seen = typed("crm", folder=tmp_path)
    assert (seen.code, seen.out) == (0, "Every CRM has everything.\n")
    assert typed("crm", "retry", folder=tmp_path).out == "There was nothing of that kind.\n"
    assert typed("crm", "skip", folder=tmp_path).code == 2, "everything is not skipped by a slip"
    wrong = typed("crm", "retry", "01KNONE", folder=tmp_path)
    assert (wrong.code, "no message that a CRM lacks has the id '01KNONE'" in wrong.err) == (1, True)


@on_the_loop
async def test_status_and_doctor_tell_it_with_the_cure_and_it_is_tried_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        id = await refused(s, 1)
        status = await typed_beside("status", folder=tmp_path)
        assert status.code == 1
        assert (
            f"the CRM hubspot refused 1 message: hub answered 400: no [such] owner; once that is mended: {RETRY}"
            in (" ".join(status.out.split()))
        )
        doctor = await typed_beside("doctor", "--json", folder=tmp_path)
        assert [each["cure"] for each in doctor.json["findings"] if "hub answered 400" in each["what"]] == [RETRY]
        assert "hubspot: refused" in (await typed_beside("timeline", folder=tmp_path, width=140)).out
        listed = await typed_beside("crm", folder=tmp_path, width=200)
        assert listed.code == 1
        for word in (id, "refused", "Offer 1", "no [such] owner", RETRY):
            assert word in listed.out
        done = await typed_beside("crm", "retry", "--crm", "hubspot", "--account", ADA, folder=tmp_path)
        assert (done.code, done.out) == (0, "1 message tried again now.\n")
        assert states(s) == ["waiting"]
        assert s.desk.journal.wakes.mended.is_set(), "pauses are forgotten"
        waits = await typed_beside("crm", "--json", folder=tmp_path)
        assert (waits.code, [each["state"] for each in waits.json["entries"]]) == (0, ["waiting"])


@on_the_loop
async def test_one_of_them_is_chosen_by_the_end_of_its_id_or_its_message_id(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        first, _ = await refused(s, 1), await refused(s, 2)
        assert (await typed_beside("crm", "retry", first[-8:].lower(), folder=tmp_path)).code == 0
        assert states(s) == ["waiting", "failed"]
        assert (await typed_beside("crm", "skip", "<m2@example.test>", folder=tmp_path)).out == "1 message skipped.\n"
        assert states(s) == ["waiting", "skipped"]
        assert (await typed_beside("status", folder=tmp_path)).code == 0
        again = await typed_beside("crm", "retry", "m2@example.test", "--json", folder=tmp_path)
        assert again.json == {"entries": 1, "erasures": 0}, "it was skipped, and somebody changed their mind"
        assert states(s) == ["waiting", "waiting"]


@on_the_loop
async def test_a_crm_that_is_no_longer_used_is_let_go_of(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        await refused(s, 1)
        await refused(s, 2)
        await refused(s, 3, crm="odoo")
        await typed_beside("crm", "retry", "m2@example.test", folder=tmp_path)
        assert (await typed_beside("crm", "skip", "--crm", "hubspot", folder=tmp_path)).out == "1 message skipped.\n"
        assert states(s) == ["skipped", "waiting"]
        await typed_beside("crm", "skip", "--crm", "hubspot", "--waiting", folder=tmp_path)
        assert (states(s), states(s, "odoo")) == (["skipped", "skipped"], ["failed"])


@on_the_loop
async def test_a_contact_that_a_crm_will_not_erase_is_told_until_somebody_did_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:

        def job(connection: Any) -> None:
            ledger.owe_erasure(connection, ADA, "hubspot", GRACE, ["1", "2"], s.desk.clock.now())
            ledger.erasure_postponed(connection, 1, "this adapter cannot erase", None)

        await s.desk.database.write(job)
        assert (await typed_beside("status", folder=tmp_path)).code == 1
        assert (
            f"hubspot will not erase {GRACE}: this adapter cannot" in (await typed_beside("crm", folder=tmp_path)).out
        )
        client = await s.token()
        async with client:
            assert (await client.get("/api/v1/crm/entries")).json()["erasures"] == [], "for the owner alone"
        assert (await typed_beside("crm", "skip", "--crm", "hubspot", folder=tmp_path)).out == "1 erasure skipped.\n"
        assert (await typed_beside("crm", folder=tmp_path)).code == 0


@on_the_loop
async def test_a_colleague_decides_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        await refused(s, 1)
        s.desk.accounts["bob@example.test"] = s.desk.accounts[ADA].model_copy(update={"address": "bob@example.test"})
        async with await s.token("bob", "bob@example.test") as bob:
            listed = (await bob.get("/api/v1/crm/entries")).json()
            assert [each["subject"] for each in listed["entries"]] == ["Offer 1"], "shared with the team"
            for action in ("retry", "skip"):
                done = await bob.post(f"/api/v1/crm/entries/{action}", json={"crm": "hubspot"})
                assert done.json() == {"entries": 0, "erasures": 0}
            assert (await bob.post("/api/v1/crm/entries/skip", json={})).status_code == 422
            assert (await bob.post("/api/v1/crm/entries/retry", json={"messages": ["1"] * 2})).status_code == 422
        async with await s.token("reads", may="read") as reads:
            assert (await reads.post("/api/v1/crm/entries/retry", json={})).status_code == 403
        assert states(s) == ["failed"]


@on_the_loop
async def test_a_crm_that_does_not_let_us_in_needs_somebody(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        await refused(s, 1, "hub answered 401")
        await typed_beside("crm", "retry", folder=tmp_path)
        assert (await typed_beside("status", folder=tmp_path)).code == 0, "it waits, and nobody need do anything"
        await s.desk.database.write(lambda c: set_fact(c, ADA, ledger.refused_key("hubspot"), "yes"))
        assert (await typed_beside("status", folder=tmp_path)).code == 1
        assert RETRY in " ".join((await typed_beside("status", folder=tmp_path)).out.split())
