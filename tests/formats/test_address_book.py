"""Address books as Google, Outlook, Apple, Thunderbird and people's own spreadsheets write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.address_book import Person, read_address_book, usable_address

GRACE = Person(2, "grace@customer.example", "Grace Hopper", "Navy")


@pytest.mark.parametrize(
    "text",
    [
        "email,name,company\ngrace@customer.example,Grace Hopper,Navy\n",
        "E-Mail;Name;Firma\ngrace@customer.example;Grace Hopper;Navy\n",
        "Mail\tName\tOrganisation\r\ngrace@customer.example\tGrace Hopper\tNavy\r\n",
        "First Name,Last Name,Company,E-mail Address,E-mail Type\nGrace,Hopper,Navy,grace@customer.example,SMTP\n",
        "First Name,Last Name,E-mail 1 - Label,E-mail 1 - Value,Organization Name\n"
        "Grace,Hopper,Work,grace@customer.example,Navy\n",
        "\ufeffVorname,Nachname,Primary Email,Organization\nGrace,Hopper,grace@customer.example,Navy\n",
        '"Display Name","Email","Org"\n"Grace Hopper"," grace@customer.example ","Navy"\n',
        "name,e-mail,company\nGrace Hopper,Grace Hopper <grace@customer.example>,Navy\n",
    ],
    ids=["plain", "semicolons", "tabs", "outlook", "google", "bom", "quoted and spaced", "name-addr"],
)
def test_a_csv_gives_address_name_and_company(text: str) -> None:
    book = read_address_book(text.encode())
    assert (book.people, book.problems) == ((GRACE,), ())


def test_a_csv_of_windows_is_read_as_windows_wrote_it() -> None:
    book = read_address_book("email;name\nrené@customer.example;René Müller\n".encode("cp1252"))
    assert book.people == (Person(2, "rené@customer.example", "René Müller"),)


def test_a_csv_without_names_of_columns_is_told_by_its_content() -> None:
    book = read_address_book(b"Grace Hopper,grace@customer.example,Navy\nAda,ada@customer.example,\n")
    assert book.people == (
        Person(1, "grace@customer.example", "Grace Hopper", "Navy"),
        Person(2, "ada@customer.example", "Ada"),
    )


def test_several_addresses_of_one_person_are_one_contact() -> None:
    text = "Name,E-mail 1 - Value,E-mail 2 - Value\nGrace,a@x.example ::: b@x.example,c@x.example\n"
    (grace,) = read_address_book(text.encode()).people
    assert grace == Person(2, "a@x.example", "Grace", "", ("b@x.example", "c@x.example"))


def test_every_line_that_is_not_usable_is_named_and_stops_no_other() -> None:
    text = 'name,email\n"Two\nlines",two@x.example\nNobody,\nBad,not an address\nLast,last@x.example\n'
    book = read_address_book(text.encode())
    assert [(each.line, each.email) for each in book.people] == [(2, "two@x.example"), (6, "last@x.example")]
    assert [(each.line, each.why) for each in book.problems] == [
        (4, "Nobody has no e-mail address"),
        (5, '"not an address" is not an e-mail address'),
    ]


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "the file is empty"),
        (b"name,phone\nGrace,1\n", "no column is called email; give the columns names in the first line"),
        (b"BEGIN:VCARD\nFN:Grace\n", "the card does not end: END:VCARD is missing"),
    ],
    ids=["empty", "no column", "cut off"],
)
def test_a_file_that_is_none_says_why(octets: bytes, why: str) -> None:
    assert [each.why for each in read_address_book(octets).problems] == [why]


VCARD_4 = """BEGIN:VCARD
VERSION:4.0
FN:Grace Hopper
N:Hopper;Grace;Brewster;;
item1.EMAIL;TYPE="work,pref":grace@customer.example
EMAIL:grace@home.example
ORG:Navy\\, US;Research
NOTE:a note\\nof two lines
END:VCARD
"""

VCARD_3_FOLDED = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Hopper;Grace;;;\r\nEMAIL;TYPE=INTERNET:grace@custom\r\n er.example\r\n"
    "PHOTO;ENCODING=b;TYPE=JPEG:AAAA\r\n BBBB\r\nEND:VCARD\r\n"
)

VCARD_2_1 = (
    "BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;Ren=C3=A9;;;\r\n"
    "FN;CHARSET=ISO-8859-1;ENCODING=QUOTED-PRINTABLE:Ren=E9 =\r\nM=FCller\r\n"
    "EMAIL;INTERNET;HOME:rene@customer.example\r\nEND:VCARD\r\n"
)


@pytest.mark.parametrize(
    ("text", "person"),
    [
        (
            VCARD_4,
            Person(5, "grace@customer.example", "Grace Hopper", "Navy, US", ("grace@home.example",)),
        ),
        (VCARD_3_FOLDED, Person(4, "grace@customer.example", "Grace Hopper")),
        (VCARD_2_1, Person(6, "rene@customer.example", "René Müller")),
    ],
    ids=["4.0", "3.0 folded", "2.1 quoted-printable"],
)
def test_a_vcard_gives_address_name_and_company(text: str, person: Person) -> None:
    book = read_address_book(text.encode())
    assert (book.people, book.problems) == ((person,), ())


@pytest.mark.parametrize(
    "said", ["EMAIL;PREF=1", "EMAIL;TYPE=pref", "EMAIL;TYPE=home,PREF", "EMAIL;PREF", 'EMAIL;TYPE="home,pref"']
)
def test_the_address_that_a_card_prefers_is_the_first(said: str) -> None:
    text = (
        f"BEGIN:VCARD\nFN:Grace\nEMAIL;TYPE=work:a@x.example\n{said}:b@x.example\nEMAIL;PREF=2:c@x.example\nEND:VCARD\n"
    )
    assert read_address_book(text.encode()).people == (
        Person(4, "b@x.example", "Grace", "", ("a@x.example", "c@x.example")),
    )


def test_a_broken_card_stops_no_other() -> None:
    text = f"BEGIN:VCARD\nFN:Cut\n{VCARD_3_FOLDED}BEGIN:VCARD\nFN:No address\nEND:VCARD\n"
    book = read_address_book(text.encode())
    assert [each.email for each in book.people] == ["grace@customer.example"]
    assert [each.line for each in book.problems] == [1, 11]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("grace@customer.example", "grace@customer.example"),
        (" mailto:grace@customer.example ", "grace@customer.example"),
        ("Grace <grace@customer.example>", "grace@customer.example"),
        ("grace@bücher.example", "grace@bücher.example"),
        ("grace@localhost", "grace@localhost"),
        ("grace", None),
        ("@customer.example", None),
        ("grace@", None),
        ("grace@customer..example", None),
        ("grace@customer.example\r\nDATA", None),
        ("a b@customer.example", None),
        ("a@b@customer.example", None),
        ("a@x.example, b@x.example", None),
        ("x" * 400 + "@customer.example", None),
    ],
)
def test_what_an_address_is(text: str, address: str | None) -> None:
    assert usable_address(text) == address


@given(st.binary(max_size=400) | st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_file_breaks_the_reader(octets: bytes) -> None:
    for kind in ("", "csv", "vcard"):
        for person in read_address_book(octets, kind).people:
            assert usable_address(person.email) == person.email
            assert person.name.isprintable()
            assert person.company.isprintable()
