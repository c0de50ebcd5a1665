"""Commands, paths and parameters that clients send, and what they hear when these are wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats import smtp_client
from proxyd.formats.smtp_client import Offer
from proxyd.formats.smtp_dialogue import (
    OWN_SIZE_LIMIT,
    SIZE_ALLOWANCE,
    Command,
    Extensions,
    MailParameters,
    Path,
    command,
    extensions,
    is_address,
    mail_parameters,
    octets,
    one_line,
    path,
    rcpt_parameters,
    reply,
)
from proxyd.model import SmtpReply

ALL = Extensions(size=1000, eight_bit=True, smtputf8=True, dsn=True)
NONE = Extensions(size=1000)


@pytest.mark.parametrize(
    ("line", "read"),
    [
        pytest.param(b"EHLO desk\r\n", Command("EHLO", "desk"), id="as it should be"),
        pytest.param(b"ehlo  desk \n", Command("EHLO", "desk"), id="lower case, spaces, a lone LF"),
        pytest.param(b"NOOP", Command("NOOP", ""), id="no argument"),
        pytest.param(
            "RCPT TO:<bärbel@example.com>\r\n".encode(), Command("RCPT", "TO:<bärbel@example.com>"), id="UTF-8"
        ),
        pytest.param(b"RCPT TO:<b\xe4rbel@example.com>\r\n", Command("", ""), id="Latin-1"),
        pytest.param(b"\r\n", Command("", ""), id="empty line"),
        pytest.param(b" EHLO desk\r\n", Command("", ""), id="begins with a space"),
        pytest.param(b"\x16\x03\x01\x02\r\n", Command("", ""), id="a TLS hello"),
        pytest.param(b"MAIL FROM:<a@b>\rRCPT\r\n", Command("", ""), id="CR inside"),
        pytest.param(b"NOOP \0\r\n", Command("", ""), id="NUL inside"),
    ],
)
def test_command(line: bytes, read: Command) -> None:
    assert command(line) == read


@pytest.mark.parametrize(
    ("argument", "read"),
    [
        ("FROM:<ada@example.com>", Path("ada@example.com")),
        ("from: <ada@example.com> SIZE=12  BODY=8BITMIME", Path("ada@example.com", ("SIZE=12", "BODY=8BITMIME"))),
        ("FROM:ada@example.com SIZE=12", Path("ada@example.com", ("SIZE=12",))),
        ("FROM:<>", Path("")),
        ('FROM:<"Ada L>"@example.com>', Path('"Ada L>"@example.com')),
        ("FROM:<@a.example,@b.example:ada@example.com>", Path("ada@example.com")),
        ("FROM:<ada..l@docomo.example>", Path("ada..l@docomo.example")),
        ("FROM:<ada@[127.0.0.1]>", Path("ada@[127.0.0.1]")),
        ("FROM:<ada@[IPv6:::1]>", Path("ada@[IPv6:::1]")),
        ("FROM:<bärbel@bücher.example> SMTPUTF8", Path("bärbel@bücher.example", ("SMTPUTF8",))),
    ],
)
def test_path(argument: str, read: Path) -> None:
    assert path(argument, "FROM") == read


@pytest.mark.parametrize(
    "argument",
    ["", "FROM", "FROM:", "TO:<ada@example.com>", "FROM:<ada@example.com", "FROM:<ada@example.com>SIZE=1",
     "FROM:<ada>", "FROM:<ada@>", "FROM:<@example.com>", "FROM:<a b@example.com>", "FROM:<ada@exam ple.com>",
     "FROM:<ada@@example.com>", "FROM:<<ada@example.com>>", 'FROM:<"ada@example.com>', "FROM:<ada@example..com>",
     "FROM:<" + "a" * 600 + "@example.com>"],
)  # fmt: skip
def test_path_refused(argument: str) -> None:
    answer = path(argument, "FROM")
    assert isinstance(answer, SmtpReply)
    assert answer.code == 501


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for argument in (text, f"TO:<{text}>", f"TO:<{text}@example.com> {text}"):
        read = path(argument, "TO")
        if isinstance(read, Path) and read.address:
            assert is_address(read.address)
            smtp_client.rcpt(read.address)  # what we accept, we can say to the provider
            parameters = rcpt_parameters(read.parameters, ALL)
            if isinstance(parameters, tuple):
                smtp_client.rcpt(read.address, parameters)


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ([], MailParameters()),
        (["SIZE=999"], MailParameters(size=999)),
        (["BODY=8BITMIME", "size=5"], MailParameters(("BODY=8BITMIME",), 5)),
        (["SMTPUTF8"], MailParameters(("SMTPUTF8",), smtputf8=True)),
        (["RET=hdrs", "ENVID=Qq+3D1"], MailParameters(("RET=hdrs", "ENVID=Qq+3D1"))),
        (["AUTH=<>"], MailParameters()),
    ],
)
def test_mail_parameters(words: list[str], read: MailParameters) -> None:
    assert mail_parameters(words, ALL) == read


@pytest.mark.parametrize(
    ("words", "offered", "code"),
    [
        pytest.param(["SIZE=1001"], ALL, 552, id="too big"),
        pytest.param(["SIZE=ten"], ALL, 501, id="no number"),
        pytest.param(["SIZE"], ALL, 501, id="no size"),
        pytest.param(["SIZE="], ALL, 501, id="empty size"),
        pytest.param(["SIZE=1", "SIZE=2"], ALL, 501, id="twice"),
        pytest.param(["BODY=BINARYMIME"], ALL, 501, id="binary"),
        pytest.param(["BODY=8BITMIME"], NONE, 555, id="8BITMIME not offered"),
        pytest.param(["SMTPUTF8"], NONE, 555, id="SMTPUTF8 not offered"),
        pytest.param(["SMTPUTF8=yes"], ALL, 501, id="SMTPUTF8 with a value"),
        pytest.param(["RET=FULL"], NONE, 555, id="DSN not offered"),
        pytest.param(["RET=SOME"], ALL, 501, id="bad RET"),
        pytest.param(["ENVID=a+3d"], ALL, 501, id="xtext in lower case"),
        pytest.param(["ENVID=" + "x" * 101], ALL, 501, id="long ENVID"),
        pytest.param(["REQUIRETLS"], ALL, 555, id="unknown"),
        pytest.param(["-X=1"], ALL, 501, id="no keyword"),
    ],
)
def test_mail_parameters_refused(words: list[str], offered: Extensions, code: int) -> None:
    answer = mail_parameters(words, offered)
    assert isinstance(answer, SmtpReply)
    assert answer.code == code


@pytest.mark.parametrize(
    "words",
    [[], ["NOTIFY=NEVER"], ["NOTIFY=success,Failure,DELAY"], ["ORCPT=rfc822;Bob+2Bx@Example.com", "NOTIFY=FAILURE"],
     ["ORCPT=utf-8;b\\x{E4}rbel@example.com"], ["ORCPT=utf-8;bärbel@example.com"]],
)  # fmt: skip
def test_rcpt_parameters_pass_as_they_are(words: list[str]) -> None:
    assert rcpt_parameters(words, ALL) == tuple(words)


@pytest.mark.parametrize(
    ("words", "offered", "code"),
    [
        pytest.param(["NOTIFY=NEVER,SUCCESS"], ALL, 501, id="never and"),
        pytest.param(["NOTIFY="], ALL, 501, id="empty"),
        pytest.param(["ORCPT=bob@example.com"], ALL, 501, id="no type"),
        pytest.param(["ORCPT=rfc822;b+2fb"], ALL, 501, id="xtext in lower case"),
        pytest.param(["ORCPT=rfc822;bärbel@example.com"], ALL, 501, id="xtext beyond ASCII"),
        pytest.param(["ORCPT=rfc822;" + "x" * 500], ALL, 501, id="long"),
        pytest.param(["NOTIFY=NEVER"], NONE, 555, id="DSN not offered"),
        pytest.param(["SIZE=3"], ALL, 555, id="MAIL's"),
    ],
)
def test_rcpt_parameters_refused(words: list[str], offered: Extensions, code: int) -> None:
    answer = rcpt_parameters(words, offered)
    assert isinstance(answer, SmtpReply)
    assert answer.code == code


@pytest.mark.parametrize(
    ("offers", "offered"),
    [
        pytest.param([], Extensions(OWN_SIZE_LIMIT - SIZE_ALLOWANCE), id="no account"),
        pytest.param([None], Extensions(OWN_SIZE_LIMIT - SIZE_ALLOWANCE), id="never seen"),
        pytest.param([Offer(35882577, keywords=frozenset({"8BITMIME", "DSN", "SMTPUTF8"}))],
                     Extensions(35882577 - SIZE_ALLOWANCE, True, True, True), id="one that has all"),
        pytest.param([Offer(0, keywords=frozenset({"8BITMIME"}))],
                     Extensions(OWN_SIZE_LIMIT - SIZE_ALLOWANCE, True), id="no limit named"),
        pytest.param([Offer(5000, keywords=frozenset({"8BITMIME", "DSN"})), Offer(9000, keywords=frozenset({"DSN"}))],
                     Extensions(904, dsn=True), id="what both have"),
        pytest.param([Offer(100)], Extensions(1), id="smaller than what we add"),
    ],
)  # fmt: skip
def test_extensions(offers: list[Offer | None], offered: Extensions) -> None:
    assert extensions(offers) == offered


def test_octets_of_a_reply() -> None:
    assert (
        octets(reply(250, "localhost", "PIPELINING", "SIZE 5")) == b"250-localhost\r\n250-PIPELINING\r\n250 SIZE 5\r\n"
    )
    assert octets(reply(550, "5.1.1 no\r\n250 yes")) == b"550 5.1.1 no 250 yes\r\n"


@given(st.text(), st.integers(1, 500))
def test_one_line_is_one_line(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert line.isascii()
    assert line.isprintable()
