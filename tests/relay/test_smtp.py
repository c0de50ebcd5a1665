"""Messages through the relay over real sockets: octets in are octets out; what is too much is refused, and said."""

from __future__ import annotations

import asyncio
import hashlib
import smtplib
import socket
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxyd.formats.smtp_client import Offer
from proxyd.model import Envelope, Recipient
from proxyd.relay import desk, dialogue
from proxyd.store.tables import chunks
from tests.looping import on_the_loop
from tests.relay.house import MESSAGE, PASSWORD, House, Talk, account, house, plain, stuffed

DATE = b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
HEAD = b"From: Ada <ada@example.com>\r\nTo: bob@example.net\r\nMessage-ID: <1@example.com>\r\n" + DATE
EVERY_OCTET = bytes(octet for octet in range(256) if octet not in b"\0\r\n")

CORPUS = {
    "plain": MESSAGE,
    "8-bit": HEAD + b"\r\n" + EVERY_OCTET * 20 + b"\r\n",
    "8-bit header": HEAD + "Subject: Grüße\r\n".encode() + "X: Grüße\r\n".encode("latin-1") + b"\r\nHello\r\n",
    "one line of 100 KB": HEAD + b"\r\n" + b"x" * 100_000 + b"\r\nend\r\n",
    "a header line of 100 KB": HEAD + b"X-Long: " + b"y" * 100_000 + b"\r\n\r\nHello\r\n",
    "leading dots": HEAD + b"\r\n.\r\n..\r\n...\r\n.a\r\n\r\n.\r\n",
    "empty body": HEAD + b"\r\n",
    "no blank line": HEAD,
    "white space kept": HEAD + b"Subject:   two  spaces \t\r\n\tfolded  \r\n\r\n  indented \r\n-- \r\nAda\r\n   \r\n",
    "odd header order and case": b"fRoM:ada@example.com\r\nDATE : Mon, 23 Nov 2026\r\nMESSAGE-ID:<1@e>\r\n\r\nx\r\n",
    "10,000 header fields": HEAD + b"".join(b"X-%d: %d\r\n" % (i, i) for i in range(10_000)) + b"\r\nHello\r\n",
    "S/MIME": HEAD
    + b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256;\r\n boundary="b"\r\n'
    b"\r\nThis is S/MIME\r\n--b\r\nContent-Type: text/plain\r\n\r\nsigned  \r\n--b\r\n"
    b"Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\nMIIB\r\n--b--\r\n",
    "PGP": HEAD + b"\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nhQEM\r\n=abcd\r\n-----END PGP MESSAGE-----\r\n",
    "DKIM": b"DKIM-Signature: v=1; a=rsa-sha256; c=simple; d=example.com; s=k;\r\n\th=from:to; bh=4711=;\r\n\tb=ab=\r\n"
    + MESSAGE,
    "ends in many empty lines": HEAD + b"\r\nHello" + b"\r\n" * 500,
    "a message inside": HEAD + b"Content-Type: message/rfc822\r\n\r\n" + MESSAGE,
}


@pytest.mark.parametrize("name", CORPUS)
@on_the_loop
async def test_octets_in_are_octets_out(name: str, tmp_path: Path) -> None:
    message = CORPUS[name]
    async with house(tmp_path) as here:
        client = await here.signed_in()
        assert await client.send(message) == "250 2.0.0 OK queued as 4711"
        assert here.provider.messages == [message]
        client.close()


