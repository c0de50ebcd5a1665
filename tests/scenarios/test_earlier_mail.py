"""Earlier mail, by the command, on a real Dovecot: counted, logged, killed in the middle, gone on with, never twice.

The mailbox has some hundred messages of the last months, a conversation with Grace among them, in INBOX and Sent.
"""

from __future__ import annotations

import imaplib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigged import message
from tests.scenarios.rig import Rig
from tests.servers.mailprovider import CUSTOMER, PERSON, Provider
from tests.servers.waiting import eventually

pytestmark = pytest.mark.servers

PAIRS, OTHERS = 20, 260
DAY = 86400.0


def fill(provider: Provider) -> None:
    """Pair by pair an answer of Grace's in INBOX and what was sent back, among other people's mail."""
    now = time.time()
    with provider.dovecot.imap(PERSON) as imap:
        for n in range(OTHERS):
            at = imaplib.Time2Internaldate(now - DAY * (1 + n % 80))
            octets = message(f"Other {n}", id=f"o{n}@elsewhere.test", sender="somebody@elsewhere.test", to=PERSON)
            imap.append("INBOX", "", at, octets)
        before = ""
        for n in range(PAIRS):
            at = imaplib.Time2Internaldate(now - DAY * (80 - 3 * n))
            hers, his = f"g{n}@customer.test", f"a{n}@example.test"
            more = f"In-Reply-To: <{before}>\r\n" if before else ""
            imap.append("INBOX", "", at, message(f"Hers {n}", id=hers, sender=CUSTOMER, to=PERSON, more=more))
            octets = message(f"His {n}", id=his, sender=PERSON, to=CUSTOMER, more=f"In-Reply-To: <{hers}>\r\n")
            imap.append("Sent", "\\Seen", at, octets)
            before = his


@pytest.fixture
def rig(tmp_path: Path, provider: Provider) -> Iterator[Rig]:
    fill(provider)
    made = Rig(tmp_path, provider)
    try:
        yield made
    finally:
        made.stop()


def logged(rig: Rig) -> list[dict[str, object]]:
    found: list[dict[str, object]] = rig.json("timeline", "--limit", "1000")["messages"]
    return found


def test_counted_killed_and_gone_on_with(rig: Rig) -> None:
    rig.start()
    assert rig.run("contact", "add", CUSTOMER).returncode == 0
    counted = rig.json("backfill", PERSON, "--since", "100d", "--dry-run")
    assert counted["found"] == {"incoming": PAIRS, "outgoing": PAIRS}
    assert counted["total"] == 2 * PAIRS + OTHERS
    assert logged(rig) == []

    command = subprocess.Popen(
        [sys.executable, "-m", "proxyd", "backfill", PERSON, "--since", "100d", "--json"],
        env=rig.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    eventually(lambda: logged(rig), "the first of them")
    rig.kill()
    _, said = command.communicate(timeout=60)
    assert command.returncode == 69
    assert b"goes on where it was" in said

    rig.start()
    done = rig.json("backfill", PERSON, "--since", "100d")
    assert done["state"] == "done"
    messages = logged(rig)
    assert sorted(str(each["subject"]) for each in messages) == sorted(
        f"{who} {n}" for n in range(PAIRS) for who in ("Hers", "His")
    )
    assert len({each["thread"] for each in messages}) == 1
    assert {each["source"] for each in messages} == {"backfill"}
    assert rig.json("backfill", PERSON, "--since", "100d")["logged"] == 0
    bodies = [
        line for session in rig.provider.dovecot.sessions(PERSON) for line in session.commands if "BODY.PEEK[]" in line
    ]
    assert len(bodies) <= 2 * PAIRS + 1, "once each, and once more what the kill interrupted"
    assert all("\\Seen" not in each.flags for each in rig.provider.dovecot.messages(PERSON))
    (account,) = json.loads(rig.run("status", "--json").stdout)["accounts"]
    assert account["backfill"]["state"] == "done"
    assert account["read_from"]
    assert account["positions_lost"] is None
