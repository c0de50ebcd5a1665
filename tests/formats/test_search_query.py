"""What is typed, and what is asked by it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.search_query import Query, Term, any_expression, excerpt, match_expression, read_query


def day(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


ROWS: list[Any] = [
    ("grace offer", Query((Term("grace", begins=True), Term("offer", begins=True)))),
    ('"delivery in May" x', Query((Term("delivery in May"), Term("x")))),
    ('"never closed', Query((Term("never closed"),))),
    ("„unten und oben“", Query((Term("unten und oben"),))),
    ("from:grace TO:ada", Query((Term("grace", "sender", True), Term("ada", "recipients", True)))),
    ('subject:"new offer" file:pdf', Query((Term("new offer", "subject"), Term("pdf", "files", True)))),
    ("-draft", Query((Term("draft", begins=True, excluded=True),))),
    ("has:attachment", Query(has_attachment=True)),
    ("has:hope", Query((Term("has hope", begins=True),))),
    ("before:2026-11-23", Query(until=day(2026, 11, 23))),
    ("after:2026-11-23", Query(since=day(2026, 11, 24))),
    ("after:2026-11", Query(since=day(2026, 12, 1))),
    ("after:2025 before:2026", Query(since=day(2026, 1, 1), until=day(2026, 1, 1))),
    ("before:2026-13", Query((Term("before 2026-13", begins=True),))),
    ("before:9999-12-31", Query((Term("before 9999-12-31", begins=True),))),
    ("account:Ada@Example.com", Query(account="ada@example.com")),
    ("re:offer", Query((Term("re offer", begins=True),))),
    ("12:30", Query((Term("12:30", begins=True),))),
    ("!!! -- ...", Query()),
    ("from:", Query()),
    ("", Query()),
]


@pytest.mark.parametrize(("text", "query"), ROWS)
def test_what_is_asked(text: str, query: Query) -> None:
    assert read_query(text) == query


def test_nothing_that_is_typed_is_an_operator() -> None:
    query = read_query('a" OR body : "b NEAR(x) c* ^d {e} (f')
    assert all(each.count('"') == 2 for each in match_expression(query.terms).split(" AND "))
    assert any_expression((Term("a"), Term("b", "sender", True))) == '"a" OR {sender} : "b" *'


@given(st.text(max_size=300))
def test_every_text_is_a_query(text: str) -> None:
    query = read_query(text)
    assert all(any(c.isalnum() for c in each.text) for each in query.terms)


def test_an_excerpt_shows_the_word_that_was_found() -> None:
    text = "beginning " * 50 + "the delivery in May " + "end " * 100
    piece = excerpt(text, read_query('"delivery in may"').terms)
    assert "delivery in May" in piece
    assert piece[0] == piece[-1] == "…"
    assert len(piece) < 210
    assert excerpt("short", ()) == "short"
