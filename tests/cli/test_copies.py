"""Copies that were given up are told, and a person decides."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from proxyd.model import CopyPostponed, DropboxPostponed, Sent, SmtpReply
from proxyd.store import retention, tables
from tests.cli.typed import typed, typed_beside
from tests.clock import ManualClock
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, KEY, message
from tests.watcher.watched import until
from tests.web.served import Served, served

RETRY = f"proxyd copies retry --account {ADA}"
QUOTA = "the server said NO [OVERQUOTA] Mailbox is full"


async def given_up(s: Any, n: int, *, dropbox: bool = False) -> str:
    """Message `n` was sent, and its Sent copy was given up, or its copy to the CRM's address."""
    begun = await s.desk.begin(message(id=f"m{n}@example.test", subject=f"Offer {n}"))
    now = s.desk.clock.now()
    await s.desk.journal.record(Sent(begun.id, SmtpReply(250, ("OK",)), now))
    if dropbox:
        await s.desk.journal.record(DropboxPostponed(begun.id, "550 no such CRM", None, now))
    else:
        await s.desk.journal.record(CopyPostponed(begun.id, QUOTA, now, now, failed=True))
    return str(begun.id)


def states(s: Any, table: Any) -> list[str]:
    return [each["state"] for each in sorted(s.desk.rows(table), key=lambda each: each["id"])]


@contextlib.asynccontextmanager
async def scene(folder: Path, *, contact: bool = True) -> AsyncIterator[Served]:
    """A person whose account has a dropbox; today, for the commands tell of the last 7 days."""
    async with served(folder, "dropbox: 4711@crm.test\n", clock=ManualClock(datetime.now(UTC))) as s:
        if contact:
            await s.desk.add_contact(GRACE)
        s.listening = dict.fromkeys(("smtp", "smtps", "imap", "imaps", "web"), "127.0.0.1:1")
        yield s


def test_there_is_nothing(tmp_path: Path) -> None:
    seen = typed("copies", folder=tmp_path)
    assert (seen.code, seen.out) == (0, "No copy was given up.\n")
    assert typed("copies", "retry", folder=tmp_path).out == "There was nothing of that kind.\n"
    assert typed("copies", "skip", folder=tmp_path).code == 2, "everything is not skipped by a slip"
    wrong = typed("copies", "retry", "01KNONE", folder=tmp_path)
    assert (wrong.code, "no copy that was given up has the id '01KNONE'" in wrong.err) == (1, True)


@on_the_loop
async def test_status_and_doctor_tell_it_with_the_cure_and_it_is_tried_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        await given_up(s, 1)
        crms = await given_up(s, 2, dropbox=True)
        status = await typed_beside("status", folder=tmp_path)
        assert status.code == 1
        told = " ".join(status.out.split())
        for words in (
            f"1 Sent copy could not be filed in the last 7 days; the last time: {QUOTA}; once that is mended: {RETRY}",
            "The CRM's address did not take 1 copy in the last 7 days; the last time: 550 no such CRM; once that is "
            f"mended: {RETRY}",
        ):
            assert words in told
        (account,) = (await typed_beside("status", "--json", folder=tmp_path)).json["accounts"]
        assert [(each["what"], each["count"], each["cure"]) for each in account["given_up"]] == [
            ("sent_copies", 1, RETRY),
            ("dropbox", 1, RETRY),
        ]
        doctor = await typed_beside("doctor", "--json", folder=tmp_path)
        assert [each["cure"] for each in doctor.json["findings"] if "the last 7 days" in each["what"]] == [RETRY] * 2
        listed = await typed_beside("copies", folder=tmp_path, width=200)
        assert listed.code == 1
        for words in (crms, "CRM's address", "Offer 1", QUOTA, "550 no such CRM"):
            assert words in listed.out
        s.desk.journal.wakes.outbox.clear()
        done = await typed_beside(*RETRY.split()[1:], folder=tmp_path)
        assert (done.code, done.out) == (0, "1 Sent copy tried again now.\n1 copy to the CRM tried again now.\n")
        assert (states(s, tables.sent_copies), states(s, tables.dropbox_copies)) == (["waiting"] * 2, ["waiting"] * 2)
        assert s.desk.journal.wakes.outbox.is_set()
        assert s.desk.journal.wakes.copies(ADA).is_set()
        assert (await typed_beside("status", folder=tmp_path)).code == 0
        explained = (await typed_beside("explain", "m2@example.test", folder=tmp_path)).out
        assert "dropbox copy to be tried again" in " ".join(explained.split())


