"""Whatever fails, in whatever order: every message in the CRM once, and every attachment whole."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path

from tests.crm.delivering import Scene, letter, scene
from tests.crm.fake import AFTER, INSTEAD, FakeCrm, Request

SOAK = "PROXYD_SOAK_CRM" in os.environ  # how many messages, for `make soak`
MESSAGES = int(os.environ.get("PROXYD_SOAK_CRM", "40"))
PATIENCE = 200 + 4 * MESSAGES  # seconds
There = Callable[[], list[tuple[str, list[str]]]]  # (Message-ID, its attachments' SHA-256) for each entry in the CRM


def few(part: int) -> int:
    """A part of the messages, where the CRM is slow; all of them in a soak."""
    return MESSAGES if SOAK else MESSAGES // part


def storm(seed: int, share: float = 0.25) -> Callable[[Request], str | None]:
    """A quarter of all requests fail, half of these after the CRM did what was asked."""
    dice = random.Random(seed)
    return lambda request: dice.choice(INSTEAD + AFTER * 2) if dice.random() < share else None


async def play(
    folder: Path,
    crm: FakeCrm,
    yaml: str,
    there: There,
    *,
    seed: int,
    messages: int = MESSAGES,
    between: tuple[int, int] = (2, 30),
    moments: tuple[int, int] = (5, 300),
) -> None:
    """The CRM fails and the delivery is killed, `between` so many requests, or after so many hundredths of a second, in
    which nothing more was asked, until the CRM has everything."""
    dice = random.Random(seed)
    crm.fault = storm(seed)
    async with scene(folder, yaml, begin=False) as s:
        for n in range(1, messages + 1):
            files = [dice.randbytes(dice.choice((0, 10, 3000, 70_000))) for _ in range(dice.choice((0, 0, 1, 2)))]
            await s.log(letter(n, attach=files))
        await s.begin_delivery()
        killing = asyncio.ensure_future(_kill(s, crm, dice, between, moments))
        await s.drained(PATIENCE)
        killing.cancel()
        await asyncio.wait([killing])
        found = there()
        assert sorted(id for id, _ in found) == sorted(s.expected), "each message once"
        for id, hashes in found:
            assert sorted(hashes) == sorted(s.expected[id]), id


async def _kill(
    s: Scene, crm: FakeCrm, dice: random.Random, between: tuple[int, int], moments: tuple[int, int]
) -> None:
    """Again and again, wherever it stands: after some requests, or after some time where there are none."""
    while True:
        enough = len(crm.requests) + dice.randint(*between)
        for _ in range(dice.randint(*moments)):
            await asyncio.sleep(0.01)
            if len(crm.requests) >= enough:
                break
        await s.kill()
        await s.begin_delivery()
