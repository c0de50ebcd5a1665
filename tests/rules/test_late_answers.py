"""Which messages owe a look for answers that were read before them, and from when on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxyd.model import Direction, Found, Heading, Seen, Source, Tracked
from proxyd.rules.late_answers import looked_from, renamed_late

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
OUT, IN = Direction.OUTGOING, Direction.INCOMING


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def seen(direction: Direction, source: Source, said: datetime | None, arrived: datetime | None, **more: Any) -> Seen:
    found = Found("INBOX", 7, 1, arrived)
    return Seen("a@x", direction, source, Heading(date=said), None, found, NOW, Tracked("it is"), **more)  # type: ignore[arg-type]


DAY = 86400.0


@pytest.mark.parametrize(
    ("direction", "source", "said", "arrived", "since"),
    [
        (OUT, Source.SENT_FOLDER, ago(1), ago(0), ago(1)),
        (OUT, Source.SENT_FOLDER, ago(-900), ago(30), ago(30)),
        (OUT, Source.SENT_FOLDER, None, None, NOW),
        (IN, Source.REPLY, ago(20), ago(10), None),
        (IN, Source.REPLY, ago(-900), ago(10), None),
        (IN, Source.REPLY, ago(90), ago(10), ago(90)),
        (IN, Source.REPLY, None, ago(90), ago(90)),
        (IN, Source.MARKED, ago(30 * DAY), ago(30 * DAY), ago(30 * DAY)),
        (OUT, Source.BACKFILL, ago(3 * DAY), ago(3 * DAY), None),
        (OUT, Source.BACKFILL, ago(3 * DAY), ago(90), ago(3 * DAY)),
    ],
    ids=[
        "sent from elsewhere, at once", "by a clock that is fast", "without any date", "a prompt answer",
        "from one whose clock is fast", "on its way for long", "it lay there for long", "marked by hand",
        "earlier mail", "earlier mail that has just come",
    ],
)  # fmt: skip
def test_who_owes_a_look(
    direction: Direction, source: Source, said: datetime | None, arrived: datetime | None, since: datetime | None
):
    assert looked_from(seen(direction, source, said, arrived)) == since


def test_a_second_sighting_owes_none():
    assert looked_from(seen(OUT, Source.REPLY, ago(90), ago(90), again="01")) is None


def test_a_name_that_is_told_with_the_outcome():
    assert not renamed_late(ago(2), NOW)
    assert renamed_late(ago(30), NOW)
