"""What does this failure mean, and what happens next? The one table of an account's health.

IMAP and SMTP are judged each for itself: signing in to one says nothing of the other. The account is as well as the
worse of the two, and the sentence names it. Beside them stands the sign-in server of OAuth2, while something is wrong
there: connections may stand for hours after their grant is gone.

One refused sign-in does not mean that the password is wrong: large providers refuse for minutes at a time. Three
refusals over at least two minutes, and no success between them, do. Until then it is tried again once a minute; after
that once an hour, so that we do not lock the mailbox, until a new configuration or `again`. That a grant of OAuth2 is
gone is said by the provider's sign-in server in so many words, and believed at once.

A name that the DNS says does not exist is a typing error where nobody ever signed in there, and the network's doing
where somebody did (a hotel, a router): misconfigured | unreachable.

    state \\ what happens signed in  unreachable      throttled        refused          revoked        misconfigured
    connecting            connected  unreachable      throttled        (judged)         access_revoked misconfigured
    connected             connected  unreachable      throttled        (judged)         access_revoked misconfigured
    unreachable           connected  unreachable      throttled        (judged)         access_revoked misconfigured
    throttled             connected  unreachable      throttled        (judged)         access_revoked misconfigured
    misconfigured         connected  unreachable      throttled        (judged)         access_revoked misconfigured
    password_refused      connected  password_refused password_refused password_refused access_revoked misconfigured
    access_revoked        connected  access_revoked   access_revoked   access_revoked   access_revoked misconfigured

(judged): password_refused at the third refusal over two minutes; before that `connected` stays, all else is connecting.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo

from proxyd.model import Health, HealthCause, HealthEvent
from proxyd.rules import grants, retry
from proxyd.rules.remedies import remedy

SIGN_IN_SERVER = "OAuth2"  # the protocol of events that are the sign-in server's

REFUSALS = 3
REFUSED_FOR = timedelta(seconds=120)
NEXT_SIGN_IN = 60.0  # seconds between sign-ins while refusals are judged
PROBE = 3600.0  # seconds between sign-ins once the password counts as refused
RECHECK = 300.0  # seconds between tries while a person must edit something
THROTTLED_LEAST = 30.0  # seconds

_STUCK = (Health.PASSWORD_REFUSED, Health.ACCESS_REVOKED)
_DEFINITE = (HealthCause.SIGNED_IN, HealthCause.ACCESS_REVOKED, HealthCause.MISCONFIGURED)
_MOVES = {
    HealthCause.SIGNED_IN: Health.CONNECTED,
    HealthCause.UNREACHABLE: Health.UNREACHABLE,
    HealthCause.THROTTLED: Health.THROTTLED,
    HealthCause.ACCESS_REVOKED: Health.ACCESS_REVOKED,
    HealthCause.MISCONFIGURED: Health.MISCONFIGURED,
}
TABLE: dict[Health, dict[HealthCause, Health | None]] = {
    state: {
        cause: state
        if state in _STUCK and cause not in _DEFINITE
        else _MOVES.get(cause)  # None: judged by how often and for how long
        for cause in HealthCause
    }
    for state in Health
}

# The worst first: what needs a person before what needs time.
_WORST = (
    Health.MISCONFIGURED,
    Health.ACCESS_REVOKED,
    Health.PASSWORD_REFUSED,
    Health.UNREACHABLE,
    Health.THROTTLED,
    Health.CONNECTING,
    Health.CONNECTED,
)
NEEDS_A_PERSON = frozenset(_WORST[:3])


@dataclass(frozen=True, slots=True)
class Side:
    """One protocol's part. `evidence` is the other side's own last words, empty once all is well."""

    protocol: str
    state: Health
    since: datetime
    at: datetime  # of the last event
    evidence: str = ""
    refusals: int = 0
    first_refusal: datetime | None = None
    proven: bool = False  # somebody has signed in by these settings


@dataclass(frozen=True, slots=True)
class Condition:
    """An account's health: `state` since `since`. A side is there once something has happened on it. `account` is its
    address, for the cure; `by_oauth`: it has no password, so that nobody is to be told of one."""

    since: datetime
    sides: tuple[Side, ...] = field(default=())
    account: str = "ADDRESS"
    by_oauth: bool = False

    @property
    def worst(self) -> Side:
        """The side that decides, of several in one state the sign-in server, for the others wait for its token; "IMAP"
        before anything has happened."""
        if not self.sides:
            return Side("IMAP", Health.CONNECTING, self.since, self.since)
        return min(self.sides, key=lambda side: (_WORST.index(side.state), side.protocol != SIGN_IN_SERVER))

    @property
    def state(self) -> Health:
        return self.worst.state

    @property
    def evidence(self) -> str:
        """The decisive side's last words; where all is well, those of a side that was refused once."""
        return self.worst.evidence or next((side.evidence for side in self.sides if side.evidence), "")

    @property
    def refusals(self) -> int:
        return max((side.refusals for side in self.sides), default=0)

    @property
    def because(self) -> str:
        return _because(self.worst, self.by_oauth)

    @property
    def cure(self) -> str:
        """The one command that heals it, "" where nothing but time does."""
        if self.state in _STUCK:
            return f"proxyd reconnect {self.account}"
        if self.state is not Health.MISCONFIGURED:
            return ""
        return remedy(self.worst.evidence).command.format(account=self.account)

    @property
    def sentence(self) -> str:
        """For a person, in this machine's local time."""
        return told(self)

    def side(self, protocol: str) -> Side:
        """That protocol's part; as at the start where nothing has happened on it."""
        fresh = Side(protocol, Health.CONNECTING, self.since, self.since)
        return next((side for side in self.sides if side.protocol == protocol), fresh)


