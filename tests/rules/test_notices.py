"""What an incoming message is; tests/corpus has many more as they are written in the field."""

from __future__ import annotations

import pytest

from proxyd.formats.message import heading
from proxyd.model import Kind
from proxyd.reported import NO_REPORT, RecipientStatus, Report
from proxyd.rules.notices import WEIGHT, automatic, may_report, notice

REPORT = 'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n'
DAEMON = "From: MAILER-DAEMON@mx.test\n"


def told(*actions: str, receipt: bool = False) -> Report:
    return Report(tuple(RecipientStatus(f"{n}@x", each) for n, each in enumerate(actions)), receipt=receipt)


@pytest.mark.parametrize(
    ("fields", "report", "kind", "what"),
    [
        pytest.param("From: a@b\n", NO_REPORT, Kind.MESSAGE, "", id="a person"),
        pytest.param(REPORT, told("failed"), Kind.BOUNCE, "delivery_failed", id="failed"),
        pytest.param(REPORT, told("delivered", "failed"), Kind.BOUNCE, "delivery_failed", id="one of two failed"),
        pytest.param(REPORT, told("delayed", "delivered"), Kind.AUTO_REPLY, "delivery_delayed", id="one of two waits"),
        pytest.param(REPORT, told("relayed"), Kind.AUTO_REPLY, "delivered", id="relayed"),
        pytest.param(REPORT, told("read", receipt=True), Kind.AUTO_REPLY, "read", id="displayed"),
        pytest.param(REPORT, told("deleted", receipt=True), Kind.AUTO_REPLY, "deleted_unread", id="deleted"),
        pytest.param(REPORT, NO_REPORT, Kind.BOUNCE, "delivery_failed", id="a report that cannot be read"),
        pytest.param(REPORT + "Subject: Delayed Mail\n", NO_REPORT, Kind.AUTO_REPLY, "delivery_delayed", id="a delay"),
        pytest.param(
            "Content-Type: multipart/report; report-type=feedback-report\n",
            NO_REPORT,
            Kind.AUTO_REPLY,
            "automatic_answer",
            id="a report of another type",
        ),
        pytest.param(DAEMON + "Subject: failure notice\n", NO_REPORT, Kind.BOUNCE, "delivery_failed", id="qmail"),
        pytest.param("From: a@b\nSubject: failure notice\n", NO_REPORT, Kind.MESSAGE, "", id="a person's subject"),
        pytest.param(DAEMON + "Subject: Hello\n", NO_REPORT, Kind.MESSAGE, "", id="a daemon with other words"),
        pytest.param(
            "From: a@b\nReturn-Path: <>\nX-Failed-Recipients: c@d\n",
            NO_REPORT,
            Kind.BOUNCE,
            "delivery_failed",
            id="Exim",
        ),
        pytest.param(
            "From: a@b\nAuto-Submitted: auto-replied\n", NO_REPORT, Kind.AUTO_REPLY, "automatic_answer", id="RFC 3834"
        ),
    ],
)
def test_notice(fields: str, report: Report, kind: Kind, what: str) -> None:
    found = notice(heading(fields.encode()), report)
    assert (found.kind, found.what) == (kind, what)
    assert bool(found.because) is bool(what)


@pytest.mark.parametrize(
    ("fields", "because"),
    [
        ("Return-Path: <>\n", ""),
        ("Precedence: bulk\n", ""),
        ("X-Auto-Response-Suppress: All\nPrecedence: bulk\n", ""),
        ("Return-Path: <>\nPrecedence: bulk\n", "Return-Path: <> and Precedence: bulk"),
        (
            "X-Auto-Response-Suppress: All\nX-MS-Exchange-Inbox-Rules-Loop: a@b\n",
            "X-MS-Exchange-Inbox-Rules-Loop and X-Auto-Response-Suppress: All",
        ),
        ("Auto-Submitted: no\nReturn-Path: <>\nPrecedence: bulk\nX-Autoreply: yes\n", ""),
    ],
)
def test_the_signs_are_weighed_together(fields: str, because: str) -> None:
    assert automatic(heading(fields.encode())) == because
    assert max(WEIGHT.values()) == 3


@pytest.mark.parametrize(
    ("fields", "may"),
    [
        ("From: a@b\n", False),
        ("From: a@b\nReturn-Path: <a@b>\nAuto-Submitted: auto-replied\n", False),
        ("From: a@b\nReturn-Path: <>\n", True),
        ("From: Postmaster@b\n", True),
        ("Subject: nobody wrote it\n", True),
        ("From: a@b\n" + REPORT, True),
    ],
)
def test_of_a_persons_mail_no_text_is_looked_at(fields: str, may: bool) -> None:
    assert may_report(heading(fields.encode())) is may
