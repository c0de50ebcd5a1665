"""YAML's octets to a tree: what each scalar is read as, and where everything stands."""

from __future__ import annotations

import pytest

from proxyd.config.problems import Mark
from proxyd.config.tree import UNREADABLE, Kind, Listing, Scalar, Table, described, read_tree, values


def scalar(text: str) -> Scalar:
    reading = read_tree(f"key: {text}\n".encode())
    assert not reading.problems
    assert isinstance(reading.root, Table)
    node = reading.root.entries[0].value
    assert isinstance(node, Scalar)
    return node


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("word", Kind.TEXT, "word"),
        ("'no'", Kind.TEXT, "no"),
        ('"22:30"', Kind.TEXT, "22:30"),
        ("127.0.0.1:1587", Kind.TEXT, "127.0.0.1:1587"),
        ("y", Kind.TEXT, "y"),
        ("no", Kind.YES_NO, False),
        ("Off", Kind.YES_NO, False),
        ("TRUE", Kind.YES_NO, True),
        ("yes", Kind.YES_NO, True),
        ("0", Kind.WHOLE, 0),
        ("993", Kind.WHOLE, 993),
        ("-5", Kind.WHOLE, -5),
        ("9" * 19, Kind.NUMBER, UNREADABLE),
        ("0600", Kind.NUMBER, UNREADABLE),
        ("0x1F", Kind.NUMBER, UNREADABLE),
        ("22:30", Kind.NUMBER, UNREADABLE),
        ("1_000", Kind.NUMBER, UNREADABLE),
        ("1.5", Kind.NUMBER, UNREADABLE),
        (".inf", Kind.NUMBER, UNREADABLE),
        ("2026-11-23", Kind.DATE, UNREADABLE),
        ("~", Kind.EMPTY, None),
        ("", Kind.EMPTY, None),
        ("null", Kind.EMPTY, None),
        ("=", Kind.OTHER, UNREADABLE),
    ],
)
def test_what_a_scalar_is(text: str, kind: Kind, value: object) -> None:
    node = scalar(text)
    assert node.kind is kind
    assert values(node) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no", "YAML reads no as false"),
        ("true", "true is not accepted"),
        ("0600", "YAML reads 0600 as the number 384"),
        ("22:30", "YAML reads 22:30 as the number 1350"),
        ("1:30.5", "YAML reads 1:30.5 as the number 90.5"),
        ("2026-11-23", "YAML reads 2026-11-23 as a date"),
        ("word", '"word" is not accepted'),
        ("42", "42 is a number"),
    ],
)
def test_a_surprise_is_explained(text: str, sentence: str) -> None:
    assert described(scalar(text)) == sentence


def test_every_node_knows_its_place() -> None:
    reading = read_tree(b"a: 1\nb:\n  - x\n  - {c: y}\n")
    assert isinstance(reading.root, Table)
    a, b = reading.root.entries
    assert (a.mark, a.value.mark) == (Mark(1, 1), Mark(1, 4))
    assert isinstance(b.value, Listing)
    assert [item.mark for item in b.value.items] == [Mark(3, 5), Mark(4, 5)]
    assert values(reading.root) == {"a": 1, "b": ("x", {"c": "y"})}


def test_columns_count_characters() -> None:
    reading = read_tree("näme: [ü, &a b]\n".encode())
    assert [mark for mark, _ in reading.problems] == [Mark(1, 11)]


def test_reading_goes_on_behind_a_problem() -> None:
    reading = read_tree(b"a: &x 1\na: 2\nb: *x\n1: 3\nc: !t d\n")
    assert [mark.line for mark, _ in reading.problems] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("octets", [b"", b" \n", b"\t\n", b"# nothing\n"])
def test_a_file_without_settings(octets: bytes) -> None:
    reading = read_tree(octets)
    assert (reading.no_settings, reading.root, reading.problems) == (True, None, [])


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(b"a: " + b"[" * 200_000, id="deep lists"),
        pytest.param(b"{" * 200_000, id="deep mappings"),
        pytest.param(b"? " * 100_000, id="deep keys"),
        pytest.param(b"- " * 100_000, id="deep entries"),
        pytest.param(b"a: &a [b, b]\nb: &b [*a, *a]\nc: [*b, *b]\n", id="a bomb of aliases"),
        pytest.param(b"a: " + b"9" * 200_000, id="a long number"),
        pytest.param(b'a: "' + b"\\UFFFFFFFF" + b'"', id="an escape beyond Unicode"),
        pytest.param(b"%YAML " + b"9" * 10_000 + b".1\n---\na: b\n", id="a version of many digits"),
    ],
)
def test_hostile_input_ends_in_a_problem(hostile: bytes) -> None:
    reading = read_tree(hostile)
    assert reading.problems or hostile.endswith(b"9")
