"""The client's side of SMTP without I/O: replies, offers, commands, the plan of a transaction, dot stuffing."""

from __future__ import annotations

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats import smtp_client as form
from proxyd.formats.smtp_client import DotStuffer, LineEnds, Offer, Plan, ReplyReader, Unsendable
from proxyd.model import Envelope, NotAccepted, Recipient, SmtpReply

# --- replies


@pytest.mark.parametrize(
    ("octets", "replies"),
    [
        pytest.param(b"250 ok\r\n", [SmtpReply(250, ("ok",))], id="one line"),
        pytest.param(b"250\r\n", [SmtpReply(250, ("",))], id="a code alone"),
        pytest.param(b"250-a\r\n250-\r\n250 c\r\n", [SmtpReply(250, ("a", "", "c"))], id="several lines"),
        pytest.param(b"250 ok\n354 go\n", [SmtpReply(250, ("ok",)), SmtpReply(354, ("go",))], id="lone LF"),
        pytest.param(b"250-mixed\n250 ends\r\n", [SmtpReply(250, ("mixed", "ends"))], id="mixed line ends"),
        pytest.param(b"250-a\r\n550 b\r\n", [SmtpReply(550, ("a", "b"))], id="the last line's code counts"),
        pytest.param("250 grüß\r\n".encode(), [SmtpReply(250, ("grüß",))], id="UTF-8"),
        pytest.param(b"250 gr\xfc\xdf\r\n", [SmtpReply(250, ("gr��",))], id="not UTF-8"),
        pytest.param(b"250 a\rb\0c\x1b[1m\r\n", [SmtpReply(250, ("a b c [1m",))], id="control characters"),
        pytest.param(b"250  two spaces\r\n", [SmtpReply(250, (" two spaces",))], id="only one space is taken away"),
    ],
)
def test_replies_cut_at_every_octet(octets: bytes, replies: list[SmtpReply]) -> None:
    for cut in range(len(octets) + 1):
        reader = ReplyReader()
        assert reader.feed(octets[:cut]) + reader.feed(octets[cut:]) == replies
        assert not reader.fault
        assert not reader.pending
    reader = ReplyReader()
    assert [reply for octet in octets for reply in reader.feed(bytes([octet]))] == replies


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"\r\n", id="empty line"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", id="a web server"),
        pytest.param(b"25 ok\r\n", id="two digits"),
        pytest.param(b"2500 ok\r\n", id="four digits"),
        pytest.param(b"199 ok\r\n", id="code below 200"),
        pytest.param(b"600 ok\r\n", id="code above 599"),
        pytest.param("٢٥٠ ok\r\n".encode(), id="digits of another script"),
        pytest.param(b"250_ok\r\n", id="no space"),
        pytest.param(b"\x16\x03\x01\x00\x01", id="a TLS record without a line end"),
        pytest.param(b"250-" + b"x" * 9000 + b"\r\n", id="a line too long"),
        pytest.param(b"250 " + b"x" * 9000, id="a line that does not end"),
        pytest.param(b"250-x\r\n" * 300, id="a reply that does not end"),
    ],
)
def test_no_smtp(octets: bytes) -> None:
    reader = ReplyReader()
    good = reader.feed(b"220 hello\r\n" + octets)
    if octets.startswith(b"\x16"):
        assert reader.pending
        reader.feed(b"\n")
    assert good == [SmtpReply(220, ("hello",))]
    assert reader.fault
    assert reader.fault.isprintable()
    assert reader.feed(b"250 ok\r\n") == []


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_octets_in_any_pieces_are_read_alike(pieces: list[bytes]) -> None:
    whole, split = ReplyReader(), ReplyReader()
    expected = whole.feed(b"".join(pieces))
    assert [reply for piece in pieces for reply in split.feed(piece)] == expected
    assert split.fault == whole.fault
    assert split.pending == whole.pending
    assert all(line.isprintable() or not line.isascii() for reply in expected for line in reply.lines)


words = st.text(st.characters(blacklist_categories=("C", "Zl", "Zp")), max_size=30)


@given(st.lists(st.tuples(st.integers(200, 599), st.lists(words, min_size=1, max_size=4)), max_size=5), st.randoms())
def test_what_a_server_writes_is_what_we_read(replies: list[tuple[int, list[str]]], chance: object) -> None:
    octets = b"".join(
        f"{code}{'-' if number < len(lines) - 1 else ' '}{line}\r\n".encode()
        for code, lines in replies
        for number, line in enumerate(lines)
    )
    reader, read = ReplyReader(), []
    while octets:
        cut = chance.randint(1, len(octets))  # type: ignore[attr-defined]
        read += reader.feed(octets[:cut])
        octets = octets[cut:]
    assert read == [SmtpReply(code, tuple(lines)) for code, lines in replies]


