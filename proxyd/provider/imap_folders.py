"""The folders of an account: which there are, how they stand, opening one, and being told of the others (NOTIFY)."""

from __future__ import annotations

import contextlib
import imaplib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxyd.errors import ProxydError, Refused
from proxyd.model import Folder
from proxyd.provider.imap_errors import refusal, said_by, text_of
from proxyd.provider.imap_lines import checked
from proxyd.provider.imap_link import Link
from proxyd.provider.imap_told import Status
from proxyd.provider.imap_values import as_number, as_text

imaplib.Commands.setdefault("NOTIFY", ("AUTH", "SELECTED"))


@dataclass(frozen=True, slots=True)
class Opened:
    """An opened folder (answer to EXAMINE or SELECT). `uidnext` is 0 where the server does not say. `keywords`: may
    messages here be given keywords of our own (PERMANENTFLAGS)? An EXAMINE need not tell."""

    name: str
    uidvalidity: int
    uidnext: int
    messages: int
    keywords: bool = False


class Folders(Link):
    """The commands that are about folders."""

    def folders(self) -> list[Folder]:
        """Every folder with its special-use attributes: LIST (RFC 6154), or XLIST where only that knows them."""
        special, extended, xlist = (
            self._client.has_capability(name) for name in ("SPECIAL-USE", "LIST-EXTENDED", "XLIST")
        )
        found = []
        if special and extended:  # a server may keep the attributes back unless they are asked for
            with contextlib.suppress(Refused):
                found = self._list("RETURN", "(SPECIAL-USE)")
        if not found:
            with self._command("LIST"):
                lines = self._client.xlist_folders() if xlist and not special else self._client.list_folders()
            found = [_folder(*line) for line in lines]
        return found

    def folders_and_status(self) -> tuple[list[Folder], dict[str, Status]]:
        """As `folders`, and how each stands, in one command where the server can (LIST-STATUS, RFC 5819); where it
        cannot the second is empty."""
        if not (self._client.has_capability("LIST-STATUS") and self._client.has_capability("SPECIAL-USE")):
            return self.folders(), {}
        try:
            found = self._list("RETURN", f"(SPECIAL-USE STATUS ({self._items}))")
        except Refused:
            return self.folders(), {}
        told = self.take_told()
        self._told.listed = told.listed
        return (found, told.folders) if found else (self.folders(), {})

    def _list(self, *options: str) -> list[Folder]:
        with self._command("LIST"):
            kind, data = self._wire._simple_command("LIST", '""', '"*"', *options)
            self._client._checkok("LIST", kind, data)
            lines = self._client._proc_folder_list(self._wire._untagged_response(kind, data, "LIST")[1])
        return [_folder(*line) for line in lines]

    @property
    def _items(self) -> str:
        return "UIDVALIDITY UIDNEXT MESSAGES" + (" HIGHESTMODSEQ" if self._client.has_capability("CONDSTORE") else "")

    def others_prefixes(self) -> tuple[str, ...]:
        """What the names of other people's and of shared folders begin with (NAMESPACE, RFC 2342)."""
        if not self._client.has_capability("NAMESPACE"):
            return ()
        try:
            with self._command("NAMESPACE"):
                answer = self._client.namespace()
        except Refused:
            return ()
        return tuple(prefix for kind in (answer.other, answer.shared) for prefix, _ in kind or () if prefix)

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
        allowed = answer.get(b"PERMANENTFLAGS") or ()
        return Opened(folder, uidvalidity, uidnext, self._messages, rb"\*" in allowed)

    def status(self, folder: str) -> Status:
        """STATUS: what the folder holds, whatever IDLE did or did not tell. Raises Refused: there is no such folder."""
        (status,) = self._statuses([folder])
        if isinstance(status, ProxydError):
            raise status
        return status

    def statuses(self, folders: Sequence[str]) -> dict[str, Status]:
        """STATUS of many folders in one flight; one that the server refuses to tell of is missing."""
        found = zip(folders, self._statuses(folders), strict=True)
        return {name: status for name, status in found if isinstance(status, Status)}

    def recent(self, folder: str) -> int:
        """How many messages there are that no client has opened the folder for yet (\\Recent)."""
        with self._command("STATUS"):
            answer = self._client.folder_status(checked(folder), ["RECENT"])
        return sum(as_number(value) for key, value in answer.items() if key.upper() == b"RECENT")

    def _statuses(self, folders: Sequence[str]) -> list[Status | Refused]:
        answers: list[Status | Refused] = []
        with self._command("STATUS"):
            names = [self._client._normalise_folder(checked(folder)) for folder in folders]
            tags = [self._wire._command("STATUS", name, f"({self._items})") for name in names]
            kinds = [self._wire._command_complete("STATUS", tag) for tag in tags]
        told = self._told.folders
        for folder, (kind, data) in zip(folders, kinds, strict=True):
            said = text_of(data)
            error = refusal("STATUS", said, login=False, at=False) if kind != "OK" else None
            if error is not None and not isinstance(error, Refused):
                raise error
            answers.append(error or told.pop(folder, None) or Refused("the server told nothing of the folder", said))
        return answers

    def notify(self, folders: Sequence[str] | None, *, flags: bool) -> bool:
        """Ask the server to tell of folders that are not open too (NOTIFY, RFC 5465); None = all of the person's own.

        `flags`: of flags that change too. False: it cannot, or does not want to.
        """
        if not self._client.has_capability("NOTIFY"):
            return False
        events = "MessageNew MessageExpunge" + (" FlagChange" if flags else "")
        where = "PERSONAL"
        if folders is not None:
            names = (as_text(self._client._normalise_folder(checked(folder))) for folder in folders)
            where = f"MAILBOXES ({' '.join(names)})"
        try:
            with self._command("NOTIFY"):
                kind, data = self._wire._simple_command(
                    "NOTIFY", "SET", f"(SELECTED-DELAYED ({events}))", f"({where} ({events} MailboxName))"
                )
                self._client._checkok("NOTIFY", kind, data)
        except Refused:
            return False
        self.notifying = True
        return True


def _folder(flags: Iterable[bytes], delimiter: bytes | None, name: str | bytes) -> Folder:
    attributes = frozenset(as_text(flag).lower() for flag in flags)
    return Folder(as_text(name), as_text(delimiter) if delimiter else "", attributes)
