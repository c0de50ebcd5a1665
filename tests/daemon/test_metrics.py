"""The figures, as Prometheus' own parser reads them; none of them names anybody."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from proxyd.daemon.metrics import Metrics
from proxyd.journal import Begun, Joined
from proxyd.model import (
    CopyPresent,
    CopyPromised,
    DropboxPostponed,
    Event,
    FiledBy,
    Found,
    HealthCause,
    HealthEvent,
    NotSent,
    SendUnknown,
    Sent,
    SmtpReply,
)
from proxyd.store import ledger
from proxyd.web.answers import AccountState, DaemonState
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, Desk, desk, message

TAKEN = SmtpReply(250, ("2.0.0 OK",))


def metrics(d: Desk) -> Metrics:
    def state() -> DaemonState:
        account = AccountState(ADA, d.journal.condition(ADA))
        return DaemonState("0.1.0", d.clock.now(), {}, [account], None)

    return Metrics(d.journal, d.database, state, lambda: [datetime.now(UTC).timestamp() - 1800])


def figures(of: Metrics) -> dict[str, float]:
    text = of.exposition().decode()
    assert ADA not in text
    assert GRACE not in text
    return {
        sample.name + "".join(f"|{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def begun(d: Desk, id: str) -> str:
    made = await d.begin(message(id=id))
    assert isinstance(made, Begun)
    return made.id


async def heard(d: Desk, last: Event) -> None:
    """Recorded, and all have heard of it: that is behind whoever waits for the record."""
    told = asyncio.Event()
    d.journal.on_event.append(lambda _, event: told.set() if event is last else None)
    await d.journal.record(last)
    await told.wait()


@on_the_loop
async def test_mails_by_their_outcome(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        ours = metrics(d)
        taken, refused, unknown = [await begun(d, f"m{n}@example.test") for n in range(3)]
        await d.clock.advance(1.5)
        await d.journal.record(Sent(taken, TAKEN, d.clock.now()))
        await d.journal.record(NotSent(refused, SmtpReply(550, ("5.1.1 no",)), d.clock.now()))
        await d.journal.record(SendUnknown(unknown, "lost", d.clock.now()))
        there = CopyPresent(taken, Found("Sent", 1, 1), FiledBy.PROVIDER, 1, d.clock.now())
        await d.journal.record(there)
        await d.journal.record(there)
        await heard(d, DropboxPostponed(taken, "550 no", None, d.clock.now()))
        seen = figures(ours)
    assert seen["proxyd_submissions_total|sent"] == 1
    assert seen["proxyd_submissions_total|refused"] == 1
    assert seen["proxyd_submissions_total|unknown"] == 1
    assert seen["proxyd_submissions_total|joined"] == 0
    assert seen["proxyd_unknown_outcomes"] == 1
    assert 1800 <= seen["proxyd_access_token_age_seconds"] < 1900
    assert seen["proxyd_sent_copies_settled_total|provider"] == 1, "looked at twice, settled once"
    assert seen["proxyd_sent_copies_settled_total|client"] == 0
    assert seen["proxyd_relay_seconds_count"] == 1
    assert 1.4 < seen["proxyd_relay_seconds_sum"] < 1.6
    assert seen["proxyd_dropbox_copies_total|given_up"] == 1
    assert seen["proxyd_sent_copies_waiting"] + seen["proxyd_outbox_waiting"] >= 0


@on_the_loop
async def test_duplicates_prevented(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        ours = metrics(d)
        id = await begun(d, "m1@example.test")
        await d.journal.record(Sent(id, TAKEN, d.clock.now()))
        joined = await d.begin(message(id="m1@example.test"))
        assert isinstance(joined, Joined)
        await heard(d, CopyPromised(id, frozenset(), d.clock.now()))
        seen = figures(ours)
    assert seen["proxyd_duplicates_prevented_total|mail"] == 1
    assert seen["proxyd_duplicates_prevented_total|sent_copy"] == 1


def documented() -> set[str]:
    text = (Path(__file__).parents[2] / "docs/administration.md").read_text()
    return set(re.findall(r"`(proxyd_[a-z_]+)", text.partition("### Figures")[2].partition("\n## ")[0]))


@on_the_loop
async def test_every_figure_is_documented_and_every_documented_one_is_there(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        families = text_string_to_metric_families(metrics(d).exposition().decode())
        ours = {each.name for each in families if each.name.startswith("proxyd_")}
        ours = {each for each in ours if not each.endswith("_created")}  # the library's own
    assert ours == documented()


@on_the_loop
async def test_connections(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        ours = metrics(d)
        for cause in (HealthCause.SIGNED_IN, HealthCause.SIGNED_IN, HealthCause.UNREACHABLE, HealthCause.SIGNED_IN):
            await d.journal.health(ADA, HealthEvent(cause, "IMAP", "words"))
            await d.clock.advance(timedelta(seconds=5).total_seconds())
        seen = figures(ours)
    assert seen["proxyd_connects_total|IMAP"] == 2
    assert seen["proxyd_connection_failures_total|unreachable|IMAP"] == 1
    assert seen["proxyd_accounts|connected"] == 1
    assert seen["proxyd_accounts|unreachable"] == 0


@on_the_loop
async def test_what_waits_for_a_crm_and_what_it_refused(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        ours = metrics(d)
        await d.add_contact(GRACE)
        for n, due in enumerate((d.clock.now(), None)):
            id = await begun(d, f"m{n}@example.test")
            await d.journal.record(Sent(id, TAKEN, d.clock.now()))

            def owed(connection: sa.Connection, id: str = id, due: datetime | None = due) -> None:
                ledger.owe(connection, id, ["hubspot"], d.clock.now())
                ledger.postponed(connection, id, "hubspot", "400 no such owner", due)

            await d.database.write(owed)
        seen = figures(ours)
    assert (seen["proxyd_outbox_waiting"], seen["proxyd_crm_refused"]) == (1, 1)
