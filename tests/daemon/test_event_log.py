"""The journal's priorities; and one line for each thing that happens, without anybody's words."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from proxyd.daemon import event_log
from proxyd.daemon.event_log import Priority, is_journal
from proxyd.model import (
    CopyPostponed,
    CopyPresent,
    CopyPromised,
    Direction,
    DropboxPostponed,
    DropboxSent,
    Event,
    FiledBy,
    Found,
    Heading,
    HealthCause,
    HealthEvent,
    LookedFor,
    NotSent,
    Seen,
    SendUnknown,
    Sent,
    SmtpReply,
    Source,
    Told,
    Tracked,
)
from proxyd.rules.connection import Condition, step

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
ID = "01KARTOFFEL"
SAID = SmtpReply(550, ("5.1.1 <grace@customer.test>: no such user",))
SECRETS = ("grace@", "Offer", "no such user", "secret")

SEEN = Seen(
    "ada@example.test",
    Direction.INCOMING,
    Source.REPLY,
    Heading(subject="Offer"),
    None,  # type: ignore[arg-type]
    Found("INBOX", 1, 1),
    NOW,
    Tracked("grace@customer.test is a contact"),
)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Sent(ID, SAID, NOW), "mail sent"),
        (NotSent(ID, SAID, NOW, "secret"), "mail not sent"),
        (SendUnknown(ID, "secret", NOW), "mail of unknown outcome"),
        (LookedFor(ID, "secret", NOW), "mail of unknown outcome not found"),
        (SEEN, "mail seen"),
        (CopyPresent(ID, Found("secret", 1, 1), FiledBy.CLIENT, 1, NOW), "sent copy there"),
        (CopyPromised(ID, frozenset({"secret"}), NOW), "sent copy promised"),
        (CopyPostponed(ID, "secret", NOW, NOW), "sent copy not there yet"),
        (CopyPostponed(ID, "secret", NOW, NOW, failed=True), "sent copy not there yet"),
        (DropboxSent(ID, SAID, NOW), "dropbox copy sent"),
        (DropboxPostponed(ID, "secret", None, NOW), "dropbox copy not taken"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_each_line(event: Event, line: str) -> None:
    with structlog.testing.capture_logs() as lines:
        event_log.on_event(ID, event)
    (only,) = lines
    assert (only["event"], only["mail"]) == (line, ID)
    assert not any(word in str(only) for word in SECRETS)


def test_steps_on_the_way_are_silent() -> None:
    with structlog.testing.capture_logs() as lines:
        event_log.on_event(ID, Told(ID, SAID, NOW))
    assert lines == []


def test_health_is_told_where_it_changes() -> None:
    with structlog.testing.capture_logs() as lines:
        condition, event = Condition(NOW), HealthEvent(HealthCause.SIGNED_IN, "IMAP", "secret")
        for later in range(3):
            condition = step(condition, event, NOW.replace(minute=later))
            event_log.on_health("ada@example.test", event, condition)
        down = HealthEvent(HealthCause.UNREACHABLE, "IMAP", "secret")
        event_log.on_health("ada@example.test", down, step(condition, down, NOW))
    assert [(each["log_level"], each["state"]) for each in lines] == [("info", "connected"), ("warning", "unreachable")]
    assert "secret" not in str(lines)


@pytest.mark.parametrize(
    ("level", "prefix"), [("debug", "<7>"), ("info", "<6>"), ("warning", "<4>"), ("error", "<3>"), ("critical", "<2>")]
)
def test_a_line_has_its_priority(level: str, prefix: str) -> None:
    assert Priority(lambda *_: "line")(None, level, {"level": level}) == f"{prefix}line"


def test_the_journal_is_known_by_device_and_inode(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        there = os.fstat(stream.fileno())
        assert is_journal(stream.fileno(), {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"})
        assert not is_journal(stream.fileno(), {"JOURNAL_STREAM": "1:1"})
        assert not is_journal(stream.fileno(), {})
    assert not is_journal(9999, {})
