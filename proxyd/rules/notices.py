"""What is an incoming message: a person's, a bounce, or what a machine answered? The first line that speaks decides.

1. A delivery report: a bounce where it says "failed" of anybody; else a notice (delayed, delivered).
2. A disposition notification: a notice (read, deleted unread).
3. A delivery report without anything in it that can be read: a bounce, unless its subject speaks of a delay.
4. An odd form: a mail system wrote it, and its subject says what bounces say.
5. An automatic answer: the signs weigh enough together. `X-Auto-Response-Suppress` alone is no sign of a machine:
   ticket systems and Exchange put it on people's mail; `Auto-Submitted: no` wins over all of them.
6. A person's.

Who is not a person is shown as what it is and never left out: an out-of-office answer is an answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxyd.model import Heading, Kind
from proxyd.reported import Report, Sign

WEIGHT = {
    Sign.AUTO_SUBMITTED: 3,
    Sign.AUTO_FIELD: 3,
    Sign.AUTO_PRECEDENCE: 3,
    Sign.SUBJECT: 3,
    Sign.GENERATED: 2,
    Sign.INBOX_RULE: 2,
    Sign.NULL_SENDER: 2,
    Sign.SUPPRESS_ALL: 1,
    Sign.SUPPRESS_SOME: 1,
    Sign.BULK: 1,
}
ENOUGH = 3

MAIL_SYSTEMS = (
    "mailer-daemon",
    "mailer_daemon",
    "mailerdaemon",
    "mail-daemon",
    "maildaemon",
    "postmaster",
    "mailadmin",
    "mmdf",
    "microsoftexchange",
    "complaints",
)

# In lower case; a part of the subject is enough.
_DELAYED = (
    "delayed",
    "(delay)",
    "still being retried",
    "could not send message for past",
    "warning: message",
    "delivery delay",
    "verzögert",
    "retardé",
    "retraso",
    "in ritardo",
    "vertraagd",
)
_FAILED = (
    "undeliver",
    "delivery status notification",
    "delivery failure",
    "delivery failed",
    "delivery has failed",
    "delivery error",
    "failure notice",
    "failure delivery",
    "mail delivery failed",
    "mail delivery system",
    "mail failure",
    "mail system error",
    "message not delivered",
    "non-delivery",
    "nondeliverable",
    "returned mail",
    "returned to sender",
    "returning message to sender",
    "could not be delivered",
    "was not delivered",
    "message status - undeliverable",
    "unzustellbar",
    "nicht zugestellt",
    "zustellung fehlgeschlagen",
    "unbestellbar",
    "non remis",
    "non distribu",
    "échec de la remise",
    "no entregado",
    "no se puede entregar",
    "non recapitabile",
    "mancata consegna",
    "niet bezorgd",
    "onbestelbaar",
    "não entregue",
    "не доставлено",
    "недоставленное",
    "配信不能",
    "无法送达",
    "退信",
)


@dataclass(frozen=True, slots=True)
class Notice:
    """`what` is empty of a person's mail; else delivery_failed, delivery_delayed, delivered, read, deleted_unread or
    automatic_answer."""

    kind: Kind
    what: str = ""
    because: str = ""


PERSONS = Notice(Kind.MESSAGE)


def notice(heading: Heading, report: Report) -> Notice:
    """What the message is, whose header says `heading`, and in which `report` was read (an empty one: none)."""
    if report.recipients:
        return _of_report(report)
    subject = heading.subject.lower()
    if heading.content_type == "multipart/report" or report.receipt:
        return _unread_report(heading, report, subject)
    if by_mail_system(heading):
        if _says(subject, _DELAYED):
            return Notice(Kind.AUTO_REPLY, "delivery_delayed", "a mail system's word on a delay")
        if _says(subject, _FAILED) or Sign.FAILED_RECIPIENTS in heading.signs:
            return Notice(Kind.BOUNCE, "delivery_failed", "a mail system's word on a failure")
    if because := automatic(heading):
        return Notice(Kind.AUTO_REPLY, "automatic_answer", because)
    return PERSONS


def _of_report(report: Report) -> Notice:
    actions = {each.action for each in report.recipients}
    if "failed" in actions:
        return Notice(Kind.BOUNCE, "delivery_failed", "a delivery report says: failed")
    if "delayed" in actions:
        return Notice(Kind.AUTO_REPLY, "delivery_delayed", "a delivery report says: delayed")
    if "read" in actions:
        return Notice(Kind.AUTO_REPLY, "read", "a receipt says: displayed")
    if "deleted" in actions:
        return Notice(Kind.AUTO_REPLY, "deleted_unread", "a receipt says: deleted")
    return Notice(Kind.AUTO_REPLY, "delivered", "a delivery report says: delivered")


def _unread_report(heading: Heading, report: Report, subject: str) -> Notice:
    type = heading.report_type
    if report.receipt or type == "disposition-notification":
        return Notice(Kind.AUTO_REPLY, "automatic_answer", "a receipt")
    if type not in ("", "delivery-status"):
        return Notice(Kind.AUTO_REPLY, "automatic_answer", f"a report: {type}")
    if _says(subject, _DELAYED):
        return Notice(Kind.AUTO_REPLY, "delivery_delayed", "a delivery report whose subject speaks of a delay")
    return Notice(Kind.BOUNCE, "delivery_failed", "a delivery report")


def may_report(heading: Heading) -> bool:
    """Is it worth looking for a report in the message? Of all other mail nothing but the header section counts."""
    return heading.content_type == "multipart/report" or by_mail_system(heading)


def by_mail_system(heading: Heading) -> bool:
    """Did a mail system write it, as far as its author or its return path tells?"""
    local = heading.from_[0].address.partition("@")[0].lower() if heading.from_ else ""
    return Sign.NULL_SENDER in heading.signs or not local or local.startswith(MAIL_SYSTEMS)


def automatic(heading: Heading) -> str:
    """Why it counts as written by a machine, in the words of its signs; empty where it does not."""
    if Sign.SAYS_NO in heading.signs:
        return ""
    weighed = sorted((each for each in heading.signs if each in WEIGHT), key=lambda each: (-WEIGHT[Sign(each)], each))
    if sum(WEIGHT[Sign(each)] for each in weighed) < ENOUGH:
        return ""
    return " and ".join(weighed)


def _says(subject: str, phrases: tuple[str, ...]) -> bool:
    return any(each in subject for each in phrases)
