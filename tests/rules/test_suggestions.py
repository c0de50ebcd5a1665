"""Which conversation a message that names none is suggested for."""

from __future__ import annotations

import pytest

from proxyd.model import Heading, MailAddress
from proxyd.rules.suggestions import LiveThread, bare_subject, names_nothing, suggest

GRACE = "grace@customer.test"
LIVE = [
    LiveThread("T3", "M3", "Re: Lunch", frozenset({GRACE})),
    LiveThread("T2", "M2", "Offer", frozenset({GRACE, "mary@customer.test"})),
    LiveThread("T1", "M1", "Contract", frozenset({"mary@customer.test"})),
]


def said(subject: str, *addresses: str) -> Heading:
    return Heading(subject=subject, from_=tuple(MailAddress("", each) for each in addresses))


@pytest.mark.parametrize(
    ("heading", "thread"),
    [
        pytest.param(said("Another", GRACE), "T3", id="the newest with this person"),
        pytest.param(said("AW: WG: offer", GRACE), "T2", id="the one with the same subject"),
        pytest.param(said("Contract", GRACE), "T3", id="a subject of others' conversation does not count"),
        pytest.param(said("", "Grace@CUSTOMER.test"), "T3", id="an address in other letters, no subject"),
        pytest.param(said("Offer", "jean@elsewhere.test"), None, id="a stranger with the subject"),
        pytest.param(said("Offer"), None, id="nobody"),
    ],
)
def test_suggest(heading: Heading, thread: str | None) -> None:
    found = suggest(heading, LIVE)
    assert (found.thread if found else None) == thread
    assert found is None or found.because


def test_what_names_another_message_is_no_suggestion() -> None:
    assert names_nothing(Heading())
    assert not names_nothing(Heading(references=("private@x",)))
    assert not names_nothing(Heading(in_reply_to=("private@x",)))


@pytest.mark.parametrize("subject", ["Re: Offer", "RE[2]: offer", " Fwd: Re:  OFFER ", "Antwort: Offer", "offer"])
def test_bare_subject(subject: str) -> None:
    assert bare_subject(subject) == "offer"


def test_bare_subject_of_nothing_but_prefixes() -> None:
    assert bare_subject("Re: " * 100_000) == ""