@on_the_loop
async def test_one_of_them_is_chosen_and_others_are_left_out(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        first, _, third = await given_up(s, 1), await given_up(s, 2), await given_up(s, 3, dropbox=True)
        assert (await typed_beside("copies", "retry", first[-8:].lower(), folder=tmp_path)).code == 0
        assert states(s, tables.sent_copies) == ["waiting", "failed", "waiting"]
        skipped = await typed_beside("copies", "skip", "<m2@example.test>", folder=tmp_path)
        assert skipped.out == "1 Sent copy skipped.\n"
        assert states(s, tables.sent_copies) == ["waiting", "not_wanted", "waiting"]
        done = await typed_beside("copies", "skip", "--what", "dropbox", "--json", folder=tmp_path)
        assert done.json == {"sent_copies": 0, "dropbox": 1}
        assert [each["dropbox"]["state"] for each in s.desk.timeline()] == ["skipped", "waiting", "waiting"], third
        assert (await typed_beside("copies", folder=tmp_path)).code == 0
        (account,) = (await typed_beside("status", "--json", folder=tmp_path)).json["accounts"]
        assert account["waiting"]["crm"] == 2, "what is skipped does not wait"


@on_the_loop
async def test_of_a_message_that_is_kept_no_more_nothing_is_sent_or_filed(tmp_path: Path) -> None:
    """Of one whose body was let go of the header section is left, which is no mail. What is owed is not let go."""
    async with scene(tmp_path) as s:
        both, now = await given_up(s, 1), s.desk.clock.now()
        await s.desk.journal.record(DropboxPostponed(both, "550 no such CRM", None, now))
        await given_up(s, 2)
        await until(lambda: all(each["body"] for each in s.desk.rows(tables.messages)) or None, "the bodies to be read")
        let_go = await s.desk.database.write(lambda c: retention.expire(c, ADA, now + timedelta(days=1), None))
        assert let_go == 1, "the second one's dropbox copy waits"
        done = await typed_beside(*RETRY.split()[1:], folder=tmp_path)
        assert done.out == "1 Sent copy tried again now.\n2 skipped: their messages are not kept any more.\n"
        assert states(s, tables.sent_copies) == ["not_wanted", "waiting"]
        assert states(s, tables.dropbox_copies) == ["skipped", "waiting"]


@on_the_loop
async def test_without_a_daemon_and_of_mail_that_is_not_logged(tmp_path: Path) -> None:
    async with scene(tmp_path, contact=False) as s:
        await given_up(s, 1)
        listed = (await typed_beside("copies", "--json", folder=tmp_path)).json["copies"]
        assert [(each["message_id"], each["subject"]) for each in listed] == [("<m1@example.test>", None)]
    key = tmp_path / "data/store.key"
    key.touch(mode=0o600)
    key.write_text(KEY.hex() + "\n")
    seen = typed("copies", "skip", "--what", "sent_copies", folder=tmp_path)
    assert seen.out == "1 Sent copy skipped.\n"
    assert typed("copies", folder=tmp_path).code == 0


@on_the_loop
async def test_a_colleague_sees_and_decides_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        await given_up(s, 1)
        s.desk.accounts["bob@example.test"] = s.desk.accounts[ADA].model_copy(update={"address": "bob@example.test"})
        async with await s.token("bob", "bob@example.test") as bob:
            assert (await bob.get("/api/v1/copies")).json() == {"copies": []}
            done = await bob.post("/api/v1/copies/retry", json={"account": ADA})
            assert done.json() == {"sent_copies": 0, "dropbox": 0, "gone": 0}
            assert (await bob.post("/api/v1/copies/skip", json={})).status_code == 422
            assert (await bob.post("/api/v1/copies/retry", json={"what": "mails"})).status_code == 422
        async with await s.token("reads", may="read") as reads:
            assert (await reads.post("/api/v1/copies/retry", json={})).status_code == 403
        assert states(s, tables.sent_copies) == ["failed"]
