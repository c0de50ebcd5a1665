"""`python -m tests.bench delivery`: how many messages a second leave the outbox, journal and ledger included.

The CRM costs nothing here: a file (`jsonl`), and a program on this machine that answers at once (`webhook`). What
limits a real CRM are its own requests per second; this says that we are not what limits them.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any

from tests.crm.delivering import FastClock, letter, scene
from tests.crm.fake import FakeCrm, Reply, Request


class Taker(FakeCrm):
    """Takes everything, keeps nothing."""

    def answer(self, request: Request) -> Reply:
        self.requests.clear()
        return Reply(204)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench delivery", description=__doc__)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--attachment", type=int, default=0, help="octets of one attachment for each message")
    options = parser.parse_args()
    print(f"outbox: {options.messages} messages, attachment of {options.attachment} octets")
    for kind in ("jsonl", "webhook"):
        seconds = asyncio.run(_drain(kind, options.messages, options.attachment))
        print(f"  {kind:8} {options.messages / seconds:8.0f} messages a second", flush=True)


async def _drain(kind: str, messages: int, attachment: int) -> float:
    with tempfile.TemporaryDirectory() as name, Taker() as taker:
        folder = Path(name)
        secret = folder / "secret"
        secret.touch(mode=0o600)
        secret.write_text("whsec_" + base64.b64encode(b"s" * 32).decode())
        crm = {
            "jsonl": f"jsonl: {{file: {folder / 'crm.jsonl'}}}",
            "webhook": f"webhook: {{url: '{taker.url}', secret: {{file: {secret}}}}}",
        }[kind]
        clock: Any = FastClock(1000)  # no pace is kept
        async with scene(folder, crm, clock=clock, begin=False) as s:
            files = [b"x" * attachment] if attachment else None
            for n in range(messages):
                await s.log(letter(n, attach=files))
            began = monotonic()
            await s.begin_delivery()
            await s.drained(600)
            return monotonic() - began
