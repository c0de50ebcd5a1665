from __future__ import annotations

from pathlib import Path

from tests.cli.typed import typed, typed_beside
from tests.looping import on_the_loop
from tests.rigged import GRACE, message
from tests.store.test_search import log
from tests.web.served import served


def test_a_contact_is_added_listed_and_completed(tmp_path: Path) -> None:
    assert typed("contact", "list", folder=tmp_path).out.startswith("No contact yet.")
    seen = typed("contact", "add", GRACE, "--name", "Grace Hopper", folder=tmp_path)
    assert (seen.code, seen.out) == (0, f"Added {GRACE} (Grace Hopper)\n")
    again = typed("contact", "add", GRACE.upper(), "--company", "Navy", folder=tmp_path)
    assert again.out == f"Completed {GRACE} (Grace Hopper, Navy)\n"
    listed = typed("contact", "list", "--json", folder=tmp_path).json
    (grace,) = listed.pop("contacts")
    assert listed == {"next": None, "total": 1}
    assert grace.pop("company_id")
    assert grace == {
        "email": GRACE,
        "name": "Grace Hopper",
        "company": "Navy",
        "addresses": [GRACE],
        "company_by": "hand",
        "messages": 0,
        "last": None,
    }


def test_what_is_no_address_is_told_with_what_is(tmp_path: Path) -> None:
    seen = typed("contact", "add", "grace", folder=tmp_path)
    assert (seen.code, seen.out) == (1, "")
    assert seen.err == "proxyd: 'grace' is not an e-mail address; accepted: one such as grace@customer.example\n"


def test_an_import_tells_each_line_that_is_not_usable(tmp_path: Path) -> None:
    book = tmp_path / "people.csv"
    book.write_text("name;email\nGrace;grace@customer.test\nNobody;\nLin;lin@\n")
    seen = typed("contact", "import", str(book), folder=tmp_path)
    assert (seen.code, seen.out) == (0, "1 new, 0 updated, 0 unchanged, 2 lines not usable\n")
    assert seen.err.splitlines() == [
        f"{book}:3: Nobody has no e-mail address",
        f'{book}:4: "lin@" is not an e-mail address',
    ]
    assert typed("contact", "import", str(book), "--json", folder=tmp_path).json["unchanged"] == 1


def test_an_import_that_finds_nobody_says_so(tmp_path: Path) -> None:
    book = tmp_path / "empty.csv"
    book.write_text("")
    assert typed("contact", "import", str(book), folder=tmp_path).code == 1


def test_a_contact_of_a_stranger_cannot_write_on_the_terminal(tmp_path: Path) -> None:
    book = tmp_path / "people.vcf"
    book.write_text("BEGIN:VCARD\nFN:\x1b]0;x\x07[red]:smile:\nEMAIL:grace@customer.test\nEND:VCARD\n")
    typed("contact", "import", str(book), folder=tmp_path)
    shown = typed("contact", "list", folder=tmp_path).out
    assert "\x1b" not in shown
    assert "[red]:smile:" in shown


@on_the_loop
async def test_beside_a_daemon_the_daemon_is_asked(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        assert (await typed_beside("contact", "add", GRACE, folder=tmp_path)).code == 0
        assert (await s.get("/api/v1/contacts"))[1]["contacts"][0]["email"] == GRACE
        book = tmp_path / "people.csv"
        book.write_text("email\nlin@customer.test\n")
        seen = await typed_beside("contact", "import", str(book), folder=tmp_path)
        assert seen.out == "1 new, 0 updated, 0 unchanged\n"
        listed = await typed_beside("contact", "list", "--json", folder=tmp_path)
        assert [each["email"] for each in listed.json["contacts"]] == [GRACE, "lin@customer.test"]
        wrong = await typed_beside("contact", "add", "grace", folder=tmp_path)
        assert (wrong.code, "is not an e-mail address" in wrong.err) == (1, True)


@on_the_loop
async def test_one_person_with_two_addresses_and_their_company(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact("bob@customer.test")
        added = await typed_beside("contact", "add", GRACE, "--alias", "hopper@home.test", folder=tmp_path)
        assert added.out == f"Added {GRACE} (also hopper@home.test)\n"
        taken = await typed_beside(
            "contact", "add", "bob@customer.test", "--alias", "hopper@home.test", folder=tmp_path
        )
        assert f"is the contact {GRACE} already; if they are one person: proxyd contact merge" in taken.err
        split = await typed_beside("contact", "split", "hopper@home.test", folder=tmp_path)
        assert split.out == "A contact of its own: hopper@home.test\n"
        merged = await typed_beside("contact", "merge", GRACE, "hopper@home.test", folder=tmp_path)
        assert merged.out.startswith(f"One contact: {GRACE} (also hopper@home.test). Taken apart again by:")
        told = await typed_beside("contact", "merge", GRACE, "nobody@x.test", folder=tmp_path)
        assert told.err == "proxyd: nobody@x.test is no contact; proxyd contact list shows them\n"
        named = await typed_beside("company", "set", "customer.test", "--name", "Customer Ltd", folder=tmp_path)
        assert named.out == "Customer Ltd: customer.test; 2 contacts\n"
        more = await typed_beside("company", "set", "customer ltd", "--domain", "other.test", folder=tmp_path)
        assert more.out == "Customer Ltd: customer.test, other.test; 2 contacts\n"
        listed = await typed_beside("company", "list", "--json", folder=tmp_path)
        labels = [each["label"] for each in listed.json["companies"]]
        assert labels == ["Customer Ltd"]
        await log(s.desk, message(to=f"Grace <{GRACE}>"))
        shown = await typed_beside("timeline", "--company", "Customer Ltd", "--json", folder=tmp_path)
        assert len(shown.json["messages"]) == 1
        wrong = await typed_beside("timeline", "--company", "nobody.test", folder=tmp_path)
        assert "no company has this id, name or domain" in wrong.err


def test_an_address_book_never_makes_two_contacts_one(tmp_path: Path) -> None:
    book = tmp_path / "people.csv"
    book.write_text("name,email,second email\nGrace,grace@x.test,office@x.test\nBob,bob@x.test,office@x.test\n")
    book.write_text(book.read_text().replace("second email", "email2"))
    seen = typed("contact", "import", str(book), folder=tmp_path)
    assert seen.out == "2 new, 0 updated, 0 unchanged\n"
    assert seen.err.startswith(f"{book}:3: office@x.test is the contact grace@x.test already, and stays it;")
    listed = typed("contact", "list", "--json", folder=tmp_path).json["contacts"]
    assert [each["addresses"] for each in listed] == [["bob@x.test"], ["grace@x.test", "office@x.test"]]
    assert typed("contact", "import", str(book), "--json", folder=tmp_path).json["unchanged"] == 2
    named = typed("company", "set", "x.test", "--name", "X", "--no-domain", "x.test", folder=tmp_path)
    assert named.out == "X: no domain; 0 contacts\n"
    assert typed("company", "list", folder=tmp_path).out.count("x.test") == 2  # its label and its domain


def test_contacts_come_from_standard_input_too(tmp_path: Path) -> None:
    seen = typed("contact", "import", "-", folder=tmp_path, keys="email,name\nzoe@customer.example,Zoe\nnobody,\n")
    assert (seen.code, seen.out) == (0, "1 new, 0 updated, 0 unchanged, 1 line not usable\n")
    assert seen.err.startswith("-:3: ")