@pytest.mark.parametrize(
    ("text", "code"),
    [("5.7.8 Bad", "5.7.8"), ("5.7.139", "5.7.139"), ("5.7 Bad", ""), ("Bad 5.7.8", ""), ("", "")],
    ids=["with words", "alone", "two numbers", "not at the start", "empty"],
)
def test_enhanced_code(text: str, code: str) -> None:
    assert form.enhanced_code(SmtpReply(535, (text,))) == code


def test_printable_is_one_short_line() -> None:
    assert form.printable("a\r\nb\0\x1b[31m\u2028c" + "x" * 1000) == ("a b [31m c" + "x" * 1000)[:400]


# --- offers


@pytest.mark.parametrize(
    ("lines", "offer"),
    [
        pytest.param((), Offer(), id="nothing"),
        pytest.param(("SIZE 1000",), Offer(1000, (), frozenset({"SIZE"})), id="size"),
        pytest.param(("size",), Offer(0, (), frozenset({"SIZE"})), id="size without a limit"),
        pytest.param(("SIZE much",), Offer(0, (), frozenset({"SIZE"})), id="size that is no number"),
        pytest.param(("SIZE " + "9" * 5000,), Offer(0, (), frozenset({"SIZE"})), id="size that is a bomb"),
        pytest.param(("AUTH plain LOGIN",), Offer(None, ("PLAIN", "LOGIN"), frozenset({"AUTH"})), id="auth"),
        pytest.param(
            ("AUTH=LOGIN", "AUTH LOGIN PLAIN"), Offer(None, ("LOGIN", "PLAIN"), frozenset({"AUTH"})), id="old"
        ),
        pytest.param(("", " ", "DSN"), Offer(None, (), frozenset({"DSN"})), id="empty lines"),
    ],
)
def test_offer(lines: tuple[str, ...], offer: Offer) -> None:
    assert form.read_offer(SmtpReply(250, ("mail.example", *lines))) == offer


