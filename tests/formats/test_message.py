"""Header sections: what they say, and the forms in which they are kept and sent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats import message as message_format
from proxyd.formats.fields import fields, parts
from proxyd.formats.message import (
    copy_fingerprint,
    filed_form,
    heading,
    mailbox_key,
    message_ids,
    plain_ids,
    split_header,
    wire_form,
)
from proxyd.model import MailAddress
from proxyd.rules.notices import automatic

ADA = b"From: Ada <ada@example.com>\r\n"
FULL = b"Message-ID: <1@example.com>\r\nDate: Mon, 23 Nov 2026 10:02:11 +0000\r\n"

HEADERS = st.lists(
    st.sampled_from(
        [
            b"To: a@b.example, log@crm.localhost\r\n",
            b"Bcc: secret@b.example\r\n",
            b"bcc : folded@b.example,\r\n other@b.example\r\n",
            b"Subject: x\r\n",
            b"X-CRM-Log: yes\r\n",
            b"Message-ID: <1@a>\r\n",
            b"Date: today\r\n",
            b" stray continuation\r\n",
            b"no colon here\r\n",
            b"From ada@x Mon Nov 23\r\n",
            b'Cc: "unclosed <a@b>\r\n',
            b"To:\r\n\tlog@crm.localhost\r\n",
            b"X:\x00\xff\r\n",
            b"lone\rcr: x\r\n",
            b"lf: only\n",
        ]
    ),
    max_size=12,
).map(b"".join)
ANY_HEADER = st.one_of(st.binary(max_size=400), HEADERS, st.builds(lambda a, b: a + b"\r\n" + b, HEADERS, st.binary()))


# --- what it says ----------------------------------------------------------------------------------------------


def test_reads_an_ordinary_header() -> None:
    said = heading(
        b"Received: from x\r\n"
        b"Message-ID: <a.B@example.com>\r\n"
        b"In-Reply-To: <1@x>\r\n"
        b"References: <0@x>\r\n\t<1@x>\r\n"
        b"Date: Mon, 23 Nov 2026 11:02:11 +0100\r\n"
        b"From: =?utf-8?q?J=C3=B6rg?= <joerg@example.com>\r\n"
        b'To: "Hopper, Grace" <grace@customer.example>, Team: a@b.example, (c) c@d.example;\r\n'
        b"Cc: plain@x.example (Plain Name)\r\n"
        b"Subject: =?utf-8?b?QW5nZWI=?=\r\n =?utf-8?b?b3Q=?= 7\r\n"
        b"Content-Type: Multipart/Mixed; boundary=x\r\n"
        b"X-Microsoft-Original-Message-ID: <old@x>\r\n"
        b"\r\nTo: nobody@body.example\r\n"
    )
    assert said.message_id == "a.B@example.com"
    assert said.in_reply_to == ("1@x",)
    assert said.references == ("0@x", "1@x")
    assert said.original_ids == ("old@x",)
    assert said.date == datetime(2026, 11, 23, 10, 2, 11, tzinfo=UTC)
    assert said.from_ == (MailAddress("Jörg", "joerg@example.com"),)
    assert said.to == (
        MailAddress("Hopper, Grace", "grace@customer.example"),
        MailAddress("", "a@b.example"),
        MailAddress("c", "c@d.example"),
    )
    assert said.cc == (MailAddress("Plain Name", "plain@x.example"),)
    assert said.subject == "Angebot 7"
    assert said.content_type == "multipart/mixed"
    assert said.filed_by_transport
    assert said.crm_log is None


@pytest.mark.parametrize(
    ("fields", "mark"),
    [
        pytest.param(b"X-CRM-Log: yes\r\n", True, id="yes"),
        pytest.param(b"x-crm-log:TRUE\r\n", True, id="any case, no space"),
        pytest.param(b"X-CRM-Log : 1\r\n", True, id="space before the colon"),
        pytest.param(b"X-CRM-Log: No\r\n", False, id="no"),
        pytest.param(b"X-CRM-Log: false\r\n", False, id="false"),
        pytest.param(b"X-CRM-Log:\r\n 0\r\n", False, id="folded"),
        pytest.param(b"X-CRM-Log: yes\r\nX-CRM-Log: no\r\n", False, id="said twice: no wins"),
        pytest.param(b"X-CRM-Log: perhaps\r\n", None, id="a word we do not know"),
        pytest.param(b"X-CRM-Logger: no\r\n", None, id="another field"),
        pytest.param(b"", None, id="absent"),
        pytest.param(b"A: b\r\n" * 5000 + b"X-CRM-Log: no\r\n", False, id="the last of 5,000 fields"),
    ],
)
def test_mark(fields: bytes, mark: bool | None) -> None:
    assert heading(ADA + fields).crm_log is mark


@pytest.mark.parametrize(
    ("fields", "machine"),
    [
        pytest.param(b"Auto-Submitted: auto-replied\r\n", True, id="RFC 3834"),
        pytest.param(b"Auto-Submitted: no\r\nX-Autoreply: yes\r\n", False, id="RFC 3834 says no"),
        pytest.param(b"X-Autoreply: yes\r\n", True, id="X-Autoreply"),
        pytest.param(b"X-Autorespond: vacation\r\n", True, id="X-Autorespond"),
        pytest.param(b"Precedence: auto_reply\r\n", True, id="Precedence"),
        pytest.param(b"Precedence: bulk\r\n", False, id="bulk mail is no reply"),
        pytest.param(b"X-Auto-Response-Suppress: All\r\n", False, id="ticket systems set it on people's mail"),
        pytest.param(
            b"X-Auto-Response-Suppress: All\r\nX-MS-Exchange-Inbox-Rules-Loop: a@b\r\n", True, id="an Exchange rule"
        ),
        pytest.param(b"Subject: Automatische Antwort: Urlaub\r\n", True, id="out of office without any field"),
        pytest.param(b"Subject: =?utf-8?q?R=C3=A9ponse_automatique=C2=A0=3A_x?=\r\n", True, id="in French, encoded"),
        pytest.param(b"Subject: Re: Automatic reply: x\r\n", False, id="a person answers it"),
    ],
)
def test_auto_mail(fields: bytes, machine: bool) -> None:
    assert bool(automatic(heading(fields))) is machine


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        pytest.param(b"caf\xc3\xa9", "café", id="raw UTF-8"),
        pytest.param(b"caf\xe9 \x80", "café €", id="raw Windows-1252"),
        pytest.param(b"=?iso-8859-1?q?caf=E9?=", "café", id="Q"),
        pytest.param(b"=?UTF-8?B?w6nDqQ?=", "éé", id="base64 without its padding"),
        pytest.param(b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é", id="a character cut by two words"),
        pytest.param(b"a =?utf-8?q?b?= =?utf-8?q?c?= d", "a bc d", id="white space between words is none"),
        pytest.param(b"=?nonsense?q?a=E9?=", "aé", id="an unknown charset"),
        pytest.param(b"=?utf-8?x?abc?=", "=?utf-8?x?abc?=", id="an unknown encoding stays"),
        pytest.param(b"=?utf-8?b?####?=", "", id="base64 that is none"),
        pytest.param(b"=?utf-8*en?q?hi?=", "hi", id="a language (RFC 2231)"),
        pytest.param(b"=?utf-8?q?two words?=", "two words", id="a space where none may be"),
        pytest.param(b"=?utf-8?q?a=0D=0ABcc:_x=00?=", "a Bcc: x", id="line breaks and NUL do not get out"),
        pytest.param(b"=?punycode?q?abc?=", "abc", id="a codec that is none of mail's"),
        pytest.param(b"=?", "=?", id="half a word"),
    ],
)
def test_subject(subject: bytes, text: str) -> None:
    assert heading(b"Subject: " + subject + b"\r\n").subject == text


@pytest.mark.parametrize(
    ("date", "instant"),
    [
        pytest.param(b"Mon, 23 Nov 2026 10:02:11 GMT", datetime(2026, 11, 23, 10, 2, 11, tzinfo=UTC), id="GMT"),
        pytest.param(b"23 Nov 2026 10:02 -0000", datetime(2026, 11, 23, 10, 2, tzinfo=UTC), id="zone not known"),
        pytest.param(b"Mon, 23 Nov 2026 10:02:11", datetime(2026, 11, 23, 10, 2, 11, tzinfo=UTC), id="no zone"),
        pytest.param(b"yesterday", None, id="words"),
        pytest.param(b"Mon, 99 Foo 2026 99:99:99 +9999", None, id="impossible"),
        pytest.param(b"Fri, 31 Dec 9999 23:00:00 -2300", None, id="behind the end of time"),
        pytest.param(b"9" * 10_000, None, id="digits"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_date(date: bytes, instant: datetime | None) -> None:
    assert heading(b"Date: " + date + b"\r\n").date == instant


@given(ANY_HEADER)
def test_heading_never_raises(header: bytes) -> None:
    said = heading(header)
    for text in (said.subject, said.message_id, *(each.name for each in said.to)):
        assert "\r" not in text
        assert "\n" not in text
        assert "\x00" not in text


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"".join(b"X-F%d: some value here\r\n" % n for n in range(10_000)), id="10,000 fields"),
        pytest.param(b"To: " + b",\r\n ".join(b'"P %d" <p%d@x.example>' % (n, n) for n in range(10_000)), id="To"),
        pytest.param(b"To: " + b"(" * 200_000, id="comments never closed"),
        pytest.param(b"To: " + b'"\\' * 100_000, id="quotes never closed"),
        pytest.param(b"To: " + b'<"\\"' * 50_000, id="brackets never closed"),
        pytest.param(b"To: " + b"," * 200_000, id="nobody, a million times"),
        pytest.param(b"From: " + b" " * 200_000 + b"@", id="a million spaces"),
        pytest.param(b"Subject: " + b"=?a?q?" * 200_000, id="encoded words never closed"),
        pytest.param(b"References: " + b"<a@b> " * 200_000, id="references"),
        pytest.param(b"References: <(" + b" " * 100_000 + b"(a" * 15_000 + b">", id="comments in brackets"),
        pytest.param(b"To: a\r\n" + b" \r\n" * 300_000, id="folding"),
    ],
)
def test_hostile_headers_are_read_to_their_end(header: bytes) -> None:
    """What goes quadratic here takes hours: the run would not end."""
    filed_form(header, message_id="1@x", date="x")
    wire_form(header, hidden=frozenset({"a@b"}))
    assert len(heading(header).to) <= 2000
    assert len(heading(header).references) <= 100


# --- ids -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        pytest.param("<a@b>", ["a@b"], id="one"),
        pytest.param("<a@b><c@d>", ["a@b", "c@d"], id="no space between"),
        pytest.param("<a@b>,<c@d>;\t<e@f>", ["a@b", "c@d", "e@f"], id="commas, semicolons, tabs"),
        pytest.param("<a@b>\r\n <c@d>", ["a@b", "c@d"], id="folded"),
        pytest.param("<a\r\n b@c>", ["ab@c"], id="folded inside the brackets"),
        pytest.param("<A@b> <a@b> <A@b>", ["A@b", "a@b"], id="case is kept, doubles are not"),
        pytest.param("Your message of Monday <a@b>", ["a@b"], id="words around it"),
        pytest.param("ada@x.example's message <a@b>", ["a@b"], id="an address in the words is no id"),
        pytest.param("a@b", ["a@b"], id="without brackets"),
        pytest.param("<a@b>,c@d,\t<e@f>;g@h", ["a@b", "e@f", "c@d", "g@h"], id="some without brackets"),
        pytest.param("<a(said (so) once)@b> (Monday's)", ["a@b"], id="comments"),
        pytest.param("&lt;a@b&gt; &lt;c@d&gt;", ["a@b", "c@d"], id="as it stood on a page"),
        pytest.param("a@b, c@d", ["a@b", "c@d"], id="several without brackets"),
        pytest.param("message of Monday", [], id="words alone"),
        pytest.param("0100018f-ab", ["0100018f-ab"], id="one word alone is an id"),
        pytest.param("<no-at-sign>", ["no-at-sign"], id="brackets need no @"),
        pytest.param("<a@b", ["a@b"], id="bracket never closed"),
        pytest.param("<> < >", [], id="nothing in the brackets"),
        pytest.param("<a\x00@b> <c@d>", ["c@d"], id="NUL inside"),
        pytest.param("=?utf-8?q?=3Ca=40b=3E?=", ["a@b"], id="encoded as a word"),
        pytest.param("=?utf-8?q?=3Cab?= =?utf-8?q?c=40d=3E?=", ["abc@d"], id="encoded and cut in two"),
        pytest.param("<" + "x" * 999 + "@b> <a@b>", ["a@b"], id="longer than a line may be"),
        pytest.param(b"<\xc3\xa9@b>", ["é@b"], id="UTF-8"),
        pytest.param("", [], id="empty"),
    ],
)
def test_message_ids(value: str | bytes, ids: list[str]) -> None:
    assert list(message_ids(value)) == ids


def test_of_too_many_ids_the_root_and_the_nearest_are_kept() -> None:
    ids = message_ids(" ".join(f"<{n}@x>" for n in range(5000)))
    assert len(ids) == 100
    assert ids[0] == "0@x"
    assert ids[1:] == tuple(f"{n}@x" for n in range(4901, 5000))


@given(st.lists(st.from_regex(rb"[ \t]{0,2}<[!-~ ]{0,12}>[ \t,]{0,2}", fullmatch=True), max_size=5).map(b"".join))
def test_the_short_way_and_the_careful_way_agree(value: bytes) -> None:
    assert message_ids(value) == message_ids(value.decode("ascii"))


@given(st.one_of(st.text(), st.binary()))
def test_message_ids_never_raise_and_are_safe_to_search_for(value: str | bytes) -> None:
    for id in message_ids(value):
        assert id
        assert not any(character in id for character in "\r\n\x00")


# --- keys of mailboxes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param("ada@example.com", " Ada@EXAMPLE.com ", True, id="case and space"),
        pytest.param("<ada@example.com>", "ada@example.com.", True, id="brackets, the root's dot"),
        pytest.param('"ada"@example.com', "ada@example.com", True, id="quotes that are not needed"),
        pytest.param('"a b"@example.com', "a b@example.com", False, id="quotes that are needed"),
        pytest.param("ada@müller.example", "ada@xn--mller-kva.example", True, id="IDNA"),
        pytest.param("ada@MÜLLER.example", "ada@müller.example", True, id="IDNA, case"),
        pytest.param("ada@straße.example", "ada@strasse.example", False, id="IDNA 2008 keeps them apart"),
        pytest.param("ada+crm@example.com", "ada@example.com", False, id="a tag is another mailbox"),
        pytest.param("ada@example.com", "ada@example.org", False, id="another domain"),
        pytest.param("e\u0301@x.example", "é@x.example", True, id="composed or not"),
        pytest.param("ada", "ADA", True, id="no domain"),
    ],
)
def test_mailbox_key(one: str, other: str, same: bool) -> None:
    assert (mailbox_key(one) == mailbox_key(other)) is same


@given(st.text())
def test_mailbox_key_never_raises_and_is_stable(address: str) -> None:
    mailbox_key(address)
    mailbox_key("a@" + address)


@given(st.from_regex(r"[A-Za-z0-9.+_-]{1,20}@[A-Za-z0-9-]{1,10}\.[a-z]{2,5}", fullmatch=True))
def test_mailbox_key_of_a_key_is_itself(address: str) -> None:
    assert mailbox_key(mailbox_key(address)) == mailbox_key(address)


# --- where the header ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "end"),
    [
        pytest.param(b"A: b\r\n\r\nbody", 8, id="CRLF"),
        pytest.param(b"A: b\n\nbody", 6, id="LF"),
        pytest.param(b"A: b\r\n\nbody", 7, id="mixed"),
        pytest.param(b"\r\nbody", 2, id="no header at all"),
        pytest.param(b"\nbody", 1, id="no header at all, LF"),
        pytest.param(b"A: b\r\n", None, id="not yet"),
        pytest.param(b"A: b\r\n\r", None, id="half of it"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"A: b\r\r\n\r\n", 9, id="a lone CR ends no line"),
    ],
)
def test_split_header(octets: bytes, end: int | None) -> None:
    assert split_header(octets) == end


@given(ANY_HEADER, st.data())
def test_asking_while_it_arrives_finds_the_same_place(octets: bytes, data: st.DataObject) -> None:
    looked = 0
    found = None
    while found is None and looked < len(octets):
        more = data.draw(st.integers(1, len(octets) - looked))
        found = split_header(octets[: looked + more], looked)
        looked += more
    assert found == split_header(octets)


# --- the filed form ------------------------------------------------------------------------------------------------


def filed(header: bytes) -> bytes:
    return filed_form(header, message_id="new@example.com", date="Mon, 23 Nov 2026 10:00:00 +0000")


ADDED_ID = b"Message-ID: <new@example.com>\r\n"
ADDED_DATE = b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n"


@pytest.mark.parametrize(
    ("header", "form"),
    [
        pytest.param(FULL + ADA + b"\r\n", FULL + ADA + b"\r\n", id="complete: every octet as it came"),
        pytest.param(ADA + b"\r\n", ADDED_ID + ADDED_DATE + ADA + b"\r\n", id="Message-ID and Date added"),
        pytest.param(b"\r\n", ADDED_ID + ADDED_DATE + b"\r\n", id="no header at all"),
        pytest.param(b"", ADDED_ID + ADDED_DATE, id="nothing"),
        pytest.param(b"Hello", ADDED_ID + ADDED_DATE + b"Hello", id="no blank line, no field"),
        pytest.param(b"message-id :<1@a>\r\nDATE: x\r\n\r\n", b"message-id :<1@a>\r\nDATE: x\r\n\r\n", id="odd names"),
        pytest.param(b"Message-ID: \r\nDate: x\r\n\r\n", ADDED_ID + b"Date: x\r\n\r\n", id="an empty Message-ID goes"),
        pytest.param(
            b" stray\r\nDate: x\r\n\r\n", b" stray\r\n" + ADDED_ID + b"Date: x\r\n\r\n", id="a stray continuation"
        ),
        pytest.param(FULL + b"X-CRM-Log: yes\r\nA: b\r\n\r\n", FULL + b"A: b\r\n\r\n", id="X-CRM-Log goes"),
        pytest.param(FULL + b"x-crm-log :\r\n yes\r\n\r\n", FULL + b"\r\n", id="X-CRM-Log goes, folded"),
        pytest.param(
            FULL + b"To: a@b.example, log@crm.localhost\r\n\r\n", FULL + b"To: a@b.example\r\n\r\n", id="the last one"
        ),
        pytest.param(
            FULL + b"To: log@crm.localhost, a@b.example\r\n\r\n", FULL + b"To: a@b.example\r\n\r\n", id="the first"
        ),
        pytest.param(
            FULL + b'To: a@b.example,\r\n "CRM" <LOG@crm.localhost>,\r\n c@d.example\r\n\r\n',
            FULL + b"To: a@b.example,\r\n c@d.example\r\n\r\n",
            id="one in the middle, with a name, folded",
        ),
        pytest.param(FULL + b"To: log@crm.localhost\r\n\r\n", FULL + b"\r\n", id="alone: the field goes"),
        pytest.param(
            FULL + b"Cc: log@crm.localhost, log@crm.localhost\r\n\r\n", FULL + b"\r\n", id="twice: the field goes"
        ),
        pytest.param(
            FULL + b"To: a@b, log@crm.localhost, log@crm.localhost\r\n\r\n", FULL + b"To: a@b\r\n\r\n", id="twice, last"
        ),
        pytest.param(
            FULL + b"To: Team: log@crm.localhost, a@b.example;, c@d.example\r\n\r\n",
            FULL + b"To: Team: a@b.example;, c@d.example\r\n\r\n",
            id="in a group",
        ),
        pytest.param(
            FULL + b"To: Team: log@crm.localhost;\r\n\r\n", FULL + b"To: Team:;\r\n\r\n", id="alone in a group"
        ),
        pytest.param(
            FULL + b'To: "a, log@crm.localhost" <a@b.example>\r\n\r\n',
            FULL + b'To: "a, log@crm.localhost" <a@b.example>\r\n\r\n',
            id="in a name it is no address",
        ),
        pytest.param(
            FULL + b'To: "open, log@crm.localhost\r\n\r\n',
            FULL + b'To: "open, log@crm.localhost\r\n\r\n',
            id="a field that cannot be read is left",
        ),
        pytest.param(FULL + b"Bcc: a@b.example\r\n\r\n", FULL + b"Bcc: a@b.example\r\n\r\n", id="Bcc is kept"),
        pytest.param(
            FULL + b"Bcc: log@crm.localhost,a@b.example\r\n\r\n", FULL + b"Bcc:a@b.example\r\n\r\n", id="Bcc, no spaces"
        ),
        pytest.param(
            FULL + b"X-Other: log@crm.localhost\r\n\r\n",
            FULL + b"X-Other: log@crm.localhost\r\n\r\n",
            id="other fields",
        ),
        pytest.param(
            FULL + b"no colon\r\n\xff\xfe: \x00\r\n lone\rcr\r\n\r\n",
            FULL + b"no colon\r\n\xff\xfe: \x00\r\n lone\rcr\r\n\r\n",
            id="lines that are no fields stay",
        ),
    ],
)
def test_filed_form(header: bytes, form: bytes) -> None:
    assert filed(header) == form


@given(ANY_HEADER)
def test_filed_form_is_complete_and_stays_as_it_is(header: bytes) -> None:
    form = filed(header)
    said = heading(form)
    assert said.message_id
    assert said.crm_log is None
    assert filed(form) == form
    assert heading(header).message_id in ("", said.message_id)


@given(ANY_HEADER)
def test_filed_form_keeps_every_line_that_it_need_not_change(header: bytes) -> None:
    """What is left when our fields, the recipients and empty ids are taken away, in both, is the same."""
    changed = (b"x-crm-log", b"message-id", b"date", b"to", b"cc", b"bcc")
    from proxyd.formats.fields import fields, parts

    def rest(octets: bytes) -> list[bytes]:
        return [each.raw for each in fields(parts(octets)[0]) if each.name not in changed]

    before = rest(header)
    after = rest(filed(header))
    assert [line.rstrip(b"\r\n") for line in after] == [line.rstrip(b"\r\n") for line in before]
    assert parts(filed(header))[1] == parts(header)[1]


# --- the wire form -------------------------------------------------------------------------------------------------

DROPBOX = frozenset({"4711@bcc.crm.example"})


@pytest.mark.parametrize(
    ("header", "form"),
    [
        pytest.param(FULL + b"Bcc: a@b.example\r\nTo: c@d\r\n\r\n", FULL + b"To: c@d\r\n\r\n", id="Bcc goes"),
        pytest.param(FULL + b"BCC :a@b,\r\n\tc@d\r\nbcc:\r\n\r\n", FULL + b"\r\n", id="every Bcc, odd, folded, empty"),
        pytest.param(FULL + b"Resent-Bcc: a@b\r\n\r\n", FULL + b"\r\n", id="Resent-Bcc too (RFC 5322 section 3.6.6)"),
        pytest.param(
            FULL + b"Cc: x@y.example, CRM <4711@BCC.crm.example>\r\n\r\n",
            FULL + b"Cc: x@y.example\r\n\r\n",
            id="the dropbox that the person typed goes",
        ),
        pytest.param(FULL + b"To: 4711@bcc.crm.example\r\n\r\n", FULL + b"\r\n", id="alone: the field goes"),
        pytest.param(FULL + b"X-Bcc: a@b\r\n\r\n", FULL + b"X-Bcc: a@b\r\n\r\n", id="another field stays"),
        pytest.param(b"\r\n", b"\r\n", id="no header at all"),
    ],
)
def test_wire_form(header: bytes, form: bytes) -> None:
    assert wire_form(header, hidden=DROPBOX) == form


@given(ANY_HEADER)
def test_no_blind_copy_leaves(header: bytes) -> None:
    form = wire_form(header, hidden=frozenset())
    assert heading(form).bcc == ()
    assert wire_form(form, hidden=frozenset()) == form


# --- the fingerprint of copies ---------------------------------------------------------------------------------------

ORIGINAL = (
    b"Message-ID: <1@example.com>\r\nDate: Mon, 23 Nov 2026 10:02:11 +0000\r\nFrom: Ada <ada@example.com>\r\n"
    b"To: a@b.example, c@d.example\r\nSubject: caf\xc3\xa9 offer\r\n\r\n"
)


@pytest.mark.parametrize(
    ("copy", "same"),
    [
        pytest.param(ORIGINAL.replace(b"<1@", b"<provider-1@"), True, id="another Message-ID"),
        pytest.param(b"Received: by x\r\nBcc: s@t.example\r\n" + ORIGINAL, True, id="Bcc and Received"),
        pytest.param(ORIGINAL.replace(b"10:02:11 +0000", b"11:02:11 +0100"), True, id="the same instant elsewhere"),
        pytest.param(
            ORIGINAL.replace(b"caf\xc3\xa9 offer", b"=?iso-8859-1?q?caf=E9?=\r\n offer"), True, id="encoded and folded"
        ),
        pytest.param(ORIGINAL.replace(b"a@b.example, c@d", b'"C" <C@D'), False, id="a recipient less"),
        pytest.param(
            ORIGINAL.replace(b"a@b.example, c@d.example", b"<c@D.example>,\r\n A <A@b.example>"), True, id="other order"
        ),
        pytest.param(ORIGINAL.replace(b"c@d.example", b"c@d.example, log@crm.localhost"), True, id="log@crm.localhost"),
        pytest.param(ORIGINAL.replace(b"c@d.example", b"c@d.example, 4711@bcc.crm.example"), True, id="the dropbox"),
        pytest.param(ORIGINAL.replace(b"offer", b"offer 2"), False, id="another subject"),
        pytest.param(ORIGINAL.replace(b"10:02:11", b"10:02:12"), False, id="a second later"),
        pytest.param(ORIGINAL.replace(b"ada@", b"eve@"), False, id="another author"),
    ],
)
def test_copy_fingerprint(copy: bytes, same: bool) -> None:
    assert (copy_fingerprint(copy, hidden=DROPBOX) == copy_fingerprint(ORIGINAL)) is same


@given(ANY_HEADER)
def test_copy_fingerprint_of_filed_and_wire_form_is_the_same(header: bytes) -> None:
    form = filed(header)
    assert copy_fingerprint(wire_form(form, hidden=frozenset())) == copy_fingerprint(form)


# --- read at little cost ---------------------------------------------------------------------------------------


@given(ANY_HEADER)
def test_fields_are_split_as_their_own_module_splits_them(header: bytes) -> None:
    by_field: dict[bytes, list[bytes]] = {}
    for each in fields(parts(header)[0]):
        if each.name in message_format._READ:
            by_field.setdefault(each.name, []).append(each.body)
    assert message_format._said(header) == {name: bodies[: message_format.MOST] for name, bodies in by_field.items()}


NAMING = st.lists(
    st.sampled_from(
        [
            b"Message-ID: <1@a>\r\n",
            b"message-id:<1@a>\r\n",
            b"In-Reply-To: <2@a> \r\n",
            b"References: <3@a> <4@a>\r\n\t<5@a><6@a>\r\n",
            b"References:\r\n <7@a>\r\n",
            b"In-Reply-To: Ada's of Monday <8@a>\r\n",
            b"References: <9 @a>\r\n",
            b"References: <\xc3\xa4@a>\r\n",
            b"References: <a@a>\n",
            b"Message-ID: b@a\r\n",
            b"In-Reply-To:\r\n",
            b"From: <c@a>\r\n",
        ]
    ),
    max_size=4,
).map(lambda each: b"".join(each) + b"\r\n")


@given(st.one_of(NAMING, ANY_HEADER))
def test_ids_that_are_read_at_little_cost_are_those_that_are_read_with_care(header: bytes) -> None:
    """Every id that care finds is found, so that no answer is missed; what is odd in any way is left to care."""
    plain = plain_ids(header)
    if plain is not None:
        said = heading(header)
        assert {said.message_id, *said.in_reply_to, *said.references} - {""} <= set(plain)


def test_what_nearly_all_write_is_read_at_little_cost() -> None:
    header = b"MESSAGE-ID: <1@a>\r\nIn-Reply-To: <2@a>\r\nReferences: <0@a>\r\n <2@a>\r\n\r\n"
    assert plain_ids(header) == ["1@a", "2@a", "0@a", "2@a"]
    assert plain_ids(b"\r\n") == []
    assert plain_ids(b"From: <1@a>\r\n\r\n") is None
