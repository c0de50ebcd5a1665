"""The storm that adapters are held against: a good one comes through, and what is wrong with a bad one is said."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from proxyd.crm import known
from proxyd.crm.adapter import Attachment, Record, Refused
from proxyd.crm.jsonl import Jsonl
from proxyd.crm.storm import compare, storm
from tests.crm.fake import Receiver
from tests.crm.test_webhook import NEW as SECRET


def there(file: Path) -> list[tuple[str, list[str]]]:
    found = []
    for line in file.read_text().splitlines():
        message = json.loads(line)
        folder = file.with_name(f"{file.name}.attachments") / message["id"]
        hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("[0-9]*")]
        found.append((message["message_id"], hashes))
    return found


def play(folder: Path, **more: int) -> None:
    file = folder / "crm.jsonl"
    storm(folder / "storm", {"jsonl": {"file": str(file)}}, lambda: there(file), **{"messages": 12, **more})


def test_a_good_one_comes_through(tmp_path: Path) -> None:
    play(tmp_path)


def test_one_that_speaks_http_comes_through(tmp_path: Path) -> None:
    """Each of its requests may fail, too, and no server need play along."""
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    with Receiver(SECRET) as receiver:
        receiver.any_time = True  # the storm's clock runs fast

        def received() -> list[tuple[str, list[str]]]:
            files: dict[str, list[str]] = {each["id"]: [] for each in receiver.of("message.logged")}
            for each in receiver.of("message.attachment"):
                files[each["message"]].append(hashlib.sha256(base64.b64decode(each["content"])).hexdigest())
            return [(each["message_id"], files[each["id"]]) for each in receiver.of("message.logged")]

        crm = {"webhook": {"url": receiver.url, "secret": {"file": str(secret)}}}
        storm(tmp_path / "storm", crm, received, messages=8)
        times = Counter(request.headers["webhook-id"] for request in receiver.requests)
    assert max(times.values()) > 1, "some had to be asked for again"


class Forgetful(Jsonl):
    async def find_logged(self, record: Record) -> str | None:
        return None


class Careless(Jsonl):
    async def find_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str | None:
        return "it will be there"


class Unwilling(Jsonl):
    async def log_message(self, record: Record) -> str:
        raise Refused("the subject is too long")


@pytest.mark.parametrize(
    ("adapter", "words"),
    [
        (Forgetful, "there more than once"),
        (Careless, "without its attachments as they are"),
        (Unwilling, "the adapter refused: the subject is too long"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: type[Jsonl], words: str
) -> None:
    monkeypatch.setitem(known.BUILT_IN, "jsonl", adapter)
    with pytest.raises(AssertionError, match=words):
        play(tmp_path)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([("a", ["1"])], "of 2 messages: not in the CRM: 1, such as b"),
        ([("a", ["1"]), ("b", []), ("<b>", [])], "there more than once: 1, such as b"),
        ([("a", ["1"]), ("b", []), ("c", [])], "never logged: 1, such as c"),
        ([("a", ["2"]), ("b", [])], "without its attachments as they are: 1, such as a"),
    ],
    ids=["lost", "twice", "unknown", "damaged"],
)
def test_the_comparison(found: list[tuple[str, list[str]]], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        compare({"a": ["1"], "b": []}, found)
    compare({"a": ["1"], "b": []}, [("a", ["1"]), ("<b>", [])])
