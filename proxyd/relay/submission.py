"""The way of one message: begun in the journal, handed over, its outcome recorded, the client answered.

Why this way: the client may go at any moment, the provider may answer late. So each message is carried by a task of its
own that ends with the outcome on record whatever the client does; whoever answers the client only waits for it, for as
long as `answer_within` allows. A client that comes again joins what is under way instead of sending a second mail.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from proxyd.config import Account
from proxyd.errors import TryLater
from proxyd.formats.smtp_client import Offer
from proxyd.formats.smtp_dialogue import one_line, reply
from proxyd.journal import Begun, Intake, Joined, Journal, Logged, Submission
from proxyd.model import (
    Accepted,
    Content,
    Envelope,
    Event,
    NotAccepted,
    NotHandedOver,
    NotSent,
    Outcome,
    OutcomeUnknown,
    SendUnknown,
    Sent,
    SmtpReply,
    State,
    Told,
)
from proxyd.relay import answers
from proxyd.rules import connection, retry
from proxyd.workers import Clock, start

RECORD_TRIES = 20  # of an outcome that could not be recorded; after that only a restart looks for the message

T = TypeVar("T")

log = structlog.get_logger()


class Provider(Protocol):
    """What the relay asks of an account's `proxyd.provider.smtp.Submitter`."""

    @property
    def offer(self) -> Offer | None: ...

    def warm(self) -> None: ...

    async def submit(self, envelope: Envelope, content: Content) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of submission `id`; `reply` is what the client hears where that is settled."""

    id: str
    state: State
    reply: SmtpReply | None = None


@dataclass(frozen=True, slots=True)
class Handed:
    """The client's answer; `id` is the submission that it is about, empty where none was begun."""

    reply: SmtpReply
    id: str = ""


