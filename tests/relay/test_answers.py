"""What the client hears for each thing that a provider or a connection can do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.smtp_dialogue import TEXT_LIMIT, octets
from proxyd.model import Accepted, HealthCause, HealthEvent, NotAccepted, NotHandedOver, SmtpReply
from proxyd.relay import answers

NO_USER = SmtpReply(550, ("5.1.1 No such user",))
FULL = SmtpReply(450, ("4.2.2 Mailbox full",))


def said(code: int, *lines: str) -> SmtpReply:
    return SmtpReply(code, lines)


@pytest.mark.parametrize(
    ("reply", "heard"),
    [
        (said(250, "2.0.0 OK 1732 - gsmtp"), "250 2.0.0 OK 1732 - gsmtp"),
        (said(250, "2.0.0 OK <id@x>", "[Hostname=x]"), "250 2.0.0 OK <id@x> [Hostname=x]"),
        (said(251, "will forward"), "250 will forward"),
        (said(250, ""), "250 2.0.0 OK"),
        (said(250, "Danke schön\u2028"), "250 Danke sch?n?"),
    ],
)
def test_accepted(reply: SmtpReply, heard: str) -> None:
    assert answers.accepted(Accepted(reply)).text == heard


@pytest.mark.parametrize(
    ("outcome", "recipients", "heard"),
    [
        pytest.param(NotAccepted(NO_USER, (("bob@x", NO_USER),)), 1, "550 5.1.1 No such user", id="the only one"),
        pytest.param(
            NotAccepted(NO_USER, (("bob@x", NO_USER),)),
            3,
            "550 5.1.1 bob@x: No such user (nobody got it)",
            id="one of three",
        ),
        pytest.param(
            NotAccepted(FULL, (("a@x", FULL), ("b@x", NO_USER))),
            2,
            "550 5.1.1 a@x: Mailbox full; b@x: No such user (nobody got it)",
            id="the permanent one speaks",
        ),
        pytest.param(NotAccepted(said(550, "No")), 3, "550 No", id="MAIL or DATA refused, no status"),
        pytest.param(
            NotAccepted(said(550, "No"), (("b@x", said(550, "No")),)), 2, "550 b@x: No (nobody got it)", id="no status"
        ),
        pytest.param(NotAccepted(said(554, "5.7.1 Spam", "see x")), 1, "554 5.7.1 Spam see x", id="several lines"),
        pytest.param(NotAccepted(said(552, "")), 1, "552 5.0.0 Refused by the provider", id="no words"),
        pytest.param(
            NotAccepted(said(421, "4.7.0 Too many")), 1, "451 4.3.2 The provider said: 421 4.7.0 Too many", id="421"
        ),
        pytest.param(
            NotAccepted(said(530, "5.7.0 Sign in")), 1, "454 4.7.0 The provider said: 530 5.7.0 Sign in", id="530"
        ),
        pytest.param(NotAccepted(said(354, "go on")), 1, "451 4.3.2 The provider said: 354 go on", id="out of order"),
    ],
)
def test_not_accepted(outcome: NotAccepted, recipients: int, heard: str) -> None:
    assert answers.not_accepted(outcome, recipients).text == heard


@pytest.mark.parametrize(
    ("cause", "reply", "heard"),
    [
        (HealthCause.UNREACHABLE, None, "451 4.4.1 sentence"),
        (HealthCause.UNREACHABLE, said(554, "go away"), "451 4.4.1 sentence"),
        (HealthCause.THROTTLED, None, "451 4.3.2 sentence"),
        (HealthCause.THROTTLED, said(452, "4.3.1 Full"), "452 4.3.1 Full"),
        (HealthCause.THROTTLED, said(421, "Wait"), "451 4.3.2 The provider said: 421 Wait"),
        (HealthCause.SIGN_IN_REFUSED, said(535, "5.7.8 No"), "454 4.7.0 sentence"),
        (HealthCause.ACCESS_REVOKED, None, "454 4.7.0 sentence"),
        (HealthCause.MISCONFIGURED, None, "451 4.3.5 sentence"),
    ],
)
def test_not_handed_over(cause: HealthCause, reply: SmtpReply | None, heard: str) -> None:
    outcome = NotHandedOver("why", HealthEvent(cause, "SMTP"), reply)
    assert answers.not_handed_over(outcome, "sentence").text == heard


REPLIES = st.builds(SmtpReply, st.integers(100, 999), st.lists(st.text(), min_size=1, max_size=4).map(tuple))


@given(REPLIES, st.lists(st.tuples(st.text(), REPLIES), max_size=5).map(tuple), st.integers(1, 5))
def test_whatever_a_provider_says_is_one_line_and_closes_nothing(
    reply: SmtpReply, about: tuple[tuple[str, SmtpReply], ...], recipients: int
) -> None:
    heard = answers.not_accepted(NotAccepted(reply, about), recipients)
    assert 400 <= heard.code < 600
    assert heard.code not in (421, 530, 534, 535, 538)
    for answer in (heard, answers.accepted(Accepted(reply))):
        assert octets(answer).count(b"\r\n") == 1
        assert len(answer.lines[0]) <= TEXT_LIMIT
