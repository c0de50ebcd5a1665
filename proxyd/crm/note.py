"""A message as a person reads it where a CRM has notes and no e-mails: heading, text, our id at the end."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from proxyd.crm.adapter import Direction, MailAddress, Record


def reference(id: str) -> str:
    """What a note is found by again."""
    return f"[proxyd {id}]"


def heading(record: Record) -> list[str]:
    """When it was sent or received, by whom to whom, and its subject: a line each."""
    word = "Sent" if record.direction is Direction.OUTGOING else "Received"
    lines = [f"{word}: {record.date:%Y-%m-%d %H:%M} UTC", f"From: {people([record.from_])}"]
    for name, some in (("To", record.to), ("Cc", record.cc), ("Bcc", record.bcc)):
        if some:
            lines.append(f"{name}: {people(some)}")
    return [*lines, f"Subject: {record.subject}"]


def note(record: Record) -> str:
    text = record.text.rstrip()
    return "\n".join([*heading(record), "", text, "", f"Message-ID: <{record.message_id}>", reference(record.id)])


def note_html(record: Record, html: str) -> str:
    """The same for a CRM whose notes are HTML; without `html`, of the text."""
    body = html or in_html(record.text.rstrip())
    foot = [f"Message-ID: <{record.message_id}>", reference(record.id)]
    return f"<p>{_lines(heading(record))}</p>{body}<p>{_lines(foot)}</p>"


def in_html(text: str) -> str:
    """Plain text, its spaces and line ends kept."""
    return f'<pre style="white-space: pre-wrap">{escape(text)}</pre>'


def _lines(lines: Iterable[str]) -> str:
    return "<br>".join(escape(each) for each in lines)


def state_note(record: Record) -> str:
    """That a message which is there already is, say, bounced."""
    about = f"This message is {record.state}: {record.subject}\nMessage-ID: <{record.message_id}>"
    return f"{about}\n{reference(f'{record.id} {record.state}')}"


def people(some: Iterable[MailAddress]) -> str:
    return ", ".join(f"{each.name} <{each.address}>" if each.name else each.address for each in some)
