"""A message written from its parts (RFC 5322, 2045): what a person composes in the CRM, as octets.

Why the threading fields are set by hand: the standard library folds them as if they were prose, and encodes a long
Message-ID as an encoded word, which no server reads. Every text that goes into a header is checked first: a line end in
it is refused, not repaired, so that nobody writes a field of their own through it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

import idna

from proxyd.errors import ProxydError
from proxyd.formats.html import html_to_text, references
from proxyd.model import MailAddress

MOST_RECIPIENTS = 500
MOST_REFERENCES = 30  # the first and the last ones: what clients thread by
LONGEST_SUBJECT = 2000  # characters
LONGEST_NAME = 200

_POLICY = SMTP.clone(cte_type="7bit", max_line_length=78)  # goes through every server unchanged
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")
_ID = re.compile(r"[!-;=?-~]{1,900}")  # printable ASCII without brackets
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,60}")
_CONTENT_ID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,200}")


class NotComposable(ProxydError):
    """What was given makes no message; the text says what is accepted."""


@dataclass(frozen=True, slots=True)
class File:
    """`content_id`, without brackets: the HTML shows it as `cid:…`; "" for an attachment."""

    name: str
    type: str
    octets: bytes
    content_id: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """`in_reply_to` and `references` are Message-IDs without brackets. `log`: None = the account's rules decide."""

    from_: MailAddress
    to: tuple[MailAddress, ...]
    cc: tuple[MailAddress, ...] = ()
    bcc: tuple[MailAddress, ...] = ()
    subject: str = ""
    text: str = ""
    html: str = ""
    in_reply_to: str = ""
    references: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    log: bool | None = None

    @property
    def recipients(self) -> tuple[str, ...]:
        """Each once, as they go into the envelope."""
        people = (*self.to, *self.cc, *self.bcc)
        return tuple(dict.fromkeys(_addr_spec(each.address) for each in people))


def compose(draft: Draft, message_id: str, date: str) -> bytes:
    """The whole message; `message_id` without brackets, `date` an RFC 5322 date-time. Raises NotComposable."""
    try:
        return _compose(draft, message_id, date)
    except UnicodeEncodeError:
        raise NotComposable("a text holds half a character (a lone surrogate)") from None


def _compose(draft: Draft, message_id: str, date: str) -> bytes:
    if not draft.recipients:
        raise NotComposable("nobody is named to send it to; accepted: at least one address in to, cc or bcc")
    if len(draft.recipients) > MOST_RECIPIENTS:
        raise NotComposable(f"{len(draft.recipients)} recipients; accepted: at most {MOST_RECIPIENTS}")
    made = EmailMessage(policy=_POLICY)
    made["From"] = _person(draft.from_)
    for name, people in (("To", draft.to), ("Cc", draft.cc), ("Bcc", draft.bcc)):
        if people:
            made[name] = [_person(each) for each in people]
    made["Subject"] = _one_line(draft.subject, LONGEST_SUBJECT, "the subject")
    if draft.log is not None:
        made["X-CRM-Log"] = "yes" if draft.log else "no"
    _write_body(made, draft)
    return _threading(draft, message_id, date) + made.as_bytes()


def _threading(draft: Draft, message_id: str, date: str) -> bytes:
    lines = [f"Message-ID: <{_id(message_id)}>", f"Date: {_one_line(date, 100, 'the date')}"]
    if draft.in_reply_to:
        lines.append(f"In-Reply-To: <{_id(draft.in_reply_to)}>")
    usable = [each for each in draft.references if _ID.fullmatch(each)]
    if len(usable) > MOST_REFERENCES:
        usable = [usable[0], *usable[1 - MOST_REFERENCES :]]
    if usable:
        lines.append("References: " + "\r\n ".join(f"<{each}>" for each in usable))
    return ("\r\n".join(lines) + "\r\n").encode("ascii")


def _id(value: str) -> str:
    if not _ID.fullmatch(value):
        raise NotComposable("a Message-ID holds what none may hold: white space, brackets or letters beyond ASCII")
    return value


# --- people ----------------------------------------------------------------------------------------------------


def _person(person: MailAddress) -> Address:
    name = _one_line(person.name, LONGEST_NAME, "a name")
    return Address(display_name=name, addr_spec=_addr_spec(person.address))


def _addr_spec(address: str) -> str:
    """As it goes on the wire: the domain in A-labels. A local part beyond ASCII would need SMTPUTF8 all the way."""
    local, at, domain = _one_line(address, 500, "an address").strip().rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or ".." in local or local[0] == "." or local[-1] == ".":
        raise NotComposable(f"{_shown(address)} is no address that can be sent to; accepted: grace@customer.example")
    try:
        encoded = idna.encode(domain, uts46=True).decode("ascii") if not domain.isascii() else domain
    except UnicodeError:
        encoded = ""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", encoded):
        raise NotComposable(f"{_shown(address)} is no address that can be sent to; accepted: grace@customer.example")
    return f"{local}@{encoded}"


def _one_line(text: str, longest: int, what: str) -> str:
    if _CONTROL.search(text):
        raise NotComposable(f"{what} holds a line end or another control character; accepted: one line of text")
    if len(text) > longest:
        raise NotComposable(f"{what} is longer than {longest} characters")
    return text


def _shown(text: str) -> str:
    return repr(text[:80])


# --- the body --------------------------------------------------------------------------------------------------


def _write_body(made: EmailMessage, draft: Draft) -> None:
    """mixed(alternative(plain, related(html, pictures)), attachments), without the levels that nothing needs."""
    text = draft.text or html_to_text(draft.html)
    made.set_content(_lines(text), charset="utf-8", cte="quoted-printable")
    pictures = [each for each in draft.files if each.content_id and draft.html]
    if draft.html:
        made.add_alternative(_lines(draft.html), subtype="html", charset="utf-8", cte="quoted-printable")
        if pictures:
            _add_pictures(made, draft.html, pictures)
    for each in draft.files:
        if each not in pictures:
            maintype, subtype = _type(each.type).split("/")
            made.add_attachment(each.octets, maintype, subtype, filename=_name(each.name), cte="base64")


def _add_pictures(made: EmailMessage, html: str, pictures: Iterable[File]) -> None:
    shown = references(html)
    body = made.get_payload()[-1]  # type: ignore[index]
    assert isinstance(body, EmailMessage)
    for each in pictures:
        if not _CONTENT_ID.fullmatch(each.content_id):
            raise NotComposable("a content_id is letters, digits and .-_@, at most 200")
        if each.content_id not in shown:
            raise NotComposable(f"the HTML shows no cid:{each.content_id}")
        maintype, subtype = _type(each.type).split("/")
        body.add_related(
            each.octets,
            maintype,
            subtype,
            cid=f"<{each.content_id}>",
            filename=_name(each.name),
            disposition="inline",
            cte="base64",
        )


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def _type(said: str) -> str:
    """What is no media type, or would be read as part of the message's own structure, is octets."""
    lowered = said.strip().lower()
    known = _MEDIA_TYPE.fullmatch(lowered) and not lowered.startswith(("multipart/", "message/", "text/"))
    return lowered if known else "application/octet-stream"


def _name(name: str) -> str:
    last = re.split(r"[/\\]", _one_line(name, LONGEST_NAME, "a file's name"))[-1].strip()
    return last or "attachment"