def test_what_an_offer_tells() -> None:
    offer = form.read_offer(
        SmtpReply(250, ("x", "PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "STARTTLS", "SIZE 5"))
    )
    assert offer.pipelining
    assert offer.eight_bit
    assert offer.smtputf8
    assert offer.dsn
    assert offer.chunking
    assert offer.starttls
    assert form.read_offer(SmtpReply(250, ("PIPELINING",))).pipelining is False  # the first line is a greeting


# --- commands


@pytest.mark.parametrize(
    "address",
    ["a@b", "", '"a b"@c', '"a>b"@c', r'"a\"b"@c', "grüße@müller.example", "a+b=c/d@[IPv6:::1]", "@r1,@r2:a@b"],
)
def test_addresses_that_pass(address: str) -> None:
    assert form.mail(address) == f"MAIL FROM:<{address}>\r\n".encode()


@pytest.mark.parametrize(
    "address",
    [
        "a@b>\r\nRCPT TO:<c@d",
        "a\nb",
        "a\rb",
        "a\0b",
        "a@b> SIZE=1",
        "a b@c",
        "<a@b>",
        '"a@b',
        "a@b\x85",
        "a\ud800@b",
        '"\n"@c',
    ],
    ids=repr,
)
def test_addresses_that_would_break_the_line(address: str) -> None:
    with pytest.raises(Unsendable):
        form.mail(address)
    with pytest.raises(Unsendable):
        form.rcpt(address)


@pytest.mark.parametrize("parameter", ["X=1\r\nDATA", "X=a b", "", "=x", "X=\0", "X="], ids=repr)
def test_parameters_that_would_break_the_line(parameter: str) -> None:
    with pytest.raises(Unsendable):
        form.rcpt("a@b", [parameter])


@given(st.text(max_size=40), st.lists(st.text(max_size=20), max_size=3))
def test_no_text_makes_two_lines(address: str, parameters: list[str]) -> None:
    try:
        line = form.rcpt(address, parameters)
    except Unsendable:
        return
    assert line.endswith(b"\r\n")
    assert not {b"\r", b"\n", b"\0"} & {line[i : i + 1] for i in range(len(line) - 2)}


def test_commands_and_secrets() -> None:
    with pytest.raises(Unsendable):
        form.command("EHLO a\r\nNOOP")
    assert form.bdat_last(12) == b"BDAT 12 LAST\r\n"
    assert base64.b64decode(form.auth_plain("ä", "ö")) == "\0ä\0ö".encode()
    assert base64.b64decode(form.auth_login("ä")) == "ä".encode()
    with pytest.raises(Unsendable) as raised:
        form.auth_plain("ada", "sec\0ret")
    assert "ret" not in str(raised.value)


# --- the plan

ALL = form.read_offer(
    SmtpReply(250, ("x", "PIPELINING", "CHUNKING", "SIZE 1000", "8BITMIME", "SMTPUTF8", "DSN", "REQUIRETLS"))
)
BARE = Offer()
ONE = Envelope("ada@a", (Recipient("bob@b"),))
TWO = Envelope("ada@a", (Recipient("bob@b"), Recipient("carl@c")))


def planned(envelope: Envelope, offer: Offer, size: int = 10) -> Plan:
    plan = form.plan(envelope, offer, size)
    assert isinstance(plan, Plan)
    return plan


def test_one_flight_for_one_recipient() -> None:
    plan = planned(ONE, ALL)
    assert plan == Plan(
        b"MAIL FROM:<ada@a> SIZE=10\r\n", (b"RCPT TO:<bob@b>\r\n",), ("bob@b",), frozenset(), True, True
    )
    assert not planned(TWO, ALL).chunked
    assert not planned(ONE, BARE).chunked
    for lacking in ("PIPELINING", "CHUNKING"):
        assert not planned(ONE, Offer(keywords=ALL.keywords - {lacking})).chunked
    without = form.plan(ONE, ALL, 10, chunking=False)
    assert isinstance(without, Plan)
    assert not without.chunked


@pytest.mark.parametrize(
    ("parameters", "offer", "line"),
    [
        pytest.param(("BODY=8BITMIME",), ALL, "MAIL FROM:<a@b> BODY=8BITMIME SIZE=10", id="8BITMIME"),
        pytest.param(("BODY=8BITMIME", "RET=HDRS", "ENVID=x"), BARE, "MAIL FROM:<a@b>", id="nothing offered"),
        pytest.param(("ret=HDRS", "EnvId=x+2By"), ALL, "MAIL FROM:<a@b> ret=HDRS EnvId=x+2By SIZE=10", id="verbatim"),
        pytest.param(("SMTPUTF8",), ALL, "MAIL FROM:<a@b> SMTPUTF8 SIZE=10", id="SMTPUTF8"),
        pytest.param(("REQUIRETLS",), ALL, "MAIL FROM:<a@b> REQUIRETLS SIZE=10", id="REQUIRETLS"),
        pytest.param(("X-ODD=1",), ALL, "MAIL FROM:<a@b> SIZE=10", id="unknown"),
    ],
)
def test_mail_parameters(parameters: tuple[str, ...], offer: Offer, line: str) -> None:
    plan = planned(Envelope("a@b", (Recipient("c@d"),), parameters), offer)
    assert plan.mail == line.encode() + b"\r\n"


def test_rcpt_parameters() -> None:
    envelope = Envelope("", (Recipient("c@d", ("NOTIFY=NEVER", "ORCPT=rfc822;c@d")),))
    assert planned(envelope, ALL).rcpts == (b"RCPT TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;c@d\r\n",)
    assert planned(envelope, BARE).rcpts == (b"RCPT TO:<c@d>\r\n",)
    assert planned(envelope, BARE).mail == b"MAIL FROM:<>\r\n"


@pytest.mark.parametrize(
    ("envelope", "offer", "size", "text"),
    [
        pytest.param(
            ONE, ALL, 1001, "552 5.3.4 The message has 1001 octets, the provider takes at most 1000", id="big"
        ),
        pytest.param(
            Envelope("a@b", (Recipient("ü@d"),)),
            BARE,
            1,
            "550 5.6.7 The provider does not take internationalized addresses (SMTPUTF8)",
            id="an address needs SMTPUTF8",
        ),
        pytest.param(
            Envelope("a@b", (Recipient("c@d"),), ("SMTPUTF8",)),
            BARE,
            1,
            "550 5.6.7 The provider does not take internationalized addresses (SMTPUTF8)",
            id="the client needs SMTPUTF8",
        ),
        pytest.param(
            Envelope("a@b", (Recipient("c@d"),), ("REQUIRETLS",)),
            BARE,
            1,
            "550 5.7.30 The provider does not offer REQUIRETLS",
            id="a promise",
        ),
        pytest.param(
            Envelope("a@b", (Recipient("c@d"),), ("BODY=BINARYMIME",)),
            ALL,
            1,
            "555 5.6.1 BODY=BINARYMIME is not supported",
            id="binary",
        ),
        pytest.param(Envelope("a@b", ()), ALL, 1, "554 5.5.1 No recipients", id="nobody"),
        pytest.param(
            Envelope("a\r\nb", (Recipient("c@d"),)),
            ALL,
            1,
            "501 5.1.7 The sender is an address that SMTP cannot carry",
            id="sender that breaks the line",
        ),
    ],
)
def test_refused_without_asking(envelope: Envelope, offer: Offer, size: int, text: str) -> None:
    plan = form.plan(envelope, offer, size)
    assert isinstance(plan, NotAccepted)
    assert plan.reply.text == text


def test_each_recipient_that_cannot_be_sent_is_named() -> None:
    plan = form.plan(Envelope("a@b", (Recipient("c@d"), Recipient("e f@g"), Recipient("h>@i"))), ALL, 1)
    assert isinstance(plan, NotAccepted)
    assert [address for address, _ in plan.about] == ["e f@g", "h>@i"]
    assert plan.reply.code == 501


def test_an_international_address_gets_its_parameter() -> None:
    plan = planned(Envelope("a@b", (Recipient("ü@d"),)), ALL)
    assert plan.mail == b"MAIL FROM:<a@b> SMTPUTF8 SIZE=10\r\n"
    assert plan.rcpts == ("RCPT TO:<ü@d>\r\n".encode(),)


YES, LATER, NEVER = SmtpReply(250), SmtpReply(450, ("greylisted",)), SmtpReply(550, ("no such user",))


@pytest.mark.parametrize(
    ("mail", "rcpts", "expected"),
    [
        pytest.param(YES, [("a", YES), ("b", SmtpReply(251))], None, id="all taken"),
        pytest.param(NEVER, [], NotAccepted(NEVER), id="MAIL refused"),
        pytest.param(LATER, [("a", SmtpReply(503))], NotAccepted(LATER), id="MAIL refused, RCPT out of order"),
        pytest.param(YES, [("a", YES), ("b", NEVER)], NotAccepted(NEVER, (("b", NEVER),)), id="one of two"),
        pytest.param(YES, [("a", LATER), ("b", YES)], NotAccepted(LATER, (("a", LATER),)), id="later"),
        pytest.param(
            YES, [("a", LATER), ("b", NEVER)], NotAccepted(NEVER, (("a", LATER), ("b", NEVER))), id="permanent speaks"
        ),
    ],
)
def test_all_or_none(mail: SmtpReply, rcpts: list[tuple[str, SmtpReply]], expected: NotAccepted | None) -> None:
    assert form.refusal(mail, rcpts) == expected


# --- content


def unstuffed(wire: bytes) -> bytes:
    """What a strict server reads: another reading of RFC 5321 section 4.5.2, line by line."""
    lines = wire.split(b"\r\n")
    assert lines[-2:] == [b".", b""]
    assert b"." not in lines[:-2]
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:-2])


