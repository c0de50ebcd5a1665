"""What the client hears, as functions of values: outcomes to replies (RFC 5321 section 4.2, RFC 3463).

The provider's own code and text are the answer. Two kinds of code never pass: those by which a client would think that
*its* password is wrong (530, 534, 535, 538: it would ask for, and overwrite, the one that is right), and 421, which
announces a closed connection that we do not close.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from proxyd.formats.smtp_client import enhanced_code
from proxyd.formats.smtp_dialogue import TEXT_LIMIT, one_line, reply
from proxyd.model import Accepted, HealthCause, NotAccepted, NotHandedOver, SmtpReply

NOT_KEPT = reply(452, "4.3.1 The message could not be kept here, so it was not sent; please try again")
STILL_GOING = reply(451, "4.4.7 The message is still being handed over to the provider; please try again")
UNCLEAR = reply(
    451,
    "4.4.2 The connection to the provider ended before it answered; it is being found out whether "
    "it has the message, please try again later",
)
KEPT_STILL_ASKED = reply(250, "2.0.0 Kept by proxyd: the provider has not answered yet; it goes out as soon as it does")
KEPT_BEFORE = reply(250, "2.0.0 Kept by proxyd since before: it goes out as soon as the provider takes it")
TAKEN = reply(250, "2.0.0 The provider has the message")
_OURS_ALONE = frozenset({530, 534, 535, 538})
_ENHANCED = re.compile(r"^[245]\.\d{1,3}\.\d{1,3}(?:\s+|$)")


def accepted(outcome: Accepted) -> SmtpReply:
    return reply(250, one_line(" ".join(outcome.reply.lines)) or "2.0.0 OK")


def not_accepted(outcome: NotAccepted, recipients: int) -> SmtpReply:
    """`recipients`: of the message. Where one of several was refused nobody got it, and the text says whom and why."""
    code = _fit(outcome.reply)
    if recipients < 2 or not outcome.about:
        return reply(code, _words(code, outcome.reply))
    speaking = next((answer for _, answer in outcome.about if answer.permanent), outcome.about[0][1])
    code = _fit(speaking)
    status = enhanced_code(speaking) if code == speaking.code else ""
    said = "; ".join(f"{address}: {_without_status(answer)}" for address, answer in outcome.about)
    verdict = " (nobody got it)"
    return reply(code, one_line(f"{status} {said}".strip(), TEXT_LIMIT - len(verdict)) + verdict)


def not_handed_over(outcome: NotHandedOver, sentence: str) -> SmtpReply:
    """`sentence` is what `status` says of the account. Never permanent: the message is fine, the connection is not."""
    match outcome.event.cause:
        case HealthCause.SIGN_IN_REFUSED | HealthCause.ACCESS_REVOKED:
            return reply(454, one_line(f"4.7.0 {sentence or outcome.why}"))
        case HealthCause.MISCONFIGURED:
            return reply(451, one_line(f"4.3.5 {sentence or outcome.why}"))
        case HealthCause.THROTTLED:
            if outcome.reply is not None and 400 <= outcome.reply.code < 500:
                code = _fit(outcome.reply)
                return reply(code, _words(code, outcome.reply))
            return reply(451, one_line(f"4.3.2 {sentence or outcome.why}"))
        case _:
            return reply(451, one_line(f"4.4.1 {sentence or outcome.why}"))


def kept(instead: SmtpReply) -> SmtpReply:
    """It waits here; `instead` is what the client would have heard."""
    why = _without_status(instead)
    return reply(250, one_line(f"2.0.0 Kept by proxyd, it goes out as soon as the provider takes it. {why}"))


def not_yours(address: str, accepted_addresses: Iterable[str], where: str) -> SmtpReply:
    """`where` is what the address stands in: `MAIL FROM`, `From`."""
    taken = ", ".join(accepted_addresses)
    return reply(553, one_line(f"5.7.1 {where} <{address}> is not an address of this account; accepted: {taken}"))


def _fit(answer: SmtpReply) -> int:
    """A refusal's code as the client may hear it."""
    if answer.code in _OURS_ALONE:
        return 454
    if answer.code == 421 or not 400 <= answer.code < 600:
        return 451
    return answer.code


def _words(code: int, answer: SmtpReply) -> str:
    said = " ".join(answer.lines)
    if code == answer.code:
        return one_line(said) or ("5.0.0 Refused by the provider" if code >= 500 else "4.0.0 Refused for now")
    return one_line(f"{'4.7.0' if code == 454 else '4.3.2'} The provider said: {answer.code} {said}")


def _without_status(answer: SmtpReply) -> str:
    return _ENHANCED.sub("", " ".join(answer.lines)) or str(answer.code)
