"""What of a logged message goes into a CRM's entry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.model import Direction, MailAddress
from proxyd.rules import crm_entry

ADA, SALES, BOB = "ada@example.com", "sales@example.com", "bob@example.com"
GRACE, MARY = "grace@customer.example", "mary@customer.example"


def at(*addresses: str) -> list[MailAddress]:
    return [MailAddress("", each) for each in addresses]


OUT, IN = Direction.OUTGOING, Direction.INCOMING


@pytest.mark.parametrize(
    ("direction", "from_", "to", "contacts", "found"),
    [
        pytest.param(OUT, ADA, [GRACE], [GRACE], {GRACE: True}, id="to a contact"),
        pytest.param(OUT, ADA, [GRACE, MARY], [GRACE], {GRACE: True, MARY: False}, id="others are looked for only"),
        pytest.param(OUT, ADA, [GRACE, MARY], [], {GRACE: True, MARY: True}, id="nobody is a contact: the recipients"),
        pytest.param(OUT, ADA, [GRACE, BOB], [GRACE], {GRACE: True}, id="a colleague is no contact"),
        pytest.param(OUT, ADA, [GRACE, BOB], [GRACE, BOB], {GRACE: True, BOB: True}, id="but where ours says so"),
        pytest.param(OUT, ADA, [GRACE, "Grace@Customer.example"], [GRACE], {GRACE: True}, id="one person once"),
        pytest.param(IN, GRACE, [ADA], [GRACE], {GRACE: True}, id="an answer"),
        pytest.param(IN, MARY, [ADA, GRACE], [GRACE], {MARY: False, GRACE: True}, id="a third party answers"),
        pytest.param(IN, MARY, [SALES], [], {MARY: True}, id="the sender, where nobody is a contact"),
        pytest.param(OUT, ADA, ["undisclosed-recipients:"], [], {}, id="no address"),
    ],
)
def test_who_is_looked_for_and_who_is_made(direction, from_, to, contacts, found) -> None:
    wanted = crm_entry.people(direction, at(from_)[0], at(*to), [ADA, SALES], contacts)
    assert {each.person.address: each.create for each in wanted} == found


@pytest.mark.parametrize(
    ("from_", "to", "owner"),
    [(ADA, [GRACE], "1"), (SALES, [GRACE], "2"), (GRACE, ["Sales@Example.com"], "2"), (GRACE, [MARY], "1")],
    ids=["by the sender", "by the alias", "by the alias it came to", "by the account"],
)
def test_whose_entry_it_is(from_, to, owner) -> None:
    assert crm_entry.owner({ADA: "1", SALES: "2"}, from_, to, ADA) == owner
    assert crm_entry.owner({}, from_, to, ADA) is None


@given(st.text(max_size=400), st.integers(1, 400), st.sampled_from(["", "\n[a note]"]))
def test_what_is_cut_fits_and_says_so(text: str, limit: int, note: str) -> None:
    cut = crm_entry.cut(text, limit, note)
    assert len(cut) <= limit
    if len(text) + len(note) <= limit:
        assert cut == text + note
    else:
        assert "Cut by proxyd" in cut or cut.endswith("…")


def test_without_a_limit_nothing_is_cut() -> None:
    assert crm_entry.cut("x" * 9000, None, "y") == "x" * 9000 + "y"


@given(st.text())
def test_plain_text_is_utf_8_and_what_was_well_stays(text: str) -> None:
    assert crm_entry.plain(text) == text.replace("\0", "\ufffd")


@given(st.text(st.characters(categories=["Cs", "L", "Cc"])))
def test_whatever_is_no_text_can_be_sent(text: str) -> None:
    sent = crm_entry.plain(text)
    sent.encode("utf-8")
    assert "\0" not in sent


def test_a_subject_that_is_cut() -> None:
    assert crm_entry.line("Offer", 5) == "Offer"
    assert crm_entry.line("Offers", 5) == "Offe…"
    assert crm_entry.line("Offers", None) == "Offers"


def test_what_is_left_out_is_named() -> None:
    said = crm_entry.left_out([("a.iso", 30_000_000), ("", 26_000_000)], 25_000_000)
    assert "larger than 25.0 MB: a.iso (30.0 MB), without a name (26.0 MB)" in said
    assert crm_entry.left_out([], 25_000_000) == ""


def test_it_is_never_given_up_and_what_the_crm_asks_for_is_heeded() -> None:
    assert crm_entry.next_try(1, None, 0.0) == 1.0
    assert crm_entry.next_try(10_000, None, 0.99) <= crm_entry.LONGEST_WAIT
    assert crm_entry.next_try(1, 3600.0, 0.0) == 3600.0
    assert crm_entry.next_try(1, None, 0.0, at_least=60.0) == 60.0


def test_one_bad_message_stops_nobody_a_bad_crm_is_left_in_peace() -> None:
    assert crm_entry.pause(1, None, 0.0) == crm_entry.pause(2, None, 0.0) == 0.0
    assert crm_entry.pause(3, None, 0.0) == 1.0
    assert crm_entry.pause(1, 17.0, 0.0) == 17.0


@pytest.mark.parametrize(
    ("failed", "not_erased", "refused", "typed"),
    [
        (0, 0, False, ""),
        (1, 0, False, f"proxyd crm retry --crm hubspot --account {ADA}"),
        (0, 1, False, f"proxyd crm retry --crm hubspot --account {ADA}"),
        (0, 0, True, f"proxyd crm retry --crm hubspot --account {ADA}"),
    ],
    ids=["time heals it", "a refused message", "a refused erasure", "we are not let in"],
)
def test_the_command_that_cures_it(failed: int, not_erased: int, refused: bool, typed: str) -> None:
    assert crm_entry.cure(ADA, "hubspot", failed, not_erased, refused) == typed


@pytest.mark.parametrize(
    ("failed", "waiting", "erasures", "because", "said"),
    [
        (1, 0, 0, "no owner.", "the CRM hubspot refused 1 message: no owner"),
        (0, 1, 0, "", "1 message waits for the CRM hubspot"),
        (2, 3, 0, "503", "the CRM hubspot refused 2 messages, 3 messages wait for the CRM hubspot: 503"),
        (0, 0, 1, "no", "1 contact is to be erased in the CRM hubspot still: no"),
        (0, 0, 2, "no", "2 contacts are to be erased in the CRM hubspot still: no"),
    ],
    ids=["refused", "waits", "both", "an erasure", "two"],
)
def test_the_sentence(failed: int, waiting: int, erasures: int, because: str, said: str) -> None:
    assert crm_entry.sentence("hubspot", failed, waiting, erasures, because) == said


@pytest.mark.parametrize(
    ("theirs", "asked"),
    [
        ((), ("Home@x.test",)),
        (("work@x.test", "home@x.test"), ("Home@x.test", "work@x.test")),
        (tuple(f"{n}@x.test" for n in range(20)), ("Home@x.test", *(f"{n}@x.test" for n in range(7)))),
    ],
)
def test_somebody_is_looked_for_by_the_address_of_the_mail_then_by_their_others(
    theirs: tuple[str, ...], asked: tuple[str, ...]
) -> None:
    assert crm_entry.addresses("Home@x.test", theirs) == asked