def stuffed(*chunks: bytes) -> bytes:
    stuffer = DotStuffer()
    return b"".join([stuffer.feed(chunk) for chunk in chunks]) + stuffer.end()


pieces = st.sampled_from([b".", b"..", b"a", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"\0", b"\xff", b"a.b", b"\r\n\r\n"])


@given(st.lists(pieces, max_size=30).map(b"".join), st.lists(st.integers(0, 80), max_size=12))
def test_unstuffed_is_what_was_stuffed_however_it_was_cut(content: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    chunks = [content[start:end] for start, end in itertools.pairwise(places)]
    assert stuffed(*chunks) == stuffed(content)
    whole = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    assert unstuffed(stuffed(content)) == whole


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b".\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"\r\n.\r\n", b"\r\n..\r\n.\r\n"),
        (b"...\r\n", b"....\r\n.\r\n"),
    ],
    ids=repr,
)
def test_stuffed(content: bytes, wire: bytes) -> None:
    assert stuffed(content) == wire
    assert stuffed(*(bytes([octet]) for octet in content)) == wire


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"."]), max_size=12), st.integers(0, 24))
def test_only_crlf_leaves(parts: list[bytes], cut: int) -> None:
    content = b"".join(parts)
    lone = b"\r" in content.replace(b"\r\n", b"") or b"\n" in content.replace(b"\r\n", b"")
    for make in (DotStuffer, LineEnds):
        reader = make()
        try:
            reader.feed(content[:cut])
            reader.feed(content[cut:])
            reader.end()
        except Unsendable:
            assert lone
        else:
            assert not lone
