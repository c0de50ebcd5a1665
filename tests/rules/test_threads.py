"""Which tracked message is answered."""

from __future__ import annotations

import pytest

from proxyd.model import Heading, ThreadMatch
from proxyd.rules.threads import KnownMessage, id_key, match, named_ids

KNOWN = {
    "root@x": KnownMessage("01A", "01A"),
    "second@x": KnownMessage("01B", "01A"),
    "renamed@provider": KnownMessage("01B", "01A"),
    "other@x": KnownMessage("02A", "02A"),
}


@pytest.mark.parametrize(
    ("in_reply_to", "references", "found"),
    [
        pytest.param(["second@x"], [], ThreadMatch("01B", "01A", "In-Reply-To names <second@x>"), id="In-Reply-To"),
        pytest.param([], ["root@x"], ThreadMatch("01A", "01A", "References name <root@x>"), id="References alone"),
        pytest.param(
            ["unknown@y"], ["root@x"], ThreadMatch("01A", "01A", "References name <root@x>"), id="the union of both"
        ),
        pytest.param(
            [], ["root@x", "second@x"], ThreadMatch("01B", "01A", "References name <second@x>"), id="the nearest one"
        ),
        pytest.param(
            ["root@x"],
            ["root@x", "second@x"],
            ThreadMatch("01A", "01A", "In-Reply-To names <root@x>"),
            id="In-Reply-To first",
        ),
        pytest.param(
            ["gone@x", "other@x"], [], ThreadMatch("02A", "02A", "In-Reply-To names <other@x>"), id="several ids in it"
        ),
        pytest.param(
            ["renamed@provider"],
            [],
            ThreadMatch("01B", "01A", "In-Reply-To names <renamed@provider>"),
            id="the id that the provider gave it",
        ),
        pytest.param(["ROOT@x"], [], None, id="case is kept"),
        pytest.param(["unknown@y"], ["unknown@z"], None, id="nothing of ours"),
        pytest.param([], [], None, id="no ids at all"),
        pytest.param(["self@x"], [], None, id="itself"),
    ],
)
def test_match(in_reply_to: list[str], references: list[str], found: ThreadMatch | None) -> None:
    heading = Heading(message_id="self@x", in_reply_to=tuple(in_reply_to), references=tuple(references))
    assert match(heading, KNOWN | {"self@x": KnownMessage("03A", "03A")}) == found


def test_the_subject_is_never_a_condition() -> None:
    assert match(Heading(subject="Re: Offer"), KNOWN) is None
    assert match(Heading(subject="Something else", in_reply_to=("root@x",)), KNOWN) is not None


def test_named_ids_are_each_named_once_in_order() -> None:
    heading = Heading(in_reply_to=("c", "x"), references=("a", "b", "c"))
    assert named_ids(heading) == ("c", "x", "b", "a")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("A@Example.COM", "A@example.com", True),
        ("A@example.com", "a@example.com", False),
        ("no-at-sign", "NO-AT-SIGN", False),
        ("0102-00@eu-west-1.amazonses.com", "0102-00@email.amazonses.com", True),
        ("0102-00@amazonses.com.evil.test", "0102-00@email.amazonses.com", False),
        ("a@b@C", "a@b@c", True),
    ],
)
def test_two_spellings_of_one_id(one: str, other: str, same: bool) -> None:
    assert (id_key(one) == id_key(other)) is same
    assert id_key(id_key(one)) == id_key(one)
