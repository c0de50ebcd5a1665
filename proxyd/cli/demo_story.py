"""What happens in the demo: each step is done, and then looked for where it must show."""

from __future__ import annotations

import contextlib
import functools
import imaplib
import smtplib
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from time import monotonic
from typing import Any

from proxyd.cli.demo_house import DemoHouse, NotSeen
from proxyd.cli.demo_provider import HOST, Person

SISTER = "sister@family.example"
PDF = b"%PDF-1.4\n1 0 obj << /Type /Catalog >> endobj\ntrailer << /Root 1 0 R >>\n%%EOF\n"
NETWORK = 10.0  # seconds for one command of a mail client

Document = dict[str, Any]


class Story:
    """The steps in their order. Each returns what was seen, as a sentence; raises NotSeen."""

    def __init__(self, house: DemoHouse) -> None:
        self._house = house
        self._offer = _message(house.ada, f"{house.grace.name} <{house.grace.address}>", "Offer: one compiler", OFFER)
        self._offer.add_attachment(PDF, maintype="application", subtype="pdf", filename="offer.pdf")
        self._private = _message(house.ada, SISTER, "Sunday", PRIVATE)
        self._newsletter = _message(NEWS, house.ada.address, "This week", "Nothing new.\n")
        self._reply = _message(house.grace, house.ada.address, "Re: Offer: one compiler", REPLY)
        self._reply["In-Reply-To"] = self._reply["References"] = self._offer["Message-ID"]

    @property
    def steps(self) -> tuple[tuple[str, Callable[[], str]], ...]:
        return (
            ("start a mail provider with two mailboxes", self._provider),
            ("start proxyd and let it sign in", self._daemon),
            ("make Grace a contact", self._contact),
            ("send Grace an offer through proxyd", self._send_offer),
            ("send mail to somebody who is no contact", self._send_private),
            ("find one copy of each in Ada's Sent folder", self._sent_copies),
            ("see that the private mail left nothing", self._nothing_left),
            ("let Grace answer", self._answer),
            ("see that nothing else was touched", self._untouched),
        )

    # --- steps ---------------------------------------------------------------------------------------------

    def _provider(self) -> str:
        house = self._house
        house.provider.start()
        for person in (house.ada, house.grace):
            with self._mailbox(person, "Sent"):
                pass
        return f"IMAP on {HOST}:{house.provider.imap_port}, SMTP on {HOST}:{house.provider.smtp_port}"

    def _daemon(self) -> str:
        self._house.start_daemon()
        status = self._house.until(10, "status says connected", self._connected)
        listening = status["daemon"]["listening"]
        return f"{self._house.ada.address} is connected; mail is taken on {listening['smtp']} and {listening['smtps']}"

    def _connected(self) -> Document | None:
        with self._house.daemon() as link:
            status = link.status()
        return status if [each["state"] for each in status["accounts"]] == ["connected"] else None

    def _contact(self) -> str:
        grace = self._house.grace
        with self._house.daemon() as link:
            link.add_contact(grace.address, grace.name, "Customer Inc.")
            known = [each["email"] for each in link.contacts()["contacts"]]
        _expect(known == [grace.address], "the list of contacts has Grace")
        return f"{grace.address} ({grace.name}, Customer Inc.)"

    def _send_offer(self) -> str:
        answer = self._send(self._offer, self._house.grace.address)
        self._arrived(self._house.grace, self._offer)
        (sent,) = self._house.until(5, "the timeline shows the offer", lambda: self._house.record()["messages"])
        _expect(sent["state"] == "sent", "the timeline says that the offer was sent")
        _expect([each["name"] for each in sent["attachments"]] == ["offer.pdf"], "the record has offer.pdf")
        return f"the provider said {answer}; logged because {sent['because']}"

    def _send_private(self) -> str:
        answer = self._send(self._private, SISTER)
        self._house.provider.deliver(self._house.ada.address, _dated(self._newsletter))
        return f"the provider said {answer}; meanwhile a newsletter came in"

    def _sent_copies(self) -> str:
        for message in (self._offer, self._private):
            what = f"Sent copy of {message['Subject']!r}"
            self._arrived(self._house.ada, message, "Sent")
            self._house.until(5, f"explain tells of the {what}", functools.partial(self._settled, message))
            _expect(self._count(self._house.ada, "Sent", message) == 1, f"exactly one {what}")
        return "one each, filed by proxyd, because neither the client nor the provider did"

    def _settled(self, message: EmailMessage) -> bool:
        told = self._explain(message)
        copy = (told or {}).get("sent_copy") or {}
        return bool(copy.get("state") == "present" and copy.get("copies") == 1)

    def _nothing_left(self) -> str:
        told = self._explain(self._private)
        if told is None or told["logged"]:
            raise NotSeen("explain says that the private mail is not logged")
        with self._house.daemon() as link:
            everything = repr((link.timeline(None, None, 50), told))
        for word in (SISTER, str(self._private["Subject"]), PRIVATE.split()[0]):
            _expect(word not in everything, f"no {word!r} in the records")
        return f"not logged, because {told['because']}; only the hash of its Message-ID is left"

    def _answer(self) -> str:
        house = self._house
        with smtplib.SMTP(HOST, house.provider.smtp_port, timeout=NETWORK) as smtp:
            smtp.login(house.grace.address, house.grace.password)
            smtp.sendmail(house.grace.address, [house.ada.address], _dated(self._reply))
        arrived = monotonic()
        newest = self._house.until(10, "the timeline shows the reply", self._reply_record)
        waited = monotonic() - arrived
        (offer,) = [each for each in self._house.record()["messages"] if each["direction"] == "outgoing"]
        _expect(newest["thread"] == offer["thread"], "the reply is in the offer's thread")
        _expect(newest["new_text"].strip() == REPLY.split("\n\n")[0], "the reply's own words are told from the quoted")
        self._arrived(house.ada, self._reply)
        return f"recorded {waited:.2f} s after it arrived; logged because {newest['because']}"

    def _reply_record(self) -> Document | None:
        named = self._reply["Message-ID"]
        return next((each for each in self._house.record()["messages"] if each["message_id"] == named), None)

    def _untouched(self) -> str:
        with self._mailbox(self._house.ada, "INBOX") as imap:
            seen = imap.uid("SEARCH", "SEEN")[1][0].split()
            unseen = imap.uid("SEARCH", "UNSEEN")[1][0].split()
            (reply,) = _search(imap, self._reply)
        _expect(len(unseen) == 2 and not seen, "both mails in Ada's inbox are still unread")
        read = self._house.provider.witness.read
        _expect(read == {("INBOX", reply)}, f"no message but the reply was read by proxyd (it read {sorted(read)})")
        with self._house.daemon() as link:
            logged = [each["message_id"] for each in link.timeline(None, None, 50)["messages"]]
        _expect(sorted(logged) == sorted([self._offer["Message-ID"], self._reply["Message-ID"]]), "only two are logged")
        return (
            "a newsletter and the reply lie unread in Ada's inbox; proxyd asked for no message's text but the reply's"
        )

    # --- what mail clients do ------------------------------------------------------------------------------

    def _send(self, message: EmailMessage, to: str) -> str:
        """As Ada's client does; returns the provider's answer."""
        house = self._house
        with house.daemon() as link:
            port = int(link.status()["daemon"]["listening"]["smtp"].rpartition(":")[2])
        with smtplib.SMTP("localhost", port, timeout=NETWORK) as smtp:
            smtp.starttls(context=house.trusting_context())
            smtp.login(house.ada.address, house.client_password)
            smtp.mail(house.ada.address)
            smtp.rcpt(to)
            code, text = smtp.data(_dated(message))
        _expect(code == 250, f"the client hears 250 (it heard {code} {text!r})")
        return f"{code} {text.decode('ascii', 'replace')}"

    def _arrived(self, person: Person, message: EmailMessage, folder: str = "INBOX") -> None:
        with self._mailbox(person, folder) as imap:
            what = f"{message['Subject']!r} in {person.name}'s {folder}"
            self._house.until(10, what, lambda: imap.noop() and _search(imap, message))

    def _count(self, person: Person, folder: str, message: EmailMessage) -> int:
        with self._mailbox(person, folder) as imap:
            return len(_search(imap, message))

    @contextlib.contextmanager
    def _mailbox(self, person: Person, folder: str) -> Iterator[imaplib.IMAP4]:
        with imaplib.IMAP4(HOST, self._house.provider.imap_port, timeout=NETWORK) as imap:
            imap.login(person.address, person.password)
            _expect(imap.select(folder, readonly=True)[0] == "OK", f"{person.name} has a folder {folder}")
            yield imap

    def _explain(self, message: EmailMessage) -> Document | None:
        with self._house.daemon() as link:
            return link.explain(str(message["Message-ID"]))


NEWS = Person("news@weekly.example", "The Weekly", "")

OFFER = """Dear Grace,

here is our offer for one compiler, ready by spring.

Ada
"""

PRIVATE = """Eleven o'clock at mother's, bring the children.
"""

REPLY = """Dear Ada, we take it.

> here is our offer for one compiler, ready by spring.
"""


def _message(sender: Person, to: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = f"{sender.name} <{sender.address}>"
    message["To"] = to
    message["Subject"] = subject
    message["Message-ID"] = make_msgid(domain=sender.address.partition("@")[2])
    message.set_content(text)
    return message


def _dated(message: EmailMessage) -> bytes:
    """As it goes out, now."""
    message["Date"] = formatdate(localtime=True)
    return message.as_bytes()


def _search(imap: imaplib.IMAP4, message: EmailMessage) -> list[str]:
    """The UIDs of a message in the selected folder."""
    found: bytes = imap.uid("SEARCH", "HEADER", "Message-ID", f'"{message["Message-ID"]}"')[1][0]
    return found.decode("ascii").split()


def _expect(seen: bool, what: str) -> None:
    if not seen:
        raise NotSeen(f"not seen: {what}")
