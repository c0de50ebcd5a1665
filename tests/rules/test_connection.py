"""What a connection's events mean. The table, the three refusals, the two protocols, the sentences."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from proxyd.model import Health, HealthCause, HealthEvent
from proxyd.rules.connection import (
    NEXT_SIGN_IN,
    PROBE,
    SIGN_IN_SERVER,
    TABLE,
    Condition,
    Side,
    again,
    differs,
    kept,
    may_sign_in,
    not_ahead,
    refused,
    rest,
    restored,
    retry_after,
    sign_in_server_is_back,
    step,
    told,
    waits_for_a_token,
    worth_a_try,
)

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)

SIGNED_IN = HealthCause.SIGNED_IN
UNREACHABLE = HealthCause.UNREACHABLE
THROTTLED = HealthCause.THROTTLED
REFUSED = HealthCause.SIGN_IN_REFUSED
MISCONFIGURED = HealthCause.MISCONFIGURED
REVOKED = HealthCause.ACCESS_REVOKED
NO_SUCH_NAME = HealthCause.NO_SUCH_NAME
OAUTH = SIGN_IN_SERVER


def after(*events: tuple[float, HealthCause] | tuple[float, HealthCause, str]) -> Condition:
    """The condition after (seconds since the start, cause, protocol)."""
    condition = Condition(since=START)
    for seconds, cause, *protocol in events:
        event = HealthEvent(cause, str(protocol[0]) if protocol else "IMAP", f"words of {cause}")
        condition = step(condition, event, START + timedelta(seconds=seconds))
    return condition


def test_the_table_answers_every_event_in_every_state() -> None:
    assert set(TABLE) == set(Health)
    for state, row in TABLE.items():
        assert set(row) == set(HealthCause), state


@pytest.mark.parametrize(
    ("events", "state", "since"),
    [
        pytest.param([], Health.CONNECTING, 0, id="nothing has happened yet"),
        pytest.param([(1, SIGNED_IN)], Health.CONNECTED, 1, id="signed in"),
        pytest.param([(1, SIGNED_IN), (90, SIGNED_IN)], Health.CONNECTED, 1, id="connected since the first success"),
        pytest.param([(1, UNREACHABLE), (9, UNREACHABLE)], Health.UNREACHABLE, 1, id="unreachable since the first"),
        pytest.param([(1, UNREACHABLE), (9, SIGNED_IN)], Health.CONNECTED, 9, id="a success clears a failure"),
        pytest.param([(1, SIGNED_IN), (2, THROTTLED)], Health.THROTTLED, 2, id="not now is not a wrong password"),
        pytest.param([(1, MISCONFIGURED)], Health.MISCONFIGURED, 1, id="a certificate that is not trusted"),
        pytest.param([(1, MISCONFIGURED), (2, UNREACHABLE)], Health.UNREACHABLE, 2, id="the latest fact counts"),
        pytest.param([(1, NO_SUCH_NAME)], Health.MISCONFIGURED, 1, id="a name that does not exist, from the first"),
        pytest.param(
            [(1, SIGNED_IN), (2, NO_SUCH_NAME)], Health.UNREACHABLE, 2, id="a name that existed yesterday: the network"
        ),
        pytest.param([(1, REFUSED)], Health.CONNECTING, 0, id="one refusal at the start proves nothing"),
        pytest.param([(1, SIGNED_IN), (2, REFUSED)], Health.CONNECTED, 1, id="nor does one while connected"),
        pytest.param([(1, UNREACHABLE), (2, REFUSED)], Health.CONNECTING, 2, id="who refuses is there"),
        pytest.param(
            [(0, REFUSED), (1, REFUSED), (2, REFUSED)], Health.CONNECTING, 0, id="three at once prove nothing"
        ),
        pytest.param([(0, REFUSED), (200, REFUSED)], Health.CONNECTING, 0, id="two far apart are not three"),
        pytest.param(
            [(0, REFUSED), (60, REFUSED), (119, REFUSED)], Health.CONNECTING, 0, id="three in less than two minutes"
        ),
        pytest.param(
            [(0, REFUSED), (60, REFUSED), (120, REFUSED)], Health.PASSWORD_REFUSED, 0, id="three over two minutes"
        ),
        pytest.param(
            [(0, REFUSED), (60, REFUSED), (70, SIGNED_IN), (120, REFUSED)],
            Health.CONNECTED,
            70,
            id="a success between them starts the count again",
        ),
        pytest.param(
            [(0, REFUSED), (60, UNREACHABLE), (90, REFUSED), (130, REFUSED)],
            Health.PASSWORD_REFUSED,
            0,
            id="a network failure between them does not",
        ),
        pytest.param(
            [(0, REFUSED), (60, REFUSED), (120, REFUSED), (130, UNREACHABLE), (140, THROTTLED), (150, REFUSED)],
            Health.PASSWORD_REFUSED,
            0,
            id="a refused password stays so until a success",
        ),
        pytest.param(
            [(0, REFUSED), (60, REFUSED), (120, REFUSED), (3720, SIGNED_IN)],
            Health.CONNECTED,
            3720,
            id="and a success ends it",
        ),
        pytest.param([(1, SIGNED_IN), (9, REVOKED)], Health.ACCESS_REVOKED, 9, id="a grant that is gone, at once"),
        pytest.param(
            [(1, REVOKED), (2, UNREACHABLE), (3, REFUSED), (4, THROTTLED), (5, REVOKED)],
            Health.ACCESS_REVOKED,
            1,
            id="it stays gone until the person has agreed anew",
        ),
        pytest.param([(1, REVOKED), (9, SIGNED_IN)], Health.CONNECTED, 9, id="which a success shows"),
        pytest.param([(1, REVOKED), (9, MISCONFIGURED)], Health.MISCONFIGURED, 9, id="or the client id is wrong now"),
        pytest.param(
            [(0, REFUSED), (60, REFUSED), (120, REFUSED), (130, REVOKED)],
            Health.ACCESS_REVOKED,
            130,
            id="the sign-in server's word is worth more than the mail server's",
        ),
    ],
)
def test_states(events: list[tuple[float, HealthCause]], state: Health, since: float) -> None:
    condition = after(*events)
    assert condition.state is state
    assert condition.since == START + timedelta(seconds=since)


@pytest.mark.parametrize(
    ("events", "state", "protocol"),
    [
        pytest.param(
            [(0, REFUSED, "SMTP"), (60, REFUSED, "SMTP"), (120, REFUSED, "SMTP"), (130, SIGNED_IN, "IMAP")],
            Health.PASSWORD_REFUSED,
            "SMTP",
            id="a success on IMAP does not clear a refusal on SMTP",
        ),
        pytest.param(
            [(0, REFUSED, "SMTP"), (60, REFUSED, "IMAP"), (120, REFUSED, "SMTP")],
            Health.CONNECTING,
            "IMAP",
            id="refusals of two protocols are not added up",
        ),
        pytest.param(
            [(0, SIGNED_IN, "IMAP"), (1, UNREACHABLE, "SMTP")], Health.UNREACHABLE, "SMTP", id="the worse of the two"
        ),
        pytest.param([(0, SIGNED_IN, "IMAP")], Health.CONNECTED, "IMAP", id="what was not tried is not ill"),
    ],
)
def test_two_protocols(events: list[tuple[float, HealthCause, str]], state: Health, protocol: str) -> None:
    condition = after(*events)
    assert condition.state is state
    assert condition.worst.protocol == protocol


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        pytest.param([(0, SIGNED_IN)], "Connected.", id="connected"),
        pytest.param(
            [(120, UNREACHABLE)],
            "Provider unreachable by IMAP since 10:02: words of unreachable",
            id="unreachable names its time and the words",
        ),
        pytest.param(
            [(0, REFUSED), (60, REFUSED), (120, REFUSED)],
            "Signing in to IMAP failed since 10:00: password changed or wrong: words of sign_in_refused. "
            "Run: proxyd reconnect ADDRESS",
            id="a refused password comes with its cure",
        ),
        pytest.param(
            [(0, REFUSED, "SMTP")],
            "Connecting. SMTP refused to sign in once; it is tried again before the password counts as wrong: "
            "words of sign_in_refused",
            id="one refusal is told as what it is",
        ),
        pytest.param(
            [(0, SIGNED_IN), (5, REFUSED)],
            "Connected. IMAP refused to sign in once; it is tried again before the password counts as wrong: "
            "words of sign_in_refused",
            id="connected, and refused once",
        ),
        pytest.param(
            [(0, UNREACHABLE), (90_000, UNREACHABLE)],
            "Provider unreachable by IMAP since 2026-11-23 10:00: words of unreachable",
            id="since another day",
        ),
        pytest.param(
            [(0, MISCONFIGURED, "SMTP")],
            "The settings for SMTP do not work, since 10:00: words of misconfigured. Correct what it names. "
            "Then: proxyd reload",
            id="misconfigured",
        ),
        pytest.param(
            [(0, THROTTLED)],
            "Provider refuses IMAP for now, since 10:00; nothing is lost: words of throttled",
            id="throttled",
        ),
    ],
)
def test_sentences(events: list[tuple[float, HealthCause]], sentence: str) -> None:
    assert told(after(*events), UTC) == sentence


@pytest.mark.parametrize(
    ("events", "because"),
    [
        pytest.param([], "no outcome yet", id="connecting"),
        pytest.param([(0, SIGNED_IN)], "signed in", id="connected"),
        pytest.param([(0, UNREACHABLE)], "provider unreachable by IMAP", id="unreachable"),
        pytest.param([(0, THROTTLED, "SMTP")], "provider refuses SMTP for now", id="throttled"),
        pytest.param([(0, MISCONFIGURED, "SMTP")], "the settings for SMTP do not work", id="misconfigured"),
        pytest.param(
            [(0, REFUSED), (60, REFUSED), (120, REFUSED)],
            "IMAP sign-in failed: password changed or wrong",
            id="refused",
        ),
        pytest.param(
            [(0, REFUSED), (60, REFUSED)],
            "IMAP refused to sign in 2 times; it is tried again before the password counts as wrong",
            id="not yet",
        ),
    ],
)
def test_because(events: list[tuple[float, HealthCause]], because: str) -> None:
    condition = after(*events)
    assert condition.because == because
    assert condition.sentence, "and in local time there is a sentence too"


@pytest.mark.parametrize(
    ("events", "sentence", "because"),
    [
        pytest.param(
            [(0, REFUSED), (60, REFUSED), (120, REFUSED)],
            "Signing in to IMAP failed since 10:00: it takes no access token for this mailbox: words of "
            "sign_in_refused. Run: proxyd reconnect ADDRESS",
            "IMAP sign-in failed: it takes no access token for this mailbox",
            id="nobody is told of a password",
        ),
        pytest.param(
            [(0, REFUSED, "SMTP")],
            "Connecting. SMTP refused to sign in once; it is tried again before the sign-in counts as wrong: "
            "words of sign_in_refused",
            "SMTP refused to sign in once; it is tried again before the sign-in counts as wrong",
            id="refused once",
        ),
        pytest.param(
            [(0, SIGNED_IN), (60, REVOKED, OAUTH)],
            "Access was withdrawn at the provider, since 10:01: words of access_revoked. Run: proxyd reconnect ADDRESS",
            "OAuth2 access withdrawn at the provider",
            id="the grant is gone, and a connection stands all the same",
        ),
        pytest.param(
            [(0, SIGNED_IN), (60, UNREACHABLE, OAUTH)],
            "Sign-in server unreachable since 10:01: words of unreachable",
            "sign-in server unreachable by OAuth2",
            id="the sign-in server is down",
        ),
        pytest.param(
            [(0, SIGNED_IN), (60, THROTTLED, OAUTH)],
            "Sign-in server refuses OAuth2 for now, since 10:01; nothing is lost: words of throttled",
            "sign-in server refuses OAuth2 for now",
            id="the sign-in server asks for patience",
        ),
        pytest.param(
            [(0, SIGNED_IN), (60, REVOKED, OAUTH), (90, SIGNED_IN, OAUTH)], "Connected.", "signed in", id="well"
        ),
        pytest.param([(0, SIGNED_IN, OAUTH)], "Connecting.", "no outcome yet", id="a token is no connection"),
    ],
)
def test_who_signs_in_by_oauth(events: list[tuple[float, HealthCause]], sentence: str, because: str) -> None:
    condition = replace(after(*events), by_oauth=True)
    assert (told(condition, UTC), condition.because) == (sentence, because)


@pytest.mark.parametrize(
    ("cause", "tried"), [(UNREACHABLE, True), (MISCONFIGURED, True), (REFUSED, False), (THROTTLED, False)]
)
def test_another_network_or_clock_is_a_reason_to_try(cause: HealthCause, tried: bool) -> None:
    assert worth_a_try(after((0, cause)).side("IMAP")) is tried


@pytest.mark.parametrize(
    ("events", "back", "waits"),
    [
        pytest.param([(0, THROTTLED), (1, THROTTLED, OAUTH)], True, True, id="it asked for patience"),
        pytest.param([(0, REVOKED), (1, REVOKED, OAUTH)], True, True, id="the grant was gone"),
        pytest.param([(0, REFUSED), (1, UNREACHABLE, OAUTH)], True, False, id="the mail server refused as well"),
        pytest.param([(0, UNREACHABLE)], False, True, id="it was never away"),
    ],
)
def test_the_sign_in_server_is_back(events: list[tuple[float, HealthCause]], back: bool, waits: bool) -> None:
    before = after(*events)
    assert sign_in_server_is_back(before, HealthEvent(SIGNED_IN, OAUTH)) is back
    assert not sign_in_server_is_back(before, HealthEvent(SIGNED_IN, "IMAP"))
    assert waits_for_a_token(before.side("IMAP")) is waits


def test_nothing_is_a_reason_to_try_a_password_that_was_refused() -> None:
    assert not worth_a_try(after((0, REFUSED), (1, UNREACHABLE)).side("IMAP"))


def test_withdrawn_access_stays_until_a_success() -> None:
    side = Side("IMAP", Health.ACCESS_REVOKED, START, START, "invalid_grant")
    revoked = Condition(START, (side,))
    assert revoked.because == "IMAP access withdrawn at the provider"
    assert told(revoked, UTC) == (
        "Access by IMAP was withdrawn at the provider, since 10:00: invalid_grant. Run: proxyd reconnect ADDRESS"
    )
    assert step(revoked, HealthEvent(REFUSED, "IMAP", "no"), START).state is Health.ACCESS_REVOKED
    assert step(revoked, HealthEvent(SIGNED_IN, "IMAP"), START).state is Health.CONNECTED
    assert retry_after(revoked, 0, 0.0) == 3600


def test_evidence_is_kept_with_a_failure_and_goes_with_a_success() -> None:
    assert after((0, UNREACHABLE)).evidence == "words of unreachable"
    assert after((0, UNREACHABLE), (1, SIGNED_IN)).evidence == ""
    assert after((0, SIGNED_IN), (1, REFUSED)).evidence == "words of sign_in_refused"


def test_a_wrong_password_at_the_start_shows_within_three_minutes() -> None:
    for jitter in (0.0, 0.5, 0.99):
        condition, now, attempt = Condition(since=START), START, 0
        while condition.state is not Health.PASSWORD_REFUSED:
            condition = step(condition, HealthEvent(REFUSED, "IMAP", "no"), now)
            now += timedelta(seconds=retry_after(condition, attempt, jitter))
            attempt += 1
        assert attempt == 3, "no more tries than it takes"
        assert condition.worst.at - START < timedelta(minutes=3)
        assert retry_after(condition, attempt, jitter) >= 3600, "and then one an hour"


@pytest.mark.parametrize(
    ("events", "least", "most"),
    [
        pytest.param([(0, UNREACHABLE)], 1, 2, id="a lost connection comes back at once"),
        pytest.param([(0, THROTTLED)], 30, 60, id="who said not now is left alone"),
        pytest.param([(0, REFUSED)], 60, 66, id="after a refusal a minute"),
        pytest.param([(0, REFUSED), (1, UNREACHABLE)], 1, 2, id="unreachable after a refusal"),
        pytest.param([(0, MISCONFIGURED)], 300, 330, id="a person must edit"),
    ],
)
def test_next_try(events: list[tuple[float, HealthCause]], least: float, most: float) -> None:
    assert retry_after(after(*events), 0, 0.0) == least
    assert retry_after(after(*events), 0, 0.999) <= most


def test_who_asks_for_patience_is_left_alone() -> None:
    assert retry_after(after((0, THROTTLED)), 0, 0.0, asked=300) == 300
    assert retry_after(after((0, THROTTLED)), 0, 0.0, asked=1) == 30
    assert retry_after(after((0, UNREACHABLE)), 0, 0.0, asked=1e9) == 3600, "once an hour, whatever it asks for"


def test_while_the_password_is_refused_mail_causes_one_sign_in_an_hour() -> None:
    refused = after((0, REFUSED), (60, REFUSED), (120, REFUSED))
    assert not may_sign_in(refused, "IMAP", START + timedelta(seconds=121))
    assert may_sign_in(refused, "IMAP", START + timedelta(seconds=120 + 3600))
    assert may_sign_in(refused, "SMTP", START + timedelta(seconds=121))


def test_a_new_configuration_starts_afresh() -> None:
    fresh = again(after((0, REFUSED), (60, REFUSED), (120, REFUSED)), START)
    assert fresh.state is Health.CONNECTING
    assert fresh.side("IMAP").refusals == 0


def test_trying_afresh_does_not_make_a_typing_error_of_a_name_that_was_known() -> None:
    fresh = again(after((0, SIGNED_IN), (0, SIGNED_IN, OAUTH), (9, NO_SUCH_NAME)), START)
    assert (fresh.state, len(fresh.sides)) == (Health.CONNECTING, 1)
    assert step(fresh, HealthEvent(NO_SUCH_NAME, "IMAP", "no"), START).state is Health.UNREACHABLE


ILL = [(0, REFUSED), (60, REFUSED), (120, REFUSED)]


@pytest.mark.parametrize(
    ("events", "cure"),
    [
        pytest.param([], "", id="connecting"),
        pytest.param([(0, SIGNED_IN)], "", id="connected"),
        pytest.param([(0, UNREACHABLE)], "", id="only time heals"),
        pytest.param([(0, THROTTLED)], "", id="throttled"),
        pytest.param([(0, MISCONFIGURED)], "proxyd reload", id="after editing"),
        pytest.param(ILL, "proxyd reconnect ADDRESS", id="another password"),
    ],
)
def test_the_one_command_that_heals(events: list[tuple[float, HealthCause]], cure: str) -> None:
    assert after(*events).cure == cure


def test_a_policys_refusal_says_what_to_ask_for() -> None:
    said = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant."
    condition = step(Condition(START), HealthEvent(MISCONFIGURED, "SMTP", said), START)
    assert "please allow authenticated SMTP" in told(condition, UTC)


@pytest.mark.parametrize(
    ("events", "state"),
    [
        pytest.param([(0, SIGNED_IN)], Health.CONNECTING, id="who was connected is connecting"),
        pytest.param([(0, UNREACHABLE)], Health.UNREACHABLE, id="unreachable"),
        pytest.param([(0, REFUSED), (60, REFUSED)], Health.CONNECTING, id="refusals are counted on"),
        pytest.param(ILL, Health.PASSWORD_REFUSED, id="refused stays refused"),
        pytest.param([*ILL, (121, SIGNED_IN, "SMTP")], Health.PASSWORD_REFUSED, id="two sides"),
    ],
)
def test_over_a_restart(events: list[tuple[float, HealthCause]], state: Health) -> None:
    before, later = after(*events), START + timedelta(seconds=600)
    again = restored(kept(before), "ada@example.test", later)
    assert again is not None
    assert again.state is state
    assert again.refusals == before.refusals
    assert again.account == "ada@example.test"
    assert all(side.proven == before.side(side.protocol).proven for side in again.sides)
    assert again.since == (later if before.state is Health.CONNECTED else before.since)


def test_what_a_clock_that_was_ahead_says_locks_nobody_out() -> None:
    year = 365 * 86400.0
    condition = after((year, REFUSED))
    again_right = restored(kept(condition), "ada@example.com", START)
    assert again_right is not None
    assert rest(again_right, "IMAP", START) == NEXT_SIGN_IN
    stuck = not_ahead(after(*[(year + n * 70, REFUSED) for n in range(4)]), START)
    assert may_sign_in(stuck, "IMAP", START + timedelta(seconds=PROBE))
    assert stuck.since == START


def test_what_cannot_be_read_after_a_restart_is_nothing() -> None:
    for text in ("", "[]", "{}", '{"sides": [{}]}', '{"sides": [{"protocol": "IMAP", "state": "odd"}]}'):
        assert restored(text, "ada@example.test", START) is None


@pytest.mark.parametrize(
    ("events", "at", "seconds"),
    [
        pytest.param([(0, SIGNED_IN)], 1, 0, id="well"),
        pytest.param([(0, UNREACHABLE)], 1, 0, id="unreachable is tried at once"),
        pytest.param([(0, REFUSED)], 10, NEXT_SIGN_IN - 10, id="refused a moment ago"),
        pytest.param([(0, REFUSED)], 100, 0, id="refused a while ago"),
        pytest.param(ILL, 130, PROBE - 10, id="the password counts as wrong"),
    ],
)
def test_a_restart_locks_nobody_out(events: list[tuple[float, HealthCause]], at: float, seconds: float) -> None:
    condition = after(*events)
    assert rest(condition, "IMAP", START + timedelta(seconds=at)) == seconds
    assert refused(condition) == any(cause is REFUSED for _, cause, *_ in events)


def test_what_is_worth_writing_down() -> None:
    first = after((0, SIGNED_IN))
    assert not differs(first, step(first, HealthEvent(SIGNED_IN, "IMAP", ""), START + timedelta(seconds=300)))
    assert differs(first, step(first, HealthEvent(REFUSED, "IMAP", "no"), START))
    assert differs(Condition(START), first)
