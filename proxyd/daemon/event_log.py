"""One line in the log for each thing that happens to a mail, by its id: the vocabulary of the log, in one place.

Never a subject, an address, a text, or a server's own words, which may quote any of them: codes only. The id is that of
the record; `proxyd explain` and the timeline tell the rest to whoever may see it.

Under systemd each line begins with its priority as the journal reads it (sd-daemon(3)).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import structlog

from proxyd.formats.smtp_client import enhanced_code
from proxyd.journal import Begun, Joined, Logged
from proxyd.model import (
    CopyPostponed,
    CopyPresent,
    CopyPromised,
    DropboxPostponed,
    DropboxSent,
    Event,
    HealthCause,
    HealthEvent,
    LookedFor,
    NotSent,
    Seen,
    SendUnknown,
    Sent,
    SmtpReply,
    Spooled,
    SpoolReported,
    Undeliverable,
)
from proxyd.rules.connection import Condition

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

log = structlog.get_logger()


def on_event(id: str, event: Event | Begun | Joined | Logged) -> None:
    match event:
        case Begun():
            log.info("mail begun", mail=id, size=event.content.size, recipients=len(event.envelope.recipients))
        case Joined():
            log.info("mail joined an earlier one", mail=id, state=event.state)
        case Logged():
            log.info("mail for the log alone", mail=id)
        case Sent():
            log.info("mail sent", mail=id, **_code(event.reply))
        case NotSent():
            log.warning("mail not sent", mail=id, **_code(event.reply))
        case SendUnknown():
            log.error("mail of unknown outcome", mail=id)
        case Spooled():
            log.warning("mail waits here", mail=id)
        case Undeliverable():
            log.error("mail given up", mail=id, **(_code(event.reply) if event.reply else {}))
        case SpoolReported():
            log.info("mail given up told in the INBOX", mail=id)
        case LookedFor():
            log.warning("mail of unknown outcome not found", mail=id)
        case Seen():
            log.info("mail seen", mail=id, account=event.account, direction=event.direction, source=event.source)
        case CopyPresent():
            log.info("sent copy there", mail=id, by=event.by, copies=event.copies)
        case CopyPromised():
            log.info("sent copy promised", mail=id)
        case CopyPostponed():
            (log.error if event.failed else log.info)("sent copy not there yet", mail=id, given_up=event.failed)
        case DropboxSent():
            log.info("dropbox copy sent", mail=id, **_code(event.reply))
        case DropboxPostponed():
            log.warning("dropbox copy not taken", mail=id, given_up=event.due is None)
        case _:  # steps on the way to one of these
            pass


def on_health(account: str, event: HealthEvent, condition: Condition) -> None:
    """The looks that only find what was known before are left out."""
    side = condition.side(event.protocol)
    if event.cause is HealthCause.SIGNED_IN and side.since != side.at:
        return
    level = log.info if event.cause is HealthCause.SIGNED_IN else log.warning
    level("account", account=account, protocol=event.protocol, cause=event.cause, state=condition.state)


def _code(reply: SmtpReply) -> dict[str, Any]:
    return {"code": reply.code, "status": enhanced_code(reply) or None}


# --- how a line is written ------------------------------------------------------------------------------------

_JSON = json.JSONEncoder(default=repr)


def as_json(_logger: object, _method: str, event: Any) -> str:
    """structlog's last processor: as its own JSONRenderer, which makes an encoder for each line."""
    return _JSON.encode(event)


class Priority:
    """structlog's last processor under systemd: the line behind `<N>`."""

    def __init__(self, render: Any) -> None:
        self._render = render

    def __call__(self, logger: Any, method: str, event: Any) -> str:
        priority = _PRIORITIES.get(event.get("level", "info"), 6)
        return f"<{priority}>{self._render(logger, method, event)}"


def is_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Whether what is written there goes to systemd's journal (JOURNAL_STREAM of systemd.exec(5))."""
    try:
        there = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"