def step(condition: Condition, event: HealthEvent, now: datetime) -> Condition:
    """The condition after `event`. The instant of a state is when it began, not when it was last confirmed."""
    before = condition.side(event.protocol)
    after = _step_side(before, event, now)
    sides = [side for side in condition.sides if side.protocol != event.protocol]
    if not (event.protocol == SIGN_IN_SERVER and event.cause is HealthCause.SIGNED_IN):
        sides.append(after)
    changed = replace(condition, sides=tuple(sorted(sides, key=lambda side: side.protocol)))
    return replace(changed, since=changed.worst.since)


def not_ahead(condition: Condition, now: datetime) -> Condition:
    """Without times that are still to come, of a clock that was wrong: who waits for them would wait for years."""

    def past(at: datetime) -> datetime:
        return min(at, now)

    sides = tuple(
        replace(
            side,
            since=past(side.since),
            at=past(side.at),
            first_refusal=past(side.first_refusal) if side.first_refusal else None,
        )
        for side in condition.sides
    )
    return replace(condition, since=past(condition.since), sides=sides)


def differs(before: Condition, after: Condition) -> bool:
    """In more than the time of the last event."""
    return [replace(side, at=before.since) for side in before.sides] != [
        replace(side, at=before.since) for side in after.sides
    ]


def again(condition: Condition, now: datetime) -> Condition:
    """When a person says so: everything is tried afresh. That somebody once signed in there stays true."""
    sides = tuple(
        Side(side.protocol, Health.CONNECTING, now, now, proven=True)
        for side in condition.sides
        if side.proven and side.protocol != SIGN_IN_SERVER
    )
    return Condition(now, sides, condition.account, condition.by_oauth)


def _step_side(side: Side, event: HealthEvent, now: datetime) -> Side:
    refusals, first = side.refusals, side.first_refusal
    if event.cause is HealthCause.SIGN_IN_REFUSED:
        refusals, first = refusals + 1, first or now
    elif event.cause in (HealthCause.SIGNED_IN, HealthCause.MISCONFIGURED):
        refusals, first = 0, None
    cause = event.cause
    if cause is HealthCause.NO_SUCH_NAME:
        cause = HealthCause.UNREACHABLE if side.proven else HealthCause.MISCONFIGURED
    state = TABLE[side.state][cause] or _judged(side.state, refusals, first or now, now)
    since = side.since if state is side.state else now
    if state is Health.PASSWORD_REFUSED and side.state is not state:
        since = first or now
    evidence = "" if event.cause is HealthCause.SIGNED_IN else event.evidence
    proven = side.proven or event.cause is HealthCause.SIGNED_IN
    return Side(side.protocol, state, since, now, evidence, refusals, first, proven)


