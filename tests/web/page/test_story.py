from __future__ import annotations

from typing import Any

import pytest

from proxyd.web.page import story


def logged(id: str, thread: str, date: str, subject: str = "Offer") -> dict[str, Any]:
    return {"id": id, "thread": thread, "date": date, "subject": subject}


def test_threads_with_the_newest_words_come_first_each_in_the_order_of_what_was_said() -> None:
    made = story.threads(
        [
            logged("4", "a", "2026-11-04T00:00:00Z", "Re: Offer"),
            logged("3", "b", "2026-11-03T00:00:00Z", ""),
            logged("1", "a", "2026-11-01T00:00:00Z"),
        ]
    )
    assert [(each.id, each.subject, [m["id"] for m in each.messages], each.last[:10]) for each in made] == [
        ("a", "Offer", ["1", "4"], "2026-11-04"),
        ("b", "(no subject)", ["3"], "2026-11-03"),
    ]


@pytest.mark.parametrize(
    ("text", "new", "seen"),
    [
        ("All new.\n", "All new.\n", ("All new.", "")),
        ("Yes.\n\n> Really?\n", "Yes.", ("Yes.", "> Really?")),
        ("Yes.\n> a\nNo.\n> b\n", "Yes.\n\nNo.", ("Yes.\n\nNo.", "Yes.\n> a\nNo.\n> b")),
        ("> only quoted\n", "", ("> only quoted", "")),
        ("", "", ("", "")),
    ],
)
def test_the_quoted_part_is_folded_and_nothing_is_lost(text: str, new: str, seen: tuple[str, str]) -> None:
    assert story.folded({"text": text, "new_text": new}) == seen


@pytest.mark.parametrize(
    ("q", "pieces"),
    [
        ("ready", [("A compiler, ", False), ("ready", True), (" to run", False)]),
        ("RUN comp", [("A ", False), ("comp", True), ("iler, ready to ", False), ("run", True)]),
        ('"to run" -ready', [("A compiler, ready ", False), ("to run", True)]),
        ("has:attachment", [("A compiler, ready to run", False)]),
        (".*", [("A compiler, ready to run", False)]),
    ],
)
def test_what_was_asked_for_is_marked(q: str, pieces: list[tuple[str, bool]]) -> None:
    assert story.marked("A compiler, ready to run", q) == pieces


@pytest.mark.parametrize(
    ("type", "how"),
    [
        ("image/png", "image"),
        ("application/pdf", "pdf"),
        ("text/plain", "text"),
        ("image/svg+xml", ""),
        ("text/html", ""),
        ("application/octet-stream", ""),
    ],
)
def test_what_the_browser_may_show(type: str, how: str) -> None:
    assert story.preview({"type": type}) == how


@pytest.mark.parametrize(
    ("new", "signature", "seen"),
    [
        ("Yes.\n\n-- \nGrace\nCustomer Inc.\n", "Grace\nCustomer Inc.", ("Yes.", "Grace\nCustomer Inc.")),
        ("Yes.\n", "", ("Yes.", "")),
        ("Grace\n", "Grace", ("Grace", "")),
        ("Yes.\nGrace wrote this", "Grace", ("Yes.\nGrace wrote this", "")),
    ],
)
def test_a_signature_stands_apart(new: str, signature: str, seen: tuple[str, str]) -> None:
    assert story.signed({"text": new, "new_text": new, "signature": signature})[:2] == seen


def test_an_excerpt_is_one_line_of_what_is_new() -> None:
    assert (
        story.excerpt({"text": "Yes,\n gladly.\n> so?", "new_text": "Yes,\n gladly.", "signature": ""})
        == "Yes, gladly."
    )
    assert story.excerpt({"text": "x" * 500, "new_text": "", "signature": ""}) == "x" * story.EXCERPT + "…"