@pytest.mark.parametrize("body", [b"", b"\r\n", b"no header at all\r\n", b"\r\njust a body\r\n"], ids=repr)
@on_the_loop
async def test_without_any_header_field_an_id_and_a_date_come_first(body: bytes, tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        client = await here.signed_in()
        assert (await client.send(body or b"\r\n")).startswith("250")
        [got] = here.provider.messages
        added, _, rest = got.partition(b"\r\nDate: ")
        assert added.startswith(b"Message-ID: <")
        assert len(added) <= 64 + len("Message-ID: ")
        assert added.endswith(b"@example.com>")
        assert rest.partition(b"\r\n")[2] == (body or b"\r\n")
        client.close()


@on_the_loop
async def test_only_what_is_for_us_is_taken_out(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        client = await here.signed_in()
        marked = MESSAGE.replace(b"Subject:", b"X-CRM-Log: no\r\nBcc: carol@example.org\r\nSubject:")
        assert (await client.send(marked, "bob@example.net", "carol@example.org")).startswith("250")
        assert here.provider.messages == [MESSAGE]
        client.close()


@on_the_loop(timeout=60)
async def test_25_megabytes(tmp_path: Path) -> None:
    line = bytes(range(48, 124)) + b"\r\n"
    body = line * (25 * 1024 * 1024 // len(line))
    async with house(tmp_path) as here:
        client = await here.signed_in()
        assert await client.send(HEAD + b"\r\n" + body) == "250 2.0.0 OK queued as 4711"
        assert hashlib.sha256(here.provider.messages[0]).digest() == hashlib.sha256(HEAD + b"\r\n" + body).digest()
        client.close()


@on_the_loop
async def test_a_message_in_single_octets(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        client = await here.signed_in()
        await client.mail()
        for octet in stuffed(CORPUS["leading dots"]):
            client.writer.write(bytes([octet]))
            await asyncio.sleep(0)
        assert (await client.hear()).startswith("250")
        assert here.provider.messages == [CORPUS["leading dots"]]
        client.close()


@on_the_loop
async def test_too_big_while_it_comes(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        here.provider.offer = Offer(size=20_000)
        client = await here.signed_in()
        answer = await client.send(HEAD + b"\r\n" + b"x" * 998 * 30 + b"\r\n")
        assert answer.startswith("552 5.3.4 ")
        assert (await client.send()).startswith("250")  # the connection goes on
        assert here.provider.messages == [MESSAGE]
        client.close()


@on_the_loop
async def test_a_header_section_beyond_4_mebibytes(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        client = await here.signed_in()
        answer = await client.send(HEAD + b"X: " + b"y" * (4 * 1024 * 1024) + b"\r\n\r\nHello\r\n")
        assert answer.startswith("552 5.3.4 The header section")
        assert here.provider.messages == []
        client.close()


@on_the_loop
async def test_a_thousand_recipients_and_no_more(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        client = await here.signed_in()
        await client.say("MAIL FROM:<ada@example.com>", "250")
        for i in range(dialogue.RECIPIENTS):
            client.writer.write(b"RCPT TO:<r%d@example.net>\r\n" % i)
        assert [await client.hear() for _ in range(dialogue.RECIPIENTS)] == ["250 2.1.5 OK"] * dialogue.RECIPIENTS
        await client.say("RCPT TO:<one.more@example.net>", "452 4.5.3")
        await client.say("DATA", "354")
        assert (await client.content(MESSAGE)).startswith("250")
        assert len(here.provider.envelopes[0].recipients) == dialogue.RECIPIENTS
        client.close()


@on_the_loop
async def test_a_hundred_connections_and_no_more(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        clients = [await here.connect() for _ in range(desk.CONNECTIONS)]
        late = Talk(*await asyncio.open_connection("127.0.0.1", here.port))
        assert (await late.hear()).startswith("421 4.3.2")
        assert await late.hear() == ""
        clients[0].writer.close()
        await clients[0].writer.wait_closed()
        while (again := Talk(*await asyncio.open_connection("127.0.0.1", here.port))) and not (
            await again.hear()
        ).startswith("220"):
            again.close()
        for each in (*clients, late, again):
            each.close()


@on_the_loop
async def test_a_client_that_leaves_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        client = await here.signed_in()
        await client.mail()
        client.writer.write(MESSAGE + b"x" * 700_000)
        await client.writer.drain()
        client.writer.transport.abort()
        other = await here.signed_in()
        assert (await other.send()).startswith("250")
        assert here.provider.messages == [MESSAGE]
        other.close()
        with here.database.reading() as connection:
            kept = connection.scalars(sa.select(chunks.c.owner).distinct()).all()
        assert len(kept) == 1  # the whole one, until its Sent copy is settled


@on_the_loop
async def test_the_provider_is_warmed_when_the_client_comes(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        client = await here.connect()
        assert here.provider.warmed == 1
        client.close()
    async with house(tmp_path, account("ada@example.com"), account("bob@example.com")) as here:
        client = await here.connect()
        assert here.provider.warmed == 0  # whose provider, nobody knows yet
        await client.say("EHLO x", "250")
        await client.say(f"AUTH PLAIN {plain('bob@example.com')}", "235")
        assert here.provider.warmed == 1
        client.close()


@on_the_loop
async def test_what_providers_do_not_all_have_is_not_offered_before_the_login(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        here.provider.offer = Offer(keywords=frozenset({"DSN"}))
        client = await here.connect()
        answer = await client.say("EHLO x", "250")
        assert "|250-DSN|" in answer
        assert "8BITMIME" not in answer
        here.provider.offer = None
        assert "DSN" not in await client.say("EHLO x", "250")
        client.close()


@on_the_loop
async def test_an_account_taken_out_of_the_configuration_sends_no_more(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        client = await here.signed_in()
        here.accounts.clear()
        await client.say("MAIL FROM:<ada@example.com>", "530")
        client.close()


@on_the_loop
async def test_replies_leave_at_once(tmp_path: Path) -> None:
    """Nagle's delay would cost 40 ms a message; asyncio switches it off, and this notices if that ever ends."""
    async with house(tmp_path) as here:
        client = await here.connect()
        [connection] = here.relay._desk._connections
        sock = connection.transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        client.close()


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
@on_the_loop
async def test_with_smtplib(tls: str, tmp_path: Path) -> None:
    async with house(tmp_path) as here:

        def send() -> dict[str, tuple[int, bytes]]:
            client: smtplib.SMTP
            if tls == "implicit":
                client = smtplib.SMTP_SSL("localhost", here.tls_port, context=here.trust())
            else:
                client = smtplib.SMTP("localhost", here.port)
                client.starttls(context=here.trust())
            with client:
                client.login("ada@example.com", PASSWORD)
                return client.sendmail("ada@example.com", ["bob@example.net"], MESSAGE, ["BODY=8BITMIME"])

        assert await asyncio.to_thread(send) == {}
        assert here.provider.messages == [MESSAGE]
        assert here.provider.envelopes[0] == Envelope(
            "ada@example.com", (Recipient("bob@example.net"),), ("BODY=8BITMIME",)
        )


async def throw(here: House, octets: bytes) -> None:
    """Send octets, read whatever comes until the connection has ended."""
    client = Talk(*await asyncio.open_connection("127.0.0.1", here.port))
    client.writer.write(octets)
    client.writer.write_eof()
    async with asyncio.timeout(60):
        answer = await client.reader.read()
    assert answer.startswith(b"220 ")
    assert all(line[:3].isdigit() for line in answer.splitlines())
    client.close()


WORDS = st.sampled_from(
    [b"EHLO x\r\n", f"AUTH PLAIN {plain()}\r\n".encode(), b"MAIL FROM:<ada@example.com>\r\n", b"RCPT TO:<b@c.de>\r\n",
     b"DATA\r\n", b".\r\n", b"\r\n", b"\n", b"AUTH LOGIN\r\n", b"*\r\n", b"RSET\r\n", b"QUIT\r\n", b"NOOP\r\n", b"\0",
     b"From: ada@example.com\r\n", b"STARTTLS\r\n", b"AUTH PLAIN\r\n", b"AUTH LOGIN =\r\n", b"BDAT 3\r\n"]
)  # fmt: skip


def test_garbage_ends_a_connection_and_not_the_daemon(tmp_path: Path) -> None:
    """One daemon, many clients that send anything; after all of them a message still goes through."""
    cases: list[bytes] = []

    @settings(max_examples=120, suppress_health_check=list(HealthCheck), database=None)
    @given(
        st.one_of(
            st.binary(max_size=400), st.lists(st.one_of(WORDS, st.binary(max_size=20)), max_size=15).map(b"".join)
        )
    )
    def collect(octets: bytes) -> None:
        cases.append(octets)

    collect()

    @on_the_loop(timeout=100)
    async def play() -> None:
        async with house(tmp_path) as here:
            unheard: list[object] = []
            asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unheard.append(context))
            for octets in cases:
                await throw(here, octets)
            client = await here.signed_in()
            assert (await client.send()).startswith("250")
            asyncio.get_running_loop().set_exception_handler(None)
            assert unheard == []
            client.close()

    play()