class Submissions:
    """Every message that clients hand in. `providers` gives an account's Submitter by the account's address."""

    def __init__(self, journal: Journal, providers: Callable[[str], Provider], clock: Clock) -> None:
        self._journal = journal
        self._providers = providers
        self._clock = clock
        self._under_way: set[asyncio.Task[None]] = set()

    async def hand_in(self, account: Account, intake: Intake, submission: Submission) -> Handed:
        """Begin, hand over, record; returns at the latest when `answer_within` is over. Cancelling it stops nothing."""
        deadline = self._clock.monotonic() + account.sending.answer_within
        outcome: asyncio.Future[Known | None] = asyncio.get_running_loop().create_future()
        work = start(self._carry(intake, submission, outcome), _task(intake.id))
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)
        work.add_done_callback(functools.partial(_failed, outcome))
        overdue = start(self._overdue(outcome, account.sending.answer_within), "answer within")
        try:
            known = await outcome
        finally:
            overdue.cancel()
        if known is None:
            return Handed(answers.STILL_GOING, intake.id)
        if known.reply is not None:
            return Handed(known.reply, known.id)
        left = max(0.0, deadline - self._clock.monotonic())
        return Handed(_settled(*await self._journal.wait_settled(known.id, left)), known.id)

    def is_under_way(self, id: str) -> bool:
        """Is it being begun or handed over, whether or not anybody waits for it?"""
        return any(each.get_name() == _task(id) for each in self._under_way)

    def told(self, handed: Handed) -> None:
        """The client was given its answer on a connection that stood both ways. The journal writes in the order asked,
        so the same mail again, right behind its 250, finds this on record: it is meant as a second mail."""
        if handed.id:
            start(self._record(Told(handed.id, handed.reply, self._clock.now())), f"told {handed.id}")

    async def close(self, seconds: float) -> None:
        """Let the messages that are on their way come to their outcome, for at most `seconds`."""
        deadline = self._clock.monotonic() + seconds
        if self._under_way:
            await self._within(asyncio.gather(*self._under_way, return_exceptions=True), deadline)

    # --- one message

    async def _carry(self, intake: Intake, submission: Submission, outcome: asyncio.Future[Known | None]) -> None:
        """`outcome` is set in the same breath: that a task has ended is heard two turns of the loop later."""
        known = await self._outcome(intake, submission)
        if not outcome.done():
            outcome.set_result(known)

    async def _overdue(self, outcome: asyncio.Future[Known | None], seconds: float) -> None:
        await self._clock.sleep(seconds)
        if not outcome.done():
            outcome.set_result(None)

    async def _outcome(self, intake: Intake, submission: Submission) -> Known:
        try:
            begun = await self._journal.begin(intake, submission)
        except Exception as error:
            log.error(
                "submission not begun", submission=intake.id, exc_info=not isinstance(error, TryLater), why=str(error)
            )
            await self._drop(intake)
            return Known("", State.REFUSED, answers.NOT_KEPT)
        match begun:
            case Logged():
                return Known(begun.id, State.SENT, reply(250, one_line(f"2.0.0 {begun.because}")))
            case Joined():
                log.info("submission joined", submission=begun.id, state=begun.state)
                return Known(begun.id, begun.state, _joined(begun))
            case Begun():
                return await self._hand_over(begun, submission.account)

    async def _hand_over(self, begun: Begun, account: str) -> Known:
        known, event = self._judge(begun, account, await self._submit(begun, account))
        await self._record(event)
        return known

    async def _submit(self, begun: Begun, account: str) -> Outcome:
        try:
            return await self._providers(account).submit(begun.envelope, begun.content)
        except (TryLater, OSError) as error:  # the octets could not be read again: nothing was sent
            log.exception("submission not readable", submission=begun.id)
            return NotAccepted(
                reply(452, one_line(f"4.3.1 The message could not be read back, it was not sent: {error}"))
            )
        except Exception:
            log.exception("submission failed by a fault of ours", submission=begun.id)
            return OutcomeUnknown("a fault in proxyd while the message was handed over; see its log")

    def _judge(self, begun: Begun, account: str, outcome: Outcome) -> tuple[Known, Event]:
        """What the outcome means: for the client, and for the record."""
        at = self._clock.now()
        match outcome:
            case Accepted():
                answer = answers.accepted(outcome)
                return Known(begun.id, State.SENT, answer), Sent(begun.id, outcome.reply, at, outcome.without)
            case NotAccepted():
                answer = answers.not_accepted(outcome, sum(not each.optional for each in begun.envelope.recipients))
                return Known(begun.id, State.REFUSED, answer), NotSent(begun.id, answer, at, outcome.reply.text)
            case NotHandedOver():
                condition = connection.step(self._journal.condition(account), outcome.event, at)
                answer = answers.not_handed_over(outcome, condition.sentence)
                return Known(begun.id, State.REFUSED, answer), NotSent(begun.id, answer, at, outcome.why)
            case OutcomeUnknown():
                return Known(begun.id, State.UNKNOWN), SendUnknown(begun.id, outcome.why, at)

    # --- the record

    async def _record(self, event: Event) -> None:
        """Durable when it returns, unless the store fails: then it is tried again behind the client's back.

        What the provider did has happened. A record that fails must not turn its 250 into anything else.
        """
        try:
            await self._journal.record(event)
        except Exception:
            log.critical(
                "outcome NOT on record", submission=getattr(event, "id", ""), event_=type(event).__name__, exc_info=True
            )
            start(self._record_later(event), "record again")

    async def _record_later(self, event: Event) -> None:
        for attempt in range(RECORD_TRIES):
            await self._clock.sleep(retry.delay(attempt, 0.5))
            try:
                await self._journal.record(event)
            except Exception as error:
                log.error("outcome still not on record", submission=getattr(event, "id", ""), error=str(error))
            else:
                log.warning("outcome on record at last", submission=getattr(event, "id", ""))
                return

    async def _drop(self, intake: Intake) -> None:
        try:
            await intake.abandon()
        except Exception as error:
            log.error("what was received could not be dropped", submission=intake.id, error=str(error))

    async def _within(self, work: Awaitable[T], deadline: float) -> bool:
        """Whether `work` ended before the clock showed `deadline` (monotonic). It goes on either way."""
        task = asyncio.ensure_future(work)
        timer = start(self._clock.sleep(max(0.0, deadline - self._clock.monotonic())), "answer within")
        try:
            await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        return task.done()


def _failed(outcome: asyncio.Future[Known | None], work: asyncio.Task[None]) -> None:
    """A message whose task ended without an outcome: whoever waits for it hears of the fault."""
    if outcome.done():
        return
    if work.cancelled() or (error := work.exception()) is None:
        outcome.cancel()
    else:
        outcome.set_exception(error)


def _task(id: str) -> str:
    return f"submission {id}"


def _joined(joined: Joined) -> SmtpReply | None:
    if joined.state is State.SENT:
        return answers.accepted(Accepted(joined.reply)) if joined.reply is not None else answers.TAKEN
    return joined.reply if joined.state is State.REFUSED else None


def _settled(state: State, answer: SmtpReply | None) -> SmtpReply:
    match state:
        case State.SENT:
            return (
                answers.accepted(Accepted(answer)) if answer is not None and answer.code // 100 == 2 else answers.TAKEN
            )
        case State.REFUSED:
            return answer if answer is not None and answer.code >= 400 else answers.UNCLEAR
        case State.SUBMITTING:
            return answers.STILL_GOING
        case _:
            return answers.UNCLEAR
