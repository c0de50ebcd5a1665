"""Who gets the CRM's copy, and when it is tried again."""

from __future__ import annotations

import pytest

from proxyd.model import (
    Accepted,
    Envelope,
    HealthCause,
    HealthEvent,
    NotAccepted,
    NotHandedOver,
    NotTracked,
    Outcome,
    OutcomeUnknown,
    Recipient,
    SmtpReply,
    Tracked,
    Verdict,
)
from proxyd.rules.dropbox import LONGEST_WAIT, TRIES, copies, next_try, upstream_envelope, with_copy
from proxyd.rules.sent_copy import FilesSent
from proxyd.rules.tracking import LOG_ADDRESS, TrackingSettings

DROPBOX = "4711@bcc.crm.example"
GRACE = "grace@customer.example"


@pytest.mark.parametrize(
    ("dropbox", "verdict", "sent_to", "addresses"),
    [
        pytest.param(DROPBOX, Tracked("x"), [GRACE], (DROPBOX,), id="tracked"),
        pytest.param(DROPBOX, NotTracked("X-CRM-Log: no"), [GRACE], (), id="not tracked: no copy leaves"),
        pytest.param(None, Tracked("x"), [GRACE], (), id="no dropbox is set"),
        pytest.param(DROPBOX, Tracked("x"), ["4711@BCC.crm.example"], (), id="it was the only recipient and has it"),
    ],
)
def test_copies(dropbox: str | None, verdict: Verdict, sent_to: list[str], addresses: tuple[str, ...]) -> None:
    assert copies(TrackingSettings("ada@example.com", dropbox=dropbox), verdict, sent_to) == addresses


@pytest.mark.parametrize(
    ("recipients", "left"),
    [
        pytest.param([GRACE], [GRACE], id="nothing to take out"),
        pytest.param([GRACE, DROPBOX], [GRACE], id="the dropbox typed"),
        pytest.param([GRACE, "4711@BCC.CRM.example", "Log@crm.localhost"], [GRACE], id="both, any case"),
        pytest.param([DROPBOX], [DROPBOX], id="mail to the dropbox alone goes there"),
        pytest.param([DROPBOX, LOG_ADDRESS], [DROPBOX], id="and with log@ beside it"),
        pytest.param([LOG_ADDRESS], [], id="log@ is never sent to"),
    ],
)
def test_upstream_envelope(recipients: list[str], left: list[str]) -> None:
    envelope = Envelope(
        "ada@example.com", tuple(Recipient(each, ("NOTIFY=NEVER",)) for each in recipients), ("RET=HDRS",)
    )
    sent = upstream_envelope(envelope, DROPBOX)
    assert [each.address for each in sent.recipients] == left
    assert all(each.parameters == ("NOTIFY=NEVER",) for each in sent.recipients)
    assert sent.parameters == envelope.parameters


@pytest.mark.parametrize(
    ("files_sent", "verdict", "recipients", "more"),
    [
        pytest.param("yes", Tracked("x"), [GRACE], [DROPBOX], id="one transaction, so that one Sent copy is filed"),
        pytest.param("no", Tracked("x"), [GRACE], [], id="its own transaction"),
        pytest.param("unknown", Tracked("x"), [GRACE], [], id="its own, as long as nobody knows"),
        pytest.param("yes", NotTracked("x"), [GRACE], [], id="not tracked: no copy leaves"),
        pytest.param("yes", Tracked("x"), [DROPBOX], [], id="it has it"),
        pytest.param("yes", Tracked("x"), [], [], id="for the log alone"),
    ],
)
def test_with_copy(files_sent: FilesSent, verdict: Verdict, recipients: list[str], more: list[str]) -> None:
    envelope = Envelope("ada@example.com", tuple(map(Recipient, recipients)))
    sent = with_copy(TrackingSettings("ada@example.com", dropbox=DROPBOX), verdict, envelope, files_sent)
    assert sent.recipients[: len(recipients)] == envelope.recipients
    assert [each.address for each in sent.recipients if each.optional] == more


LOST = NotHandedOver("no connection", HealthEvent(HealthCause.UNREACHABLE, "SMTP"))


@pytest.mark.parametrize(
    ("outcome", "attempts", "again"),
    [
        pytest.param(Accepted(SmtpReply(250)), 1, False, id="taken"),
        pytest.param(NotAccepted(SmtpReply(452)), 1, True, id="not now"),
        pytest.param(NotAccepted(SmtpReply(552)), 1, False, id="too big: it never will be"),
        pytest.param(LOST, 1, True, id="not handed over"),
        pytest.param(LOST, TRIES, False, id="for days"),
        pytest.param(OutcomeUnknown("lost"), 1, False, id="it may be there: not a second time"),
    ],
)
def test_next_try(outcome: Outcome, attempts: int, again: bool) -> None:
    wait = next_try(outcome, attempts, 0.5)
    assert (wait is not None) is again
    assert wait is None or 0 < wait <= LONGEST_WAIT


def test_the_first_retry_comes_within_seconds() -> None:
    wait = next_try(LOST, 1, 0.0)
    assert wait == 1.0
