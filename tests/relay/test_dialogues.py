"""Conversations with mail clients, each a file in `dialogues`; its README says how they are written."""

from __future__ import annotations

import asyncio
import base64
import re
from itertools import groupby
from pathlib import Path

import pytest

from proxyd.model import NotAccepted, SmtpReply
from tests.looping import on_the_loop
from tests.relay.house import PASSWORD, House, account, house, plain

FOLDER = Path(__file__).parent / "dialogues"
WORDS = {
    "{plain}": plain(),
    "{user}": base64.b64encode(b"ada@example.com").decode(),
    "{password}": base64.b64encode(PASSWORD.encode()).decode(),
}
LONG = re.compile(r"<LONG (\d+)>")
REFUSED = re.compile(r"(?:<(.+)> )?(\d{3}) (.*)")


class Conversation:
    def __init__(self, here: House, lines: list[str]) -> None:
        self.here = here
        self.lines = lines

    async def play(self) -> None:
        tls = "listen: smtps" in self.lines
        self.here.provider.script.extend(outcomes(self.lines))
        self.reader, self.writer = await asyncio.open_connection(
            "localhost" if tls else "127.0.0.1",
            self.here.tls_port if tls else self.here.port,
            ssl=self.here.trust() if tls else None,
        )
        for number, line in enumerate(self.lines, 1):
            try:
                async with asyncio.timeout(60):
                    await self.step(line)
            except (AssertionError, TimeoutError) as error:
                raise AssertionError(f"line {number}: {line}: {error or 'nothing came'}") from None
        self.writer.close()

    async def step(self, line: str) -> None:
        match line[:3], line[3:]:
            case "C: ", "<TLS>":
                await self.writer.start_tls(self.here.trust(), server_hostname="localhost")
            case "C: ", "<HALF CLOSE>":
                self.writer.write_eof()
            case (("C: " | "C:"), text):
                self.writer.write(self.spoken(text) + b"\r\n")
            case "C| ", text:
                self.writer.write(text.encode("latin-1").decode("unicode_escape").encode("latin-1"))
            case "S: ", "<END>":
                assert await self.reader.read() == b""
            case "S: ", pattern:
                self.expect(pattern, [(await self.reader.readline()).decode().removesuffix("\r\n")])
            case "GOT", rest:
                self.got(*rest.split(None, 1))

    def spoken(self, text: str) -> bytes:
        if found := LONG.fullmatch(text):
            return b"x" * int(found[1])
        for word, value in WORDS.items():
            text = text.replace(word, value)
        return text.encode()

    def got(self, what: str, text: str) -> None:
        envelope = self.here.provider.envelopes[-1]
        match what:
            case "MAIL":
                self.expect(text, [" ".join((envelope.sender or "<>", *envelope.parameters))])
            case "RCPT":
                self.expect(text, [" ".join((each.address, *each.parameters)) for each in envelope.recipients])
            case _:
                self.expect(text, self.here.provider.messages[-1].decode().split("\r\n"))

    def expect(self, pattern: str, lines: list[str]) -> None:
        wanted = re.compile(".*".join(map(re.escape, pattern.split("*"))))
        assert any(wanted.fullmatch(line) for line in lines), f"came: {lines}"


def outcomes(lines: list[str]) -> list[NotAccepted]:
    """What `provider:` lines ask for, one outcome for each run of them."""
    asked = []
    for is_provider, run in groupby(lines, lambda line: line.startswith("provider: ")):
        if is_provider:
            found = [m.groups() for line in run if (m := REFUSED.fullmatch(line.removeprefix("provider: ")))]
            about = [(address, SmtpReply(int(code), (text,))) for address, code, text in found]
            asked.append(NotAccepted(about[0][1], tuple(each for each in about if each[0])))
    return asked


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
@on_the_loop
async def test_dialogue(path: Path, tmp_path: Path) -> None:
    async with house(tmp_path, account("ada@example.com", "sales@example.com")) as here:
        await Conversation(here, path.read_text().splitlines()).play()
