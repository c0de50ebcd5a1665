"""Lists of addresses: read, and one taken out."""

from __future__ import annotations

from email.utils import getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.addresses import read_addresses, without_addresses
from proxyd.model import mailbox_key


@pytest.mark.parametrize(
    ("body", "people"),
    [
        pytest.param(b"ada@example.com", [("", "ada@example.com")], id="bare"),
        pytest.param(b" <ada@example.com> ", [("", "ada@example.com")], id="in brackets"),
        pytest.param(b"Ada Lovelace <ada@example.com>", [("Ada Lovelace", "ada@example.com")], id="with a name"),
        pytest.param(b'"Lovelace, Ada" <ada@example.com>', [("Lovelace, Ada", "ada@example.com")], id="a quoted comma"),
        pytest.param(rb'"A \"B\" C" <a@b>', [('A "B" C', "a@b")], id="escaped quotes"),
        pytest.param(b'"a b"@example.com', [("", '"a b"@example.com')], id="a quoted local part"),
        pytest.param(b'X <"a,b>"@example.com>', [("X", '"a,b>"@example.com')], id="a quoted local part in brackets"),
        pytest.param(b"ada@example.com (Ada (the) First)", [("Ada (the) First", "ada@example.com")], id="a comment"),
        pytest.param(b"ada @ example.com", [("", "ada@example.com")], id="obsolete spaces"),
        pytest.param(b"<@a.example,@b.example:ada@c.example>", [("", "ada@c.example")], id="an obsolete route"),
        pytest.param(b"a@b; c@d", [("", "a@b"), ("", "c@d")], id="semicolons, as Outlook's users write"),
        pytest.param(b"Team: a@b, C <c@d>;, e@f", [("", "a@b"), ("C", "c@d"), ("", "e@f")], id="a group"),
        pytest.param(b"undisclosed-recipients:;", [], id="an empty group"),
        pytest.param(b"a@[IPv6:2001:db8::1]", [("", "a@[IPv6:2001:db8::1]")], id="an address literal"),
        pytest.param(b"A <a@b> C <c@d>", [("A", "a@b"), ("C", "c@d")], id="no comma between"),
        pytest.param(b"Ada ada@example.com", [("Ada", "ada@example.com")], id="no brackets"),
        pytest.param(b"'ada@example.com' <ada@example.com>", [("'ada@example.com'", "ada@example.com")], id="Outlook"),
        pytest.param(b'"unclosed <a@b>, c@d', [("unclosed", "a@b"), ("", "c@d")], id="a quote never closed"),
        pytest.param(b"Ada <ada@example.com", [("Ada", "ada@example.com")], id="a bracket never closed"),
        pytest.param(b"(((a@b", [("", "a@b")], id="comments never closed"),
        pytest.param(b"=?utf-8?q?a=2C_b=40c?= <a@b>", [("a, b@c", "a@b")], id="what is encoded is no structure"),
        pytest.param("Jörg <jörg@müller.example>".encode(), [("Jörg", "jörg@müller.example")], id="UTF-8"),
        pytest.param("Jörg <a@b>".encode("latin-1"), [("Jörg", "a@b")], id="Latin-1"),
        pytest.param(b"<>", [], id="the null path"),
        pytest.param(b",,, ;", [], id="separators"),
        pytest.param(b"root", [], id="no address"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_read(body: bytes, people: list[tuple[str, str]]) -> None:
    assert [(each.name, each.address) for each in read_addresses(body)] == people


ATOM = st.from_regex(r"[a-z][a-z0-9.]{0,6}[a-z]", fullmatch=True)
ADDRESS = st.builds(lambda local, domain: f"{local.replace('..', '.')}@{domain.replace('..', '.')}.example", ATOM, ATOM)
NAME = st.one_of(
    st.just(""),
    st.from_regex(r"[A-Z][a-z]{1,6}( [A-Z][a-z]{1,6})?", fullmatch=True),
    st.from_regex(r'"[A-Z][a-z,.@<> ]{0,8}[a-z]"', fullmatch=True),
)
MAILBOX = st.builds(lambda name, address: f"{name} <{address}>" if name else address, NAME, ADDRESS)
LISTS = st.lists(MAILBOX, min_size=1, max_size=6)


@given(LISTS)
def test_reads_sound_lists_as_the_standard_library_does(mailboxes: list[str]) -> None:
    body = ", ".join(mailboxes)
    expected = [(name.strip(), address) for name, address in getaddresses([body])]
    assert [(each.name, each.address) for each in read_addresses(body.encode())] == [
        (" ".join(name.split()), address) for name, address in expected
    ]


@given(st.binary(max_size=200))
def test_reading_never_raises(body: bytes) -> None:
    for each in read_addresses(body):
        assert each.address
        assert each.name == each.name.strip()


@given(LISTS, st.lists(ADDRESS, max_size=3), st.sampled_from([", ", ",", ",\r\n "]))
def test_takes_out_exactly_whom_it_should(mailboxes: list[str], hidden: list[str], comma: str) -> None:
    """The hidden ones are put in at every place in turn; what is left reads as it did without them."""
    keys = frozenset(map(mailbox_key, hidden))
    others = [each for each in mailboxes if mailbox_key(read_addresses(each.encode())[0].address) not in keys]
    for place in range(len(others) + 1):
        mixed = others[:place] + hidden + others[place:]
        raw = f"To: {comma.join(mixed)}\r\n".encode()
        left = without_addresses(raw, keys)
        if not others:
            assert left is None or not hidden
            continue
        assert left is not None
        assert read_addresses(left[3:]) == read_addresses(comma.join(others).encode())
        assert left.endswith(b"\r\n")
        if not any(",," in each for each in others):  # within a name in quotes it may stand
            assert not hidden or b",," not in left.replace(b" ", b"")
        assert not left.rstrip().endswith(b",")


@given(st.binary(max_size=200))
def test_taking_out_never_raises_and_leaves_what_it_need_not_touch(body: bytes) -> None:
    raw = b"To:" + body
    left = without_addresses(raw, frozenset({"nobody@here.example"}))
    assert left == raw or b"nobody" in body.lower()


def test_a_list_that_cannot_be_read_is_left() -> None:
    for raw in (b'To: "open, log@x\r\n', b"To: a@b <log@x> <c@d>\r\n", b"To: log@x; c@d\r\n", b"To: log@x, )\r\n"):
        assert without_addresses(raw, frozenset({"log@x"})) == raw