def _judged(state: Health, refusals: int, first: datetime, now: datetime) -> Health:
    if refusals >= REFUSALS and now - first >= REFUSED_FOR:
        return Health.PASSWORD_REFUSED
    return state if state is Health.CONNECTED else Health.CONNECTING


def retry_after(
    condition: Condition, attempt: int, jitter: float, protocol: str = "IMAP", asked: float | None = None
) -> float:
    """Seconds until that protocol's next sign-in; `attempt` counts its failures in a row from 0, `jitter` is in [0, 1).
    `asked`: for how long the other side asked to be left alone.

    A wrong password shows as password_refused after two to two and a half minutes.
    """
    return max(_own_wait(condition.side(protocol), attempt, jitter), grants.asked_for(asked))


def _own_wait(side: Side, attempt: int, jitter: float) -> float:
    if side.state in _STUCK:
        return PROBE * (1 + jitter / 10)
    if side.state is Health.MISCONFIGURED:
        return (remedy(side.evidence).soon or RECHECK) * (1 + jitter / 10)
    wait = retry.delay(attempt, jitter)
    if side.state is Health.THROTTLED:
        return max(wait, THROTTLED_LEAST * (1 + jitter))
    if side.refusals and side.state is not Health.UNREACHABLE:
        return NEXT_SIGN_IN * (1 + jitter / 10)
    return wait


def may_sign_in(condition: Condition, protocol: str, now: datetime) -> bool:
    """May a client's mail cause a sign-in now? Not while the password counts as refused, but once an hour."""
    side = condition.side(protocol)
    return side.state not in _STUCK or now - side.at >= timedelta(seconds=PROBE)


def worth_a_try(side: Side) -> bool:
    """The network or the clock of this machine is another: may that have been what was wrong?"""
    return side.state in (Health.UNREACHABLE, Health.MISCONFIGURED) and not side.refusals


def sign_in_server_is_back(before: Condition, event: HealthEvent) -> bool:
    """It gave a token, and had not `before`."""
    ill = any(side.protocol == SIGN_IN_SERVER for side in before.sides)
    return ill and event.protocol == SIGN_IN_SERVER and event.cause is HealthCause.SIGNED_IN


def waits_for_a_token(side: Side) -> bool:
    """May it be that nothing else is wrong?"""
    return side.state in (Health.UNREACHABLE, Health.THROTTLED, Health.ACCESS_REVOKED) and not side.refusals


def refused(condition: Condition) -> bool:
    """Was a sign-in refused, and none has worked since?"""
    return any(side.refusals or side.state in _STUCK for side in condition.sides)


def rest(condition: Condition, protocol: str, now: datetime) -> float:
    """Seconds that a daemon which has just started leaves the account alone: it must not be locked by restarts."""
    side = condition.side(protocol)
    between = PROBE if side.state in _STUCK else NEXT_SIGN_IN if side.refusals else 0.0
    return max(0.0, between - (now - side.at).total_seconds()) if between else 0.0


# --- kept over a restart --------------------------------------------------------------------------------------


def kept(condition: Condition) -> str:
    """As it is written down."""
    sides = [
        {
            "protocol": side.protocol,
            "state": side.state,
            "since": side.since.isoformat(),
            "at": side.at.isoformat(),
            "evidence": side.evidence,
            "refusals": side.refusals,
            "first_refusal": side.first_refusal.isoformat() if side.first_refusal else None,
            "proven": side.proven,
        }
        for side in condition.sides
    ]
    return json.dumps({"since": condition.since.isoformat(), "sides": sides})


def restored(text: str, account: str, now: datetime) -> Condition | None:
    """What `kept` wrote, after a restart: who was connected is connecting; what was wrong is wrong until it is not.
    None where it cannot be read."""
    try:
        written = json.loads(text)
        sides = tuple(_restored_side(each, now) for each in written["sides"])
    except (ValueError, KeyError, TypeError):
        return None
    condition = not_ahead(Condition(now, sides, account), now)
    return replace(condition, since=condition.worst.since)


