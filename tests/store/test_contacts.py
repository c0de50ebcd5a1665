"""People with several addresses, and their companies, in a real store: who is found by what, merged, split, listed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from proxyd.model import Direction, Kind, MailAddress, Source, State, mailbox_key
from proxyd.store import companies, contact_pages, contacts, erasing, merging, timeline
from proxyd.store.contacts import Contact, Taken
from proxyd.store.database import Database
from proxyd.store.tables import companies as company_table
from proxyd.store.tables import contact_addresses, last_words, merges, participants
from tests.rigged import ADA, KEY

AT = datetime(2026, 11, 23, 10, tzinfo=UTC)
GRACE, HOME, BOB = "grace@customer.test", "hopper@home.test", "bob@customer.test"
number = itertools.count()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[sa.Connection]:
    database = Database(tmp_path, KEY)
    with database.writing() as connection:
        yield connection
    database.close()


def add(store: sa.Connection, email: str, *others: str, name: str = "", company: str = "") -> bool:
    return contacts.add(store, Contact(mailbox_key(email), email, name, company, others), AT)


def log(store: sa.Connection, *people: str, account: str = ADA, minutes: int | None = None, name: str = "") -> str:
    """A message to these people, so many minutes after `AT`."""
    n = next(number)
    id = f"{n:026d}"
    entry = timeline.Entry(
        id=id,
        account=account,
        message_id=name or f"{n}@example.test",
        direction=Direction.OUTGOING,
        kind=Kind.MESSAGE,
        state=State.SENT,
        source=Source.SMTP,
        thread=id,
        in_reply_to="",
        date=AT + timedelta(minutes=n if minutes is None else minutes),
        at=AT,
        from_=MailAddress("", ADA),
        to=tuple(MailAddress("", each) for each in people),
        cc=(),
        bcc=(),
        subject="Offer",
        contacts=tuple(sorted(contacts.known(store, people))),
        because="",
        content=id,
        people=frozenset(people),
    )
    timeline.insert(store, entry)
    return id


def story(store: sa.Connection, address: str) -> list[str]:
    return timeline.of_people(store, contacts.same_person(store, [address]), None, 100)


def addresses(store: sa.Connection, address: str) -> tuple[str, ...]:
    person = contacts.get(store, address)
    return person.addresses if person else ()


def as_told(store: sa.Connection, address: str) -> tuple[object, ...]:
    person = contacts.get(store, address)
    assert person is not None
    return person.email, person.name, person.addresses, company(store, address)


# --- several addresses -----------------------------------------------------------------------------------------


def test_a_contact_is_found_by_any_of_their_addresses(store: sa.Connection) -> None:
    assert add(store, GRACE, HOME, name="Grace")
    assert not add(store, HOME, company="Navy")  # completes her
    for each in (GRACE, HOME):
        person = contacts.get(store, each)
        assert person is not None
        assert (person.email, person.name, person.company_name, person.addresses) == (
            GRACE,
            "Grace",
            "Navy",
            (GRACE, HOME),
        )
    assert contacts.known(store, [GRACE, HOME, BOB]) == {GRACE, HOME}
    first, second = log(store, GRACE), log(store, HOME)
    both = log(store, GRACE, HOME)
    assert story(store, HOME) == story(store, GRACE) == [both, second, first]
    assert contacts.logged_with(store, [GRACE])[GRACE][0] == 3
    assert [each["contacts"] for each in timeline.documents(store, [second, both])] == [[GRACE], [GRACE]]


def test_an_address_is_one_contacts(store: sa.Connection) -> None:
    add(store, GRACE)
    add(store, HOME)
    with pytest.raises(Taken) as taken:
        add(store, GRACE, HOME)
    assert (taken.value.address, taken.value.email) == (HOME, HOME)


def test_two_are_merged_and_taken_apart_as_they_were(store: sa.Connection) -> None:
    add(store, GRACE)
    add(store, HOME, "rear.admiral@navy.test", name="Grace Hopper", company="Navy")
    before = [as_told(store, each) for each in (GRACE, HOME)]
    message = log(store, HOME)
    assert merging.merge(store, GRACE, "rear.admiral@navy.test", AT) == GRACE
    merged = contacts.get(store, HOME)
    assert merged is not None
    assert merged.addresses == (GRACE, HOME, "rear.admiral@navy.test")
    assert (merged.name, merged.company_name) == ("Grace Hopper", "Navy")
    assert story(store, GRACE) == [message]
    assert merging.split(store, "rear.admiral@navy.test", AT) == HOME
    assert [as_told(store, each) for each in (GRACE, HOME)] == before
    assert story(store, GRACE) == []
    assert store.execute(sa.select(merges)).all() == []
    assert merging.split(store, GRACE, AT) is None  # the first one is the contact


def test_an_alias_that_was_never_a_contact_becomes_one(store: sa.Connection) -> None:
    add(store, GRACE, HOME, name="Grace")
    assert merging.split(store, HOME, AT) == HOME
    assert (addresses(store, GRACE), addresses(store, HOME)) == ((GRACE,), (HOME,))


def test_a_merge_of_the_merged_is_taken_apart_too(store: sa.Connection) -> None:
    for each, name in ((GRACE, "G"), (HOME, "H"), (BOB, "B")):
        add(store, each, name=name)
    merging.merge(store, HOME, BOB, AT)
    merging.merge(store, GRACE, HOME, AT)
    assert addresses(store, BOB) == (GRACE, HOME, BOB)
    merging.split(store, BOB, AT)  # the newest merge that it came by
    assert (addresses(store, GRACE), addresses(store, BOB)) == ((GRACE,), (HOME, BOB))
    merging.merge(store, GRACE, HOME, AT)
    assert merging.merge(store, GRACE, GRACE, AT) == GRACE
    assert merging.merge(store, GRACE, "nobody@x.test", AT) is None


def test_who_is_forgotten_goes_with_all_addresses_merges_and_company(store: sa.Connection) -> None:
    add(store, GRACE, name="Grace")
    add(store, HOME)
    merging.merge(store, GRACE, HOME, AT)
    log(store, HOME, "lin@else.test")
    log(store, GRACE)
    kept = log(store, "lin@else.test", minutes=-5)
    report = erasing.forget(store, HOME, lambda key: f"#{key}", AT)
    assert (report.messages, report.known) == (2, True)
    for table in (contact_addresses, merges, company_table):
        assert store.execute(sa.select(table)).all() == []
    assert [row.message for row in store.execute(sa.select(participants))] == [kept]
    words = store.execute(sa.select(last_words)).all()
    assert [(row.key, row.date) for row in words] == [("lin@else.test", AT - timedelta(minutes=5))]
    for each in (GRACE, HOME):
        assert len(erasing.reports(store, f"#{each}")) == 1


def test_a_mail_that_two_colleagues_have_counts_once(store: sa.Connection) -> None:
    add(store, GRACE, HOME)
    for account in (ADA, "bob@example.test"):
        log(store, GRACE, HOME, account=account, minutes=0, name="same@x")
    log(store, GRACE)
    assert contacts.logged_with(store, [GRACE])[GRACE][0] == 2
    assert contacts.logged_with(store, [GRACE], ["bob@example.test"])[GRACE][0] == 1


# --- tags ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contact", ["jane@x.test", "jane+crm@x.test"])
def test_tags_are_folded_where_the_configuration_says_so_and_at_any_time(store: sa.Connection, contact: str) -> None:
    add(store, contact)
    messages = [log(store, "jane+news@x.test"), log(store, "jane@x.test"), log(store, "jane+crm@x.test")]
    own = {"jane@x.test": 1, "jane+crm@x.test": 2}[contact]
    for _ in range(2):
        assert story(store, contact) == [messages[own]]
        assert contacts.known(store, ["jane+news@x.test"]) == frozenset()
        assert [each.date for each in contact_pages.newest_first(store, "", 9, None, None)] == [
            _date(store, messages[own])
        ]
        contacts.fold(store, "folded")
        assert story(store, contact) == messages[::-1]
        assert contacts.known(store, ["jane+news@x.test", "john@x.test"]) == {"jane+news@x.test"}
        assert contacts.get(store, "jane+news@x.test") == contacts.get(store, contact)
        assert contacts.logged_with(store, [contact])[contact][0] == 3
        assert [each.date for each in contact_pages.newest_first(store, "", 9, None, None)] == [
            _date(store, messages[2])
        ]
        contacts.fold(store, "apart")


def _date(store: sa.Connection, message: str) -> datetime:
    return timeline.places(store, [message])[message].date


def test_whose_address_it_is_as_it_stands_comes_first(store: sa.Connection) -> None:
    add(store, "jane@x.test")
    add(store, "jane+news@x.test")
    contacts.fold(store, "folded")
    owners = contacts.owners(store, ["jane@x.test", "jane+news@x.test", "jane+other@x.test"])
    assert owners == {
        "jane@x.test": "jane@x.test",
        "jane+news@x.test": "jane+news@x.test",
        "jane+other@x.test": "jane@x.test",
    }


# --- companies -------------------------------------------------------------------------------------------------


def company(store: sa.Connection, address: str) -> tuple[str, str]:
    """Its label, and how it is known."""
    person = contacts.get(store, address)
    assert person is not None
    if person.company is None:
        return "", person.company_by
    return companies.several(store, [person.company])[0].label, person.company_by


def test_a_company_is_told_by_the_domain_and_named_by_the_first_who_says_it(store: sa.Connection) -> None:
    add(store, BOB)
    assert company(store, BOB) == ("customer.test", "domain")
    add(store, "grace@eu.customer.test")
    assert company(store, "grace@eu.customer.test") == ("customer.test", "domain")
    add(store, GRACE, company="Customer  Ltd")
    assert company(store, BOB) == ("Customer Ltd", "domain")
    assert contact_pages.by_address(store, "customer ltd", 9, None) == [BOB, GRACE, "grace@eu.customer.test"]
    add(store, "guest@customer.test", company="Guests")  # who says otherwise is believed, and changes nobody else
    assert (company(store, "guest@customer.test"), company(store, BOB)[0]) == (("Guests", "hand"), "Customer Ltd")
    assert company(store, GRACE) == ("Customer Ltd", "hand")


def test_anybodys_domain_makes_nobody_colleagues(store: sa.Connection) -> None:
    add(store, "a@gmail.com", company="Alpha")
    add(store, "b@gmail.com")
    assert (company(store, "a@gmail.com"), company(store, "b@gmail.com")) == (("Alpha", "hand"), ("", ""))
    add(store, "b@gmail.com", BOB)  # by the first address that tells one
    assert company(store, "b@gmail.com") == ("customer.test", "domain")


def test_a_nameless_company_becomes_one_that_is_there(store: sa.Connection) -> None:
    add(store, BOB)
    add(store, "lin@else.test", company="Customer Ltd")
    add(store, GRACE, company="customer ltd")
    assert company(store, BOB) == ("Customer Ltd", "domain")
    (there,) = store.execute(sa.select(company_table.c.id)).all()
    assert companies.several(store, [there.id])[0].domains == ("customer.test", "else.test")
    assert companies.find(store, "CUSTOMER LTD") == companies.find(store, "else.test") == there.id


# --- pages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("few", [0, 1000])
@pytest.mark.parametrize("q", ["", ".test"])
def test_pages_hold_everybody_once_the_newest_first(
    store: sa.Connection, monkeypatch: pytest.MonkeyPatch, few: int, q: str
) -> None:
    monkeypatch.setattr(contact_pages, "FEW", few)
    people = [f"p{n}@x{n}.test" for n in range(7)]
    add(store, people[0], "other@x0.test")
    for each in people[1:]:
        add(store, each)
    for minute, person in enumerate((people[3], "other@x0.test", people[5], people[0], people[3])):
        log(store, person, minutes=minute, account=f"ada{minute % 2}@example.test")
    everybody = [people[n] for n in (3, 0, 5, 1, 2, 4, 6)]
    assert pages(store, 2, None, q) == pages(store, 3, None, q) == pages(store, 100, None, q) == everybody
    theirs = [people[n] for n in (0, 1, 2, 3, 4, 5, 6)]  # only minutes 1 and 3 are in this account
    assert pages(store, 2, ["ada1@example.test"], q) == theirs
    assert contact_pages.count(store, "x5") == 1
    assert [each.key for each in contact_pages.newest_first(store, "other@", 5, None, None)] == [people[0]]
    for wrong in ("", "1", "x.y", f"{9**40}.a"):
        with pytest.raises(ValueError):
            contact_pages.Place.read(wrong)


def pages(store: sa.Connection, size: int, accounts: list[str] | None, q: str) -> list[str]:
    found: list[str] = []
    behind = None
    while page := contact_pages.newest_first(store, q, size, behind, accounts):
        found += [each.key for each in page]
        behind = contact_pages.Place.read(page[-1].cursor)
    return found
