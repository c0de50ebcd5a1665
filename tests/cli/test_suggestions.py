from __future__ import annotations

from pathlib import Path

from proxyd.formats.message import heading
from proxyd.model import Found, Sent, SmtpReply
from proxyd.rules.suggestions import suggest
from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.web.served import Served, served


async def suggested(s: Served, *numbers: int) -> None:
    d = s.desk
    await d.add_contact(GRACE)
    begun = await d.begin(message())
    await d.journal.record(Sent(begun.id, SmtpReply(250, ("OK",)), d.clock.now()))
    live = await d.journal.suggestions.threads(ADA, await d.journal.suggestions.people(ADA))
    for n in numbers:
        said = heading(message(f"New [bold] {n}", id=f"n{n}@customer.test", sender=GRACE, to=ADA))
        found = suggest(said, live)
        assert found is not None
        assert await d.journal.suggestions.add(ADA, Found("INBOX", 1, n), said, found)


def test_nothing_is_suggested_yet(tmp_path: Path) -> None:
    assert typed("suggestions", folder=tmp_path).out == "Nothing is suggested.\n"
    assert typed("suggestions", "refuse", "01K", folder=tmp_path).code == 1


@on_the_loop
async def test_listed_accepted_and_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await suggested(s, 1, 2, 3)
        shown = await typed_beside("suggestions", folder=tmp_path)
        assert "New [bold] 1" in shown.out
        document = await typed_beside("suggestions", "--json", folder=tmp_path)
        first, second, _ = (each["id"] for each in document.json["suggestions"])
        accepted = await typed_beside("suggestions", "accept", first[-8:], folder=tmp_path)
        assert (accepted.code, accepted.out[:10]) == (0, "Accepted: ")
        (waiting,) = await s.desk.journal.suggestions.waiting(ADA)
        assert waiting.id == first
        refused = await typed_beside("suggestions", "refuse", second, "nothing", "--json", folder=tmp_path)
        assert (refused.code, [each["state"] for each in refused.json["suggestions"]]) == (1, ["refused"])
        assert "no suggestion has the id 'nothing'" in refused.err
        left = await typed_beside("suggestions", "--account", ADA, "--json", folder=tmp_path)
        assert len(left.json["suggestions"]) == 1
        status, _ = await s.get(f"/api/v1/suggestions/{first}/accept")
        assert status == 405
        assert (await s.client.post(f"/api/v1/suggestions/{first}/accept")).status_code == 404


@on_the_loop
async def test_one_key_for_each(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await suggested(s, 1, 2, 3, 4)
        listed = [each["id"] for each in (await s.get("/api/v1/suggestions"))[1]["suggestions"]]
        asked = await typed_beside("suggestions", "--ask", folder=tmp_path, keys="arsq")
        assert (asked.code, asked.out.count("a accept, r refuse")) == (0, 4)
        assert [each.id for each in await s.desk.journal.suggestions.waiting(ADA)] == [listed[0]]
        left = (await s.get("/api/v1/suggestions"))[1]["suggestions"]
        assert [each["id"] for each in left] == listed[2:]
