"""What the person finds in their INBOX about a mail that waited here and did not go (RFC 3464, RFC 6522).

A mail that is given up makes a delivery status notification, as from any mail server, with the message in it, or its
header section where it is large. One of which nobody knows whether it was sent makes a plain letter: there is no word
in RFC 3464 for that, and no program is to read one into it. The message returned stands there octet for octet.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from proxyd.model import OWN_DOMAIN

EXPIRED = "4.4.7"  # RFC 3463: delivery time expired
REFUSED = "5.0.0"

_STATUS = re.compile(r"\b5\.\d{1,3}\.\d{1,3}\b")


@dataclass(frozen=True, slots=True)
class Undelivered:
    """`id` is the submission's, `address` the account's; `waited_since`: when it was last put into the spool. `code`:
    of the provider's refusal, None where time ran out. `known`: it was certainly not sent. `returned`: the message,
    `whole` or its header section alone."""

    id: str
    address: str
    recipients: tuple[str, ...]
    subject: str
    sent_at: datetime
    waited_since: datetime
    why: str
    code: int | None
    known: bool
    returned: bytes
    whole: bool


def message_id(mail: Undelivered) -> str:
    """Always the same for the same news: that it is there already can be seen."""
    news = "not-delivered" if mail.known else "unknown"
    return f"{mail.id}.{int(mail.waited_since.timestamp())}.{news}@{OWN_DOMAIN}"


def report(mail: Undelivered, now: datetime) -> bytes:
    """The whole letter, CRLF line ends."""
    boundary = f"=_{mail.id}_{hashlib.sha256(mail.returned).hexdigest()[:16]}"
    parts = [_words(mail), *([_status(mail, now)] if mail.known else []), _returned(mail)]
    between = f"--{boundary}\r\n".encode()
    body = b"".join(between + part + (b"" if part.endswith(b"\r\n") else b"\r\n") for part in parts)
    return _heading(mail, now, boundary) + body + f"--{boundary}--\r\n".encode()


def _heading(mail: Undelivered, now: datetime, boundary: str) -> bytes:
    made = EmailMessage(policy=SMTP)
    made["From"] = f"proxyd <{mail.address}>"
    made["To"] = mail.address
    made["Subject"] = f"{'Not delivered' if mail.known else 'Sent or not'}: {_one_line(mail.subject)}"
    made["Date"] = format_datetime(now)
    made["Message-ID"] = f"<{message_id(mail)}>"
    made["Auto-Submitted"] = "auto-replied"  # RFC 3834: nobody's vacation answers it
    made["MIME-Version"] = "1.0"
    kind = "multipart/report; report-type=delivery-status" if mail.known else "multipart/mixed"
    # By hand, for the package would see to the parts of what says that it has some.
    rest = f'Content-Type: {kind};\r\n boundary="{boundary}"\r\n'
    if not mail.returned.isascii():
        rest += "Content-Transfer-Encoding: 8bit\r\n"
    return made.as_bytes().rstrip() + f"\r\n{rest}\r\n".encode()


def _words(mail: Undelivered) -> bytes:
    made = EmailMessage(policy=SMTP)
    made.set_content(_text(mail), cte="quoted-printable")
    del made["MIME-Version"]
    return made.as_bytes()


def _text(mail: Undelivered) -> str:
    about = (
        f"    To:      {', '.join(mail.recipients)}\n"
        f"    Subject: {_one_line(mail.subject)}\n"
        f"    Sent:    {format_datetime(mail.sent_at)}\n"
    )
    part = "The message" if mail.whole else "The beginning of the message"
    if mail.known:
        return (
            f"This mail could not be delivered. Nobody has got it.\n\n{about}\n{mail.why}\n\n"
            f"{part} is below. proxyd keeps it until you decide:\n\n"
            f"    proxyd spool retry {mail.id}    sends it after all\n"
            f"    proxyd spool show {mail.id}     shows it\n"
            f"    proxyd spool drop {mail.id}     lets go of it\n"
        )
    return (
        "Nobody knows whether this mail was sent. Ask its recipients before you send it again.\n\n"
        f"{about}\n{mail.why}\n\n"
        "It was looked for at your provider and not found, which proves nothing there, so proxyd does not send it "
        f"again by itself. {part} is below; it is kept until you decide:\n\n"
        f"    proxyd settle {mail.id}         says whether they got it\n"
        f"    proxyd spool retry {mail.id}    sends it again\n"
        f"    proxyd spool drop {mail.id}     lets go of it\n"
    )


def _status(mail: Undelivered, now: datetime) -> bytes:
    """RFC 3464 section 2: about the message, then about each recipient."""
    lines = [
        "Content-Type: message/delivery-status",
        "",
        "Reporting-MTA: dns; localhost",
        f"Arrival-Date: {format_datetime(mail.sent_at)}",
    ]
    found = _STATUS.search(mail.why) if mail.code is not None else None
    status = found[0] if found else EXPIRED if mail.code is None else REFUSED
    for each in mail.recipients:
        lines += ["", f"Final-Recipient: {_recipient(each)}", "Action: failed", f"Status: {status}"]
        if mail.code is not None:
            lines.append(f"Diagnostic-Code: smtp; {_ascii(_one_line(mail.why))[:900]}")
        lines.append(f"Last-Attempt-Date: {format_datetime(now)}")
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def _recipient(address: str) -> str:
    """As RFC 3464 has it, an address beyond ASCII as RFC 6533 section 3 (utf-8-addr-xtext)."""
    if address.isascii():
        return f"rfc822; {_one_line(address)}"
    return "utf-8; " + "".join(each if each.isascii() else f"\\x{{{ord(each):X}}}" for each in _one_line(address))


def _returned(mail: Undelivered) -> bytes:
    kind = "message/rfc822" if mail.whole else "text/rfc822-headers"
    eight = "" if mail.returned.isascii() else "Content-Transfer-Encoding: 8bit\r\n"
    return f"Content-Type: {kind}\r\n{eight}\r\n".encode() + mail.returned


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")
