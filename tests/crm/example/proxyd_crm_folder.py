"""Logs mail into a folder, one file a message: an adapter that is a package of its own."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from proxyd.crm.adapter import Adapter, FilePath, Limits, Options, Person, Record, Tools, TryLater


class FolderOptions(Options):
    """What stands under `folder:` in the account's file."""

    path: FilePath = Field(description="The folder that the messages are written to.")
    suffix: str = Field(default=".eml", description="What their names end with.")


class Folder(Adapter):
    Options = FolderOptions
    limits = Limits(attachments=False)  # the whole message is written, its attachments in it

    def __init__(self, options: FolderOptions, tools: Tools) -> None:
        self._folder = options.path
        self._suffix = options.suffix
        self._run = tools.workers.run

    @property
    def place(self) -> str:
        return str(self._folder)

    async def find_contact(self, address: str) -> str | None:
        return address  # a folder has no contacts

    async def create_contact(self, person: Person) -> str:
        return person.address

    async def log_message(self, record: Record) -> str:
        await self._run(_write, self._file(record), await record.whole())
        return record.id

    async def find_logged(self, record: Record) -> str | None:
        return record.id if await self._run(self._file(record).exists) else None

    def _file(self, record: Record) -> Path:
        return self._folder / f"{record.id}{self._suffix}"


def _write(path: Path, octets: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_bytes(octets)
        new.replace(path)
    except OSError as error:
        raise TryLater(f"{path.parent} cannot be written: {error.strerror}") from None
