"""`proxyd send`, typed beside a daemon's API whose provider answers by a script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from proxyd.formats.mime import BodyReader
from proxyd.model import NotAccepted, SmtpReply
from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.web.served import served


@pytest.fixture(autouse=True)
def _the_daemons_log_is_elsewhere() -> Iterator[None]:
    with capture_logs():
        yield


@on_the_loop
async def test_a_file_is_sent_and_the_same_key_sends_nothing_again(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        letter = tmp_path / "letter.eml"
        letter.write_bytes(message())
        words = ("send", "--account", ADA, str(letter), "--idempotency-key", "k")
        seen = await typed_beside(*words, folder=tmp_path)
        assert (seen.code, seen.out.startswith("Sent <m1@example.test>: 250")) == (0, True)
        assert (await typed_beside(*words, "--json", folder=tmp_path)).json["state"] == "sent"
        assert len(s.provider.messages) == 1


@on_the_loop
async def test_a_message_is_composed_by_options(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        file = tmp_path / "offer.pdf"
        file.write_bytes(b"%PDF")
        words = ("--to", f"Grace <{GRACE}>", "--subject", "Größe", "--text", "Dear Grace", "--attach", str(file))
        seen = await typed_beside("send", *words, "--log", "--json", folder=tmp_path)
        assert (seen.code, seen.json["logged"]) == (0, True)
        reader = BodyReader()
        reader.feed(s.provider.messages[0])
        body = reader.finish()
        assert (body.text, [each.type for each in body.attachments]) == ("Dear Grace", ["application/pdf"])


@on_the_loop
async def test_a_refusal_is_exit_status_1_with_the_providers_word(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        s.provider.script.append(NotAccepted(SmtpReply(550, ("5.1.1 no such user",))))
        seen = await typed_beside("send", "--to", GRACE, "--text", "x", folder=tmp_path)
        assert (seen.code, "550 5.1.1 no such user" in seen.err) == (1, True)


def test_without_a_daemon_or_without_a_message_nothing_is_sent(tmp_path: Path) -> None:
    assert "not running" in typed("send", "--to", GRACE, "--text", "x", folder=tmp_path).err
    assert typed("send", folder=tmp_path).code == 2