def _restored_side(written: dict[str, object], now: datetime) -> Side:
    state = Health(str(written["state"]))
    connected = state is Health.CONNECTED
    first = written["first_refusal"]
    return Side(
        str(written["protocol"]),
        Health.CONNECTING if connected else state,
        now if connected else datetime.fromisoformat(str(written["since"])),
        datetime.fromisoformat(str(written["at"])),
        str(written["evidence"]),
        int(str(written["refusals"])),
        datetime.fromisoformat(str(first)) if first else None,
        bool(written["proven"]),
    )


# --- in words --------------------------------------------------------------------------------------------------


def told(condition: Condition, zone: tzinfo | None = None) -> str:
    """The condition in one sentence and its cure, times in `zone` (None: this machine's)."""
    side = condition.worst
    when = _when(side.since, side.at, zone)
    words = f": {side.evidence}" if side.evidence else ""
    ended = f"{words.rstrip('.')}." if words else "."
    run = f"Run: {condition.cure}"
    mail = side.protocol != SIGN_IN_SERVER
    who, by = ("Provider", f" by {side.protocol}") if mail else ("Sign-in server", "")
    match side.state:
        case Health.CONNECTED:
            refused = next((each for each in condition.sides if each.refusals), None)
            if refused is None:
                return "Connected."
            return f"Connected. {_because(refused, condition.by_oauth)}: {refused.evidence}"
        case Health.CONNECTING:
            return "Connecting." if not side.refusals else f"Connecting. {condition.because}{words}"
        case Health.UNREACHABLE:
            return f"{who} unreachable{by} since {when}{words}"
        case Health.THROTTLED:
            return f"{who} refuses {side.protocol} for now, since {when}; nothing is lost{words}"
        case Health.PASSWORD_REFUSED:
            return f"Signing in to {side.protocol} failed since {when}: {_refused(condition.by_oauth)}{ended} {run}"
        case Health.ACCESS_REVOKED:
            return f"Access{by} was withdrawn at the provider, since {when}{ended} {run}"
        case Health.MISCONFIGURED:
            found = remedy(side.evidence)
            what = found.what.format(protocol=side.protocol)
            ask = f" {found.ask}" if found.ask else ""
            return f"{what}, since {when}{ended}{ask} {found.lead}: {condition.cure}"


def _refused(by_oauth: bool) -> str:
    return "it takes no access token for this mailbox" if by_oauth else "password changed or wrong"


def _because(side: Side, by_oauth: bool) -> str:
    provider = "sign-in server" if side.protocol == SIGN_IN_SERVER else "provider"
    match side.state:
        case Health.CONNECTED | Health.CONNECTING if side.refusals:
            times = "once" if side.refusals == 1 else f"{side.refusals} times"
            secret = "sign-in" if by_oauth else "password"
            return f"{side.protocol} refused to sign in {times}; it is tried again before the {secret} counts as wrong"
        case Health.CONNECTED:
            return "signed in"
        case Health.CONNECTING:
            return "no outcome yet"
        case Health.UNREACHABLE:
            return f"{provider} unreachable by {side.protocol}"
        case Health.THROTTLED:
            return f"{provider} refuses {side.protocol} for now"
        case Health.PASSWORD_REFUSED:
            return f"{side.protocol} sign-in failed: {_refused(by_oauth)}"
        case Health.ACCESS_REVOKED:
            return f"{side.protocol} access withdrawn at the provider"
        case Health.MISCONFIGURED:
            what = remedy(side.evidence).what.format(protocol=side.protocol)
            return f"{what[0].lower()}{what[1:]}"


def _when(since: datetime, at: datetime, zone: tzinfo | None) -> str:
    """The time of day, with the date where the last event was on another day."""
    local, last = since.astimezone(zone), at.astimezone(zone)
    return local.strftime("%H:%M" if local.date() == last.date() else "%Y-%m-%d %H:%M")
