"""The webhook adapter; the specification's own library judges every request."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from proxyd.crm.streamed import whole_body
from proxyd.crm.webhook import key_of, signature
from proxyd.errors import SignInRefused
from proxyd.workers import SystemClock
from tests.crm.delivering import letter, scene
from tests.crm.exactly_once import PATIENCE, play
from tests.crm.fake import Receiver
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE

OLD = "whsec_" + base64.b64encode(b"o" * 32).decode()
NEW = "whsec_" + base64.b64encode(b"n" * 32).decode()


def secret_file(folder: Path, secret: str = NEW, name: str = "secret") -> Path:
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(secret + "\n")
    return path


def entry(folder: Path, crm: Receiver) -> str:
    return f"webhook: {{url: '{crm.url}/in', secret: {{file: {secret_file(folder)}}}}}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(NEW) as made:
        yield made


@on_the_loop
async def test_a_message_with_its_attachment_and_its_bounce(tmp_path, receiver):
    async with scene(tmp_path, entry(tmp_path, receiver), clock=SystemClock()) as s:
        id = await s.log(letter(1, attach=[b"%PDF-1.7 offer"]))
        await s.drained()
        (message,) = receiver.of("message.logged")
        assert (message["id"], message["message_id"], message["direction"]) == (id, "m1@example.test", "outgoing")
        assert (message["from"]["address"], message["to"][0]["address"]) == (ADA, GRACE)
        assert message["people"] == [{"name": "Grace Hopper", "address": GRACE, "remote_id": GRACE}]
        assert "offer number 1" in message["text"]
        (attachment,) = receiver.of("message.attachment")
        octets = base64.b64decode(attachment["content"])
        assert octets == b"%PDF-1.7 offer"
        assert hashlib.sha256(octets).hexdigest() == attachment["sha256"] == message["attachments"][0]["sha256"]
        (logged,) = s.timeline()
        assert logged["crm"] == [{"name": "webhook", "state": "delivered", "remote_id": id}]
        await s.bounce(id)
        await s.until(lambda: receiver.of("message.state"), "the bounce to be told")
        assert [each["state"] for each in receiver.of("message.state")] == ["bounced"]
        await s.drained()


@on_the_loop
async def test_a_secret_that_is_being_changed_signs_twice(tmp_path):
    file, older = secret_file(tmp_path), secret_file(tmp_path, OLD, "older")
    with Receiver(OLD) as old, Receiver(NEW) as new:
        for crm in (old, new):
            folder = tmp_path / str(crm.port)
            folder.mkdir()
            yaml = f"webhook: {{url: '{crm.url}', secret: {{file: {file}}}, older_secrets: [{{file: {older}}}]}}"
            async with scene(folder, yaml, clock=SystemClock()) as s:
                await s.log(letter(1))
                await s.drained()
            assert len(crm.of("message.logged")) == 1


@on_the_loop
async def test_a_secret_that_is_none_is_said_and_nothing_is_sent(tmp_path, receiver):
    file = secret_file(tmp_path, "hunter2")
    yaml = f"webhook: {{url: '{receiver.url}', secret: {{file: {file}}}}}"
    async with scene(tmp_path, yaml, clock=SystemClock()) as s:
        await s.log(letter(1))
        standing = await s.until(lambda: s.rows_failed(), "status to say so")
        assert "whsec_" in standing
        assert "hunter2" not in standing
        assert receiver.requests == []
        file.write_text(NEW + "\n")
        await s.delivery.serve()  # what SIGHUP does
        await s.drained()
        assert len(receiver.of("message.logged")) == 1


@on_the_loop(timeout=PATIENCE)
async def test_exactly_once(tmp_path, receiver):
    def there():
        files = {each["id"]: [] for each in receiver.of("message.logged")}
        for each in receiver.of("message.attachment"):
            octets = base64.b64decode(each["content"])
            files[each["message"]].append(hashlib.sha256(octets).hexdigest())
        return [(each["message_id"], files[each["id"]]) for each in receiver.of("message.logged")]

    receiver.any_time = True  # the clock of this test runs fast
    await play(tmp_path, receiver, entry(tmp_path, receiver), there, seed=5)


@on_the_loop
async def test_every_secret_signs():
    body, now = json.dumps({"type": "x"}), datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": await signature([key_of(OLD), key_of(NEW)], "msg_1", now, whole_body({"type": "x"})),
    }
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(body, headers) == {"type": "x"}
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(body + " ", headers)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!", "whsec_c2hvcnQ=", "hunter2 hunter2 hunter2"])
def test_what_is_no_secret(secret: str) -> None:
    with pytest.raises(SignInRefused) as refused:
        key_of(secret)
    assert "hunter2" not in str(refused.value)
