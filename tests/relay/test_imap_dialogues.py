"""Conversations of mail clients with the IMAP relay, each a file in `imap_dialogues`; its README says how they are
written."""

from __future__ import annotations

import asyncio
import base64
import re
from pathlib import Path

import pytest

from tests.looping import on_the_loop
from tests.relay.house import PASSWORD, plain
from tests.relay.imap_house import ADA, ImapHouse, PlayedProvider, Talk, imap_house

FOLDER = Path(__file__).parent / "imap_dialogues"
WORDS = {
    "{plain}": plain(),
    "{wrong}": plain(password="wrong"),
    "{user}": base64.b64encode(ADA.encode()).decode(),
    "{password}": base64.b64encode(PASSWORD.encode()).decode(),
    "{login}": f'LOGIN {ADA} "{PASSWORD}"',
}
LONG = re.compile(r"<LONG (\d+)>")


class Conversation:
    def __init__(self, here: ImapHouse, lines: list[str]) -> None:
        self.here = here
        self.lines = lines
        self.provider: Talk | None = None

    async def play(self) -> None:
        tls = "listen: imaps" in self.lines
        self.client = Talk(
            *await asyncio.open_connection(
                "localhost" if tls else "127.0.0.1",
                self.here.tls_port if tls else self.here.port,
                ssl=self.here.trust() if tls else None,
            )
        )
        for number, line in enumerate(self.lines, 1):
            try:
                async with asyncio.timeout(60):
                    await self.step(line)
            except (AssertionError, TimeoutError) as error:
                raise AssertionError(f"line {number}: {line}: {error or 'nothing came'}") from None
        self.client.close()

    async def step(self, line: str) -> None:
        match line[:3], line[3:]:
            case "C: ", "<TLS>":
                await self.client.writer.start_tls(self.here.trust(), server_hostname="localhost")
            case "C: ", "<HALF CLOSE>":
                self.client.writer.write_eof()
            case "P: ", "<END>":
                (await self.provided()).close()
            case (("C: " | "C:"), text):
                self.client.writer.write(self.spoken(text) + b"\r\n")
            case "C| ", text:
                self.client.writer.write(raw(self.filled(text)))
            case (("P: " | "P:"), text):
                (await self.provided()).writer.write(self.spoken(text) + b"\r\n")
            case "P| ", text:
                (await self.provided()).writer.write(raw(text))
            case "S: ", pattern:
                await self.expect(self.client, pattern)
            case (("U: " | "U:"), pattern):
                await self.expect(await self.provided(), pattern)
            case "GOT", sign_in:
                wanted = self.filled(sign_in.strip())
                assert wanted in self.here.provider.sign_ins, self.here.provider.sign_ins

    async def provided(self) -> Talk:
        if self.provider is None:
            self.provider = await self.here.provider.connections.get()
        return self.provider

    def filled(self, text: str) -> str:
        for word, value in WORDS.items():
            text = text.replace(word, value)
        return text

    def spoken(self, text: str) -> bytes:
        if found := LONG.fullmatch(text):
            return b"x" * int(found[1])
        return self.filled(text).encode()

    async def expect(self, talk: Talk, pattern: str) -> None:
        if pattern == "<END>":
            assert await talk.reader.read() == b""
            return
        line = await talk.hear()
        star = "* " if pattern.startswith("* ") else ""  # of an untagged answer: no wildcard
        wanted = ".*".join(map(re.escape, pattern.removeprefix(star).split("*")))
        assert line.startswith(star), f"came: {line!r}"
        assert re.fullmatch(wanted, line.removeprefix(star)), f"came: {line!r}"


def raw(text: str) -> bytes:
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


def provider_of(lines: list[str]) -> PlayedProvider:
    played = PlayedProvider()
    for line in lines:
        match line.split(" ", 2):
            case "provider", "before", words:
                played.before = words
            case "provider", "after", words:
                played.after = words
            case "provider", "refuses", words:
                played.refusal = words
    return played


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
@on_the_loop
async def test_dialogue(path: Path, tmp_path: Path) -> None:
    lines = path.read_text().splitlines()
    async with imap_house(tmp_path, provider=provider_of(lines)) as here:
        await Conversation(here, lines).play()
