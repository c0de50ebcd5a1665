"""A file with one JSON object a line: the adapter to copy, and a feed for programs of one's own.

`FILE` gets one line for each message and each change of a state; `FILE.attachments/RECORD/N-NAME` the attachments.
docs/adapters.md walks through this module.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from proxyd.config import Jsonl as Settings
from proxyd.crm.adapter import Adapter, Attachment, Limits, Person, Record, Tools, TryLater


class Jsonl(Adapter):
    """Every method is one function that blocks, run in a worker thread."""

    Options = Settings
    limits = Limits(attachment=None, once_per_mail=False)

    def __init__(self, options: Settings, tools: Tools) -> None:
        self._file = options.file
        self._folder = options.file.with_name(f"{options.file.name}.attachments")
        self._run = tools.workers.run

    @property
    def place(self) -> str:
        return str(self._file)

    async def find_contact(self, address: str) -> str | None:
        return address.lower()  # a file has no contacts of its own: each line names its people

    async def create_contact(self, person: Person) -> str:
        return person.address.lower()

    async def log_message(self, record: Record) -> str:
        await self._run(_append, self._file, {"kind": "message", **document(record, await record.html())})
        return record.id

    async def find_logged(self, record: Record) -> str | None:
        return await self._run(_find, self._file, record.id)

    async def add_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str:
        path = self._folder / remote_id / f"{attachment.n}-{_plain(attachment.name)}"
        await self._keep(path, attachment)
        return str(path.relative_to(self._folder))

    async def _keep(self, path: Path, attachment: Attachment) -> None:
        """As it is read; whole and on the disk when this returns, or not there."""
        file = await self._run(_begun, path)
        try:
            async for chunk in attachment.octets():
                await self._run(_written, file, chunk)
            await self._run(_ended, file, path)
        finally:
            file.close()

    async def find_attachment(self, record: Record, remote_id: str, attachment: Attachment) -> str | None:
        return None  # writing it again replaces it

    async def update_state(self, record: Record, remote_id: str) -> None:
        await self._run(_append, self._file, {"kind": "state", "id": remote_id, "state": record.state})

    async def erase(self, address: str, remote_ids: tuple[str, ...]) -> str:
        return await self._run(_erase, self._file, self._folder, remote_ids)


def document(record: Record, html: str = "") -> dict[str, Any]:
    """A record as JSON; its attachments without their octets, its HTML as `Record.html` gives it."""
    return {
        "id": record.id,
        "account": record.account,
        "owner": record.owner,
        "direction": record.direction,
        "type": record.kind,
        "state": record.state,
        "message_id": record.message_id,
        "other_ids": list(record.other_ids),
        "in_reply_to": record.in_reply_to,
        "thread": record.thread,
        "date": record.date.isoformat(),
        "from": asdict(record.from_),
        "to": [asdict(each) for each in record.to],
        "cc": [asdict(each) for each in record.cc],
        "bcc": [asdict(each) for each in record.bcc],
        "subject": record.subject,
        "text": record.text,
        "new_text": record.new_text,
        "html": html or None,
        "people": [asdict(each) for each in record.people],
        "attachments": [
            {"n": each.n, "name": each.name, "type": each.type, "size": each.size, "sha256": each.sha256}
            for each in record.attachments
        ],
    }


def _append(file: Path, line: dict[str, Any]) -> None:
    """One line, whole and on the disk when this returns. What a crash cut short is ended first, and never read."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, b"\n" * cut + json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise TryLater(f"{file} cannot be written: {error.strerror}") from None


def _lines(file: Path) -> list[dict[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TryLater(f"{file} cannot be read: {error.strerror}") from None
    found = []
    for line in text.split("\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [each for each in found if isinstance(each, dict)]


def _find(file: Path, id: str) -> str | None:
    return next((id for each in _lines(file) if each.get("kind") == "message" and each.get("id") == id), None)


def _begun(path: Path) -> BinaryIO:
    """A new file, which takes the place of `path` when it is complete."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path.with_name(f".{path.name}.new").open("wb")
    except OSError as error:
        raise TryLater(f"{path.parent} cannot be written: {error.strerror}") from None


def _written(file: BinaryIO, octets: bytes) -> None:
    try:
        file.write(octets)
    except OSError as error:
        raise TryLater(f"{file.name} cannot be written: {error.strerror}") from None


def _ended(file: BinaryIO, path: Path) -> None:
    try:
        file.flush()
        os.fsync(file.fileno())
        Path(file.name).replace(path)
    except OSError as error:
        raise TryLater(f"{path.parent} cannot be written: {error.strerror}") from None


def _plain(name: str) -> str:
    """A file's name that stays in its folder."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:100] or "attachment"


def _erase(file: Path, folder: Path, remote_ids: tuple[str, ...]) -> str:
    kept = []
    gone = 0
    for line in _lines(file):
        theirs = line.get("id") in remote_ids
        gone += theirs
        if not theirs:
            kept.append(json.dumps(line, ensure_ascii=False))
    with _begun(file) as new:
        _written(new, "".join(f"{line}\n" for line in kept).encode())
        _ended(new, file)
    for id in remote_ids:
        if "/" in id or id in ("", ".", ".."):
            continue
        for path in sorted((folder / id).glob("*"), reverse=True):
            path.unlink(missing_ok=True)
        if (folder / id).is_dir():
            (folder / id).rmdir()
    return f"{gone} lines erased from {file.name}"
