"""A day with Thunderbird: every kind of connection on localhost, its own copies in Sent, new mail without asking."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proxyd.model import LOGGED_MARK
from tests.clients.place import Place, plain, subject
from tests.clients.thunderbird.thunderbird import Thunderbird
from tests.servers.mailprovider import COLLEAGUE, CUSTOMER, PERSON
from tests.servers.waiting import eventually

KINDS = [("direct", "tls"), ("direct", "starttls"), ("proxyd", "tls"), ("proxyd", "starttls"), ("proxyd", "plain")]


# Thunderbird compresses wherever it is offered; proxyd does not offer it, and sees what is uploaded to Sent.
COMPRESSES = "mail_plugins = zlib\nprotocol imap {\n  mail_plugins = zlib imap_zlib\n}\n"


@pytest.fixture(params=KINDS, ids=[" ".join(kind) for kind in KINDS])
def thunderbird(request: pytest.FixtureRequest, make_place: Callable[..., Place]):
    through, connection = request.param
    place = make_place(through, dovecot={"settings": COMPRESSES})
    if place.rig is not None:
        place.rig.add_contact()
    with Thunderbird(place, connection) as thunderbird:
        yield thunderbird


def test_a_day(thunderbird: Thunderbird) -> None:
    place = thunderbird.place
    place.fill(2)
    thunderbird.open_inbox()
    thunderbird.sees("Number 2")

    offer = place.folder / "offer.pdf"
    offer.write_bytes(b"%PDF-1.7 offer" * 10_000)
    thunderbird.send(CUSTOMER, "Offer", "Here it is.\n", bcc=COLLEAGUE, file=offer)
    for who in (CUSTOMER, COLLEAGUE):
        (got,) = eventually(lambda who=who: place.provider.dovecot.messages(who), f"the offer at {who}")
        assert b"\r\nBcc:" not in got.octets
    (copy,) = place.provider.dovecot.messages(PERSON, "Sent")
    assert copy.flags - {LOGGED_MARK} == {"\\Seen"}
    assert f"\r\nBcc: {COLLEAGUE}\r\n".encode() in copy.octets
    roles = {"INBOX": "inbox", "Drafts": "drafts", "Trash": "trash", "Sent": "sent"}
    assert thunderbird.folders() == roles

    place.provider.dovecot.deliver(PERSON, plain("News", sender=CUSTOMER, to=PERSON))
    thunderbird.sees("News")  # nothing asks for new mail here: IDLE told of it
    thunderbird.reply("News")
    got = eventually(lambda: (each := place.provider.dovecot.messages(CUSTOMER)) and each[1:], "the reply")
    assert subject(got[0].octets) == "Re: News"
    assert "\\Answered" in place.flags()["News"]
    if place.rig is None:
        assert "COMPRESS DEFLATE" in place.provider.dovecot.rawlog(PERSON)
    else:
        assert "COMPRESS" not in place.provider.dovecot.rawlog(PERSON).replace("COMPRESS=DEFLATE", "")
        logged_and_filed_once(place)
    assert place.subjects("Sent") == ["Offer", "Re: News"]


def logged_and_filed_once(place: Place) -> None:
    rig = place.rig
    assert rig is not None
    eventually(lambda: rig.account_status()["waiting"]["sent_copies"] == 0, "every Sent copy settled")
    logged = {each["subject"]: each for each in rig.timeline(CUSTOMER)}
    assert set(logged) == {"Offer", "Re: News"}
    (attachment,) = logged["Offer"]["attachments"]
    assert (attachment["name"], attachment["size"]) == ("offer.pdf", 140_000)
    for each in logged.values():
        copy = each["sent_copy"]
        assert (copy["state"], copy["by"], copy["copies"]) == ("present", "client", 1)

    (offer,) = [each for each in rig.provider.dovecot.messages(CUSTOMER) if subject(each.octets) == "Offer"]
    rig.reply(offer.octets)
    answered = eventually(
        lambda: [each for each in rig.timeline(CUSTOMER) if each["direction"] == "incoming"], "the customer's answer"
    )
    assert answered[0]["thread"] == logged["Offer"]["thread"]


@pytest.mark.parametrize(("through", "copies"), [("direct", 2), ("proxyd", 1)])
def test_a_provider_that_files_sent_mail_itself(make_place: Callable[..., Place], through: str, copies: int) -> None:
    """The provider's copy and Thunderbird's: two of each directly, one of each through proxyd."""
    place = make_place(through, files_sent=True, told="yes")
    with Thunderbird(place, "tls") as thunderbird:
        thunderbird.open_inbox()
        for n in range(3):
            thunderbird.send(CUSTOMER, f"Offer {n}", "Here it is.\n")
        if place.rig is not None:
            rig = place.rig
            eventually(lambda: rig.account_status()["waiting"]["sent_copies"] == 0, "all of it settled", within=60)
    assert sorted(place.subjects("Sent")) == sorted([f"Offer {n}" for n in range(3)] * copies)
