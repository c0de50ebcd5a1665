"""Which dropbox gets a copy of a message, and how (BCC logging).

The copy goes in a transaction of its own after the provider took the message, so the dropbox is in nobody else's
envelope, even where the person typed it, and its refusal is never the person's.

Where the provider files what it sends, a second transaction would be filed as a second Sent copy, which is nobody's to
remove (Gmail merges two of one Message-ID, Exchange does not). There the dropbox is one more recipient of the person's
own transaction, an optional one: where it is refused the message goes to the others all the same, and the copy is tried
alone later, or given up, as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from proxyd.model import (
    LOG_ADDRESS,
    Accepted,
    Envelope,
    NotAccepted,
    NotHandedOver,
    Outcome,
    OutcomeUnknown,
    Recipient,
    Tracked,
    Verdict,
    mailbox_key,
)
from proxyd.rules import retry
from proxyd.rules.sent_copy import FilesSent
from proxyd.rules.tracking import TrackingSettings

LONGEST_WAIT = retry.LONGEST  # seconds between two tries
TRIES = 200  # about two days of trying, then a person must look


def with_copy(account: TrackingSettings, verdict: Verdict, envelope: Envelope, files_sent: FilesSent) -> Envelope:
    """`envelope` as it goes upstream, with the dropbox where it is to be in the person's own transaction."""
    sent_to = [each.address for each in envelope.recipients]
    if files_sent != "yes" or not sent_to:
        return envelope
    more = tuple(Recipient(each, ("NOTIFY=NEVER",), optional=True) for each in copies(account, verdict, sent_to))
    return replace(envelope, recipients=(*envelope.recipients, *more))


def copies(account: TrackingSettings, verdict: Verdict, sent_to: Iterable[str] = ()) -> tuple[str, ...]:
    """The addresses that get a copy: the account's dropbox, where the message is tracked.

    `sent_to` are the recipients of the person's own transaction: who got it there gets no second one.
    """
    if not account.dropbox or not isinstance(verdict, Tracked):
        return ()
    return () if mailbox_key(account.dropbox) in map(mailbox_key, sent_to) else (account.dropbox,)


def upstream_envelope(envelope: Envelope, dropbox: str | None) -> Envelope:
    """The envelope of the person's own transaction: without log@crm.localhost and without the dropbox.

    Mail to the dropbox alone goes there, like mail to anybody. Nobody is left of mail to log@crm.localhost alone.
    """
    people = _but(envelope.recipients, LOG_ADDRESS)
    others = _but(people, dropbox) if dropbox else people
    return replace(envelope, recipients=others or people)


def _but(recipients: tuple[Recipient, ...], address: str) -> tuple[Recipient, ...]:
    return tuple(each for each in recipients if mailbox_key(each.address) != mailbox_key(address))


def next_try(outcome: Outcome, attempts: int, jitter: float) -> float | None:
    """Seconds until the copy is tried again after `attempts` tries that failed; None: given up.

    A copy that may have arrived is not sent a second time: nobody can look into the CRM's mailbox.
    """
    match outcome:
        case Accepted() | OutcomeUnknown():
            return None
        case NotAccepted(reply=reply) if reply.permanent:
            return None
        case NotAccepted() | NotHandedOver():
            return None if attempts >= TRIES else retry.delay(max(attempts - 1, 0), jitter)
