"""The way of one message: begun in the journal, handed over, its outcome recorded, the client answered.

Why this way: the client may go at any moment, the provider may answer late. So each message is carried by a task of its
own that ends with the outcome on record whatever the client does; whoever answers the client only waits for it, for as
long as `answer_within` allows. A client that comes again joins what is under way instead of sending a second mail.

Where the account says `on_outage: spool`, a mail that the provider cannot be given waits here, and its client hears 250
as soon as that is on record: `rules.spool` says when, `relay.spool` sees to it from then on.
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
    Progress,
    SendUnknown,
    Sent,
    SmtpReply,
    Spooled,
    State,
    Told,
)
from proxyd.relay import answers
from proxyd.relay import outcome as outcomes
from proxyd.relay.handing import Handing, TakenOut
from proxyd.relay.recording import Recording
from proxyd.rules import connection, spool
from proxyd.workers import Clock, start

T = TypeVar("T")

log = structlog.get_logger()


class Provider(Protocol):
    """What the relay asks of an account's `proxyd.provider.smtp.Submitter`."""

    @property
    def offer(self) -> Offer | None: ...

    def warm(self) -> None: ...

    async def submit(self, envelope: Envelope, content: Content, progress: Progress | None = None) -> Outcome: ...


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
        self._recording = Recording(journal, clock)
        self._under_way: set[asyncio.Task[None]] = set()

    async def hand_in(self, account: Account, intake: Intake, submission: Submission) -> Handed:
        """Begin, hand over, record; returns at the latest when `answer_within` is over. Cancelling it stops nothing."""
        deadline = self._clock.monotonic() + account.sending.answer_within
        handing: Handing[Known] = Handing(account, self._journal)
        work = start(self._carry(intake, submission, handing), _task(intake.id))
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)
        work.add_done_callback(functools.partial(_failed, handing.answer))
        overdue = start(self._overdue(handing, account.sending.answer_within), "answer within")
        try:
            known = await handing.answer
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
            start(self._recording.record(Told(handed.id, handed.reply, self._clock.now())), f"told {handed.id}")

    async def close(self, seconds: float) -> None:
        """Let the messages that are on their way come to their outcome, for at most `seconds`."""
        deadline = self._clock.monotonic() + seconds
        if self._under_way:
            await self._within(asyncio.gather(*self._under_way, return_exceptions=True), deadline)

    # --- one message

    async def _carry(self, intake: Intake, submission: Submission, handing: Handing[Known]) -> None:
        """The answer is set in the same breath: that a task has ended is heard two turns of the loop later."""
        known = await self._outcome(intake, submission, handing)
        if not handing.answer.done():
            handing.answer.set_result(known)

    async def _overdue(self, handing: Handing[Known], seconds: float) -> None:
        await self._clock.sleep(seconds)
        known = await self._take_over(handing)
        if not handing.answer.done():
            handing.answer.set_result(known)

    async def _take_over(self, handing: Handing[Known]) -> Known | None:
        """The client must be answered now: may it be 250, because the mail is ours from here on?"""
        if not handing.can_be_taken_over:
            return None
        now = self._clock.now()
        why = "the provider has not answered yet"
        record = self._journal.record(Spooled(handing.id, why, now, now, trying=handing.began))
        if not await handing.take_over(record):
            log.error("mail not taken into the spool", submission=handing.id)
            return None
        return Known(handing.id, State.SUBMITTING, answers.KEPT_STILL_ASKED)

    async def _outcome(self, intake: Intake, submission: Submission, handing: Handing[Known]) -> Known:
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
                handing.id = begun.id
                return await self._hand_over(begun, handing)

    async def _hand_over(self, begun: Begun, handing: Handing[Known]) -> Known:
        try:
            outcome = await self._submit(begun, handing)
            if await handing.is_ours():
                return await self._tried(begun, outcome)
        except TakenOut:
            return Known(begun.id, State.REFUSED, answers.KEPT_STILL_ASKED)
        finally:
            handing.over()
        handing.decided = True
        known, event = self._judge(begun, handing.account.address, outcome)
        if handing.spools and not handing.unreadable and known.reply is not None:
            kept = await self._keep(begun, handing.account.address, outcome, known.reply)
            if kept is not None:
                return kept
        await self._recording.record(event)
        return known

    async def _keep(self, begun: Begun, account: str, outcome: Outcome, instead: SmtpReply) -> Known | None:
        """In the spool, on record; None where it does not belong there, or cannot be kept."""
        at = self._clock.now()
        condition = self._journal.condition(account)
        if isinstance(outcome, NotHandedOver):
            condition = connection.step(condition, outcome.event, at)
        if isinstance(spool.at_hand_over(outcome, condition.side("SMTP").state), spool.PassOn):
            return None
        try:
            await self._journal.record(Spooled(begun.id, instead.text, at, at))
        except Exception:
            log.exception("mail not taken into the spool", submission=begun.id)
            return None
        return Known(begun.id, State.SUBMITTING, answers.kept(instead))

    async def _tried(self, begun: Begun, outcome: Outcome) -> Known:
        """The client heard 250 meanwhile, so what came of it is the spool's."""
        verdict = spool.after_try(outcome, 0, 0.5, 0.0)
        people = sum(not each.optional for each in begun.envelope.recipients)
        await self._recording.record(outcomes.event(begun.id, outcome, verdict, people, self._clock.now()))
        return Known(begun.id, State.SUBMITTING, answers.KEPT_STILL_ASKED)

    async def _submit(self, begun: Begun, handing: Handing[Known]) -> Outcome:
        progress = handing if handing.spools else None
        try:
            return await self._providers(handing.account.address).submit(begun.envelope, begun.content, progress)
        except TakenOut:
            raise
        except (TryLater, OSError) as error:  # the octets could not be read again: nothing was sent
            log.exception("submission not readable", submission=begun.id)
            handing.unreadable = True
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

    # --- the rest

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
    if joined.spooled:
        return answers.KEPT_BEFORE
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
            return answers.STILL_GOING if answer is None else answers.KEPT_BEFORE
        case _:
            return answers.UNCLEAR
