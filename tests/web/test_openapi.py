"""The OpenAPI document says what is served: schemathesis reads it and asks accordingly, and as it must not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path

from proxyd.model import Sent, SmtpReply
from tests.looping import on_the_loop
from tests.rigged import GRACE, message
from tests.web.served import served

MOST_SECONDS = 180  # for the whole of schemathesis, on a machine that does much else
ENDLESS = "/api/v1/events"  # a stream that does not end is no answer to wait for


@on_the_loop
async def test_the_document_names_every_route_and_the_token(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        _, document = await s.get("/api/v1/openapi.json")
        assert document["openapi"] == "3.1.0"
        assert document["security"] == [{"token": []}]
        assert set(document["paths"]) >= {
            f"/api/v1/{path}"
            for path in (
                "accounts",
                "accounts/{address}/reconnect",
                "contacts",
                "contacts/{email}/timeline",
                "events",
                "explain",
                "messages/{id}",
                "messages/{id}/attachments/{n}",
                "messages/{id}/raw",
            )
        }
        assert "/api/v1/tokens" not in document["paths"]  # the daemon's own user's alone
        made = document["paths"]["/api/v1/contacts"]["post"]
        assert set(made["responses"]) >= {"200", "201", "403", "422"}


@on_the_loop(timeout=MOST_SECONDS + 120)  # on a machine that is busy besides
async def test_schemathesis_finds_the_document_true(tmp_path: Path) -> None:
    async with served(tmp_path) as s:
        await s.desk.add_contact(GRACE)
        begun = await s.desk.begin(message())
        await s.desk.journal.record(Sent(begun.id, SmtpReply(250, ("OK",)), s.desk.clock.now()))
        await s.desk.settled()
        async with await s.token() as client:
            document = (await client.get("/api/v1/openapi.json")).json()
            del document["paths"][ENDLESS]
            described = tmp_path / "openapi.json"
            described.write_text(json.dumps(document))
            asked = [
                str(Path(sys.executable).with_name("schemathesis")),
                *("run", str(described), "--url", s.web),
                *("--header", f"Authorization: {client.headers['authorization']}"),
                *("--phases", "examples,coverage,fuzzing", "--max-examples", "4", "--seed", "7"),
                *("--exclude-checks", "positive_data_acceptance,ignored_auth", "--suppress-health-check", "all"),
            ]
            answer = await asyncio.to_thread(_run, asked, tmp_path)
        assert answer.returncode == 0, answer.stdout[-8000:] + answer.stderr[-2000:]


def _run(asked: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=False, timeout=MOST_SECONDS)
    raise AssertionError("schemathesis is not installed; see tests/setup")
