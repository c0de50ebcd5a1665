"""What is written because of a report: of the message that it is about, and for whom it did not arrive.

`Reading` takes a report in while the message is stored; the functions are part of the job that logs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from proxyd.formats.reports import READ
from proxyd.formats.reports import read as read_report
from proxyd.model import Heading, Kind, ThreadMatch, mailbox_key
from proxyd.reported import NO_REPORT, RecipientStatus, Report
from proxyd.rules import notices
from proxyd.rules.notices import Notice
from proxyd.store import contacts, deliveries, ledger, submissions, timeline

_WORDS = {
    "failed": "not delivered",
    "delayed": "delivery delayed",
    "delivered": "delivered",
    "relayed": "handed on to a server that reports no delivery",
    "expanded": "delivered to a list",
    "read": "displayed",
    "deleted": "deleted unread",
}


class Reading:
    """Holds the first octets of a message that may be a report; of any other nothing."""

    def __init__(self, heading: Heading) -> None:
        self._head = bytearray()
        self._left = READ if notices.may_report(heading) else 0

    def feed(self, octets: bytes) -> None:
        if self._left:
            self._head += octets[: self._left]
            self._left = max(0, self._left - len(octets))

    def finish(self) -> Report:
        """Slow where the message is large: for a worker."""
        return read_report(bytes(self._head)) if self._head else NO_REPORT


def subject_of(
    connection: sa.Connection, account: str, report: Report, match: ThreadMatch | None
) -> ThreadMatch | None:
    """Which message it is about: the one that it returns. What In-Reply-To names may be another one of the thread."""
    ids = (*report.ids, *report.ids_in_text)
    known = timeline.known(connection, account, ids) if ids else {}
    for id in ids:
        if id in known and known[id].outgoing:
            return ThreadMatch(known[id].message, known[id].thread, f"it reports on <{id}>")
    return match


def statuses(connection: sa.Connection, notice: Notice, report: Report, message: str) -> list[RecipientStatus]:
    """What is said of each recipient, under the address that the person wrote to.

    A text that names addresses counts for those that are recipients; one that names none of them for the only one.
    """
    recipients = {mailbox_key(each): each for each in timeline.recipients_of(connection, message)}
    said = report.recipients
    if not said and notice.what in ("delivery_failed", "delivery_delayed"):
        action = notice.what.removeprefix("delivery_")
        named = [replace(each, action=action) for each in report.mentioned if mailbox_key(each.address) in recipients]
        said = tuple(named)
        if not said and len(recipients) == 1:
            detail = next((each for each in report.mentioned if each.status), RecipientStatus("", action))
            said = (replace(detail, address=next(iter(recipients.values())), action=action),)
    if len(recipients) == 1 and len(said) == 1:  # a forwarding server names the address that it forwards to
        return [replace(said[0], address=next(iter(recipients.values())))]
    return [replace(each, address=recipients.get(mailbox_key(each.address), each.address)) for each in said]


def note(
    connection: sa.Connection, message: str, told: Iterable[RecipientStatus], notice: Notice, report: str, at: datetime
) -> None:
    """Put it on record at the message that it is about: state, recipients, steps."""
    for each in deliveries.note(connection, message, told, report, at):
        detail = " ".join(filter(None, (each.address + ":", each.status, each.detail)))
        submissions.step(connection, message, at, _WORDS.get(each.action, each.action), detail.rstrip(":"))
    if notice.kind is Kind.BOUNCE:
        timeline.bounced(connection, message)
        ledger.owe_state(connection, message, at)


def participant(
    connection: sa.Connection, account: str, match: ThreadMatch | None, heading: Heading, notice: Notice
) -> str | None:
    """Does somebody answer who was in the thread before? None where nobody answers anything."""
    if match is None or notice.kind is Kind.BOUNCE or not heading.from_:
        return None
    authors = contacts.same_person(connection, (mailbox_key(each.address) for each in heading.from_))
    there = timeline.people_of_thread(connection, account, match.thread)
    return "known" if authors & there else "unknown"
