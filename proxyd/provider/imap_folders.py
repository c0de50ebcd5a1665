"""The folders of an account: which there are, how they stand, and opening one (RFC 3501, SPECIAL-USE, XLIST)."""

from __future__ import annotations

import contextlib
import imaplib
from dataclasses import dataclass

from proxyd.errors import Refused
from proxyd.model import Folder
from proxyd.provider.imap_errors import said_by
from proxyd.provider.imap_lines import checked
from proxyd.provider.imap_link import Link
from proxyd.provider.imap_values import as_number, as_text


@dataclass(frozen=True, slots=True)
class Opened:
    """An opened folder (answer to EXAMINE or SELECT). `uidnext` is 0 where the server does not say."""

    name: str
    uidvalidity: int
    uidnext: int
    messages: int


@dataclass(frozen=True, slots=True)
class Status:
    uidvalidity: int
    uidnext: int
    messages: int


class Folders(Link):
    """The commands that are about folders."""

    def folders(self) -> list[Folder]:
        """Every folder with its special-use attributes: LIST (RFC 6154), or XLIST where only that knows them."""
        special, extended, xlist = (
            self._client.has_capability(name) for name in ("SPECIAL-USE", "LIST-EXTENDED", "XLIST")
        )
        lines = []
        if special and extended:  # a server may keep the attributes back unless they are asked for
            with contextlib.suppress(Refused), self._command("LIST"):
                kind, data = self._wire._simple_command("LIST", '""', '"*"', "RETURN", "(SPECIAL-USE)")
                self._client._checkok("LIST", kind, data)
                lines = self._client._proc_folder_list(self._wire._untagged_response(kind, data, "LIST")[1])
        if not lines:
            with self._command("LIST"):
                lines = self._client.xlist_folders() if xlist and not special else self._client.list_folders()
        return [
            Folder(
                name if isinstance(name, str) else as_text(name),
                as_text(delimiter) if delimiter else "",
                frozenset(as_text(flag).lower() for flag in flags),
            )
            for flags, delimiter, name in lines
        ]

    def create(self, folder: str) -> None:
        """CREATE and SUBSCRIBE. That it exists already is no error."""
        with self._command("CREATE"):
            try:
                self._client.create_folder(checked(folder))
            except imaplib.IMAP4.abort:
                raise
            except imaplib.IMAP4.error as error:
                if "ALREADYEXISTS" not in str(error).upper() and "exist" not in str(error).lower():
                    raise
        with self._command("SUBSCRIBE"), contextlib.suppress(Refused):
            self._client.subscribe_folder(checked(folder))

    def examine(self, folder: str) -> Opened:
        """Open read-only: nothing that follows can change a flag."""
        return self._open_folder(folder, readonly=True)

    def select(self, folder: str) -> Opened:
        """Open for writing: only for taking back a message that we put there ourselves."""
        return self._open_folder(folder, readonly=False)

    def _open_folder(self, folder: str, *, readonly: bool) -> Opened:
        self.selected = None
        with self._command("EXAMINE" if readonly else "SELECT", keep=True):
            try:
                answer = self._client.select_folder(checked(folder), readonly=readonly)
            except imaplib.IMAP4.readonly as error:  # an abort by imaplib's family tree, and none by its meaning
                raise Refused("the server opens the folder for reading alone", said_by(error)) from error
        self._wire.untagged_responses.clear()
        self.selected = folder
        self._news = False
        self._messages = as_number(answer.get(b"EXISTS"))
        uidnext, uidvalidity = as_number(answer.get(b"UIDNEXT")), as_number(answer.get(b"UIDVALIDITY"))
        return Opened(folder, uidvalidity, uidnext, self._messages)

    def status(self, folder: str) -> Status:
        """STATUS (UIDVALIDITY UIDNEXT MESSAGES): what the folder holds, whatever IDLE did or did not tell."""
        with self._command("STATUS"):
            answer = self._client.folder_status(checked(folder), ["UIDVALIDITY", "UIDNEXT", "MESSAGES"])
        numbers = {key.upper(): as_number(value) for key, value in answer.items()}
        return Status(*(numbers.get(key, 0) for key in (b"UIDVALIDITY", b"UIDNEXT", b"MESSAGES")))
