"""IDLE (RFC 2177) on a connection that is going to be parked (`provider.parking`)."""

from __future__ import annotations

import imaplib
import re

from proxyd.provider.imap_errors import text_of, translated
from proxyd.provider.imap_link import Link
from proxyd.provider.imap_told import bears_mark

_EXISTS = re.compile(rb"\* (\d+) EXISTS", re.IGNORECASE)
_FETCH = re.compile(rb"\* \d+ FETCH \(", re.IGNORECASE)
_LITERAL = re.compile(rb"\{\d+\}\Z")  # the line goes on behind as many octets


class Idling(Link):
    """Waiting for what the server tells by itself."""

    _idle_tag: bytes | None = None
    _begun_line: tuple[bytes, bytes] | None = None  # a STATUS whose folder's name comes as a literal: its line so far

    def idle(self) -> bool:
        """Begin IDLE. True = there is news already: end it at once with `idle_done`, and look."""
        with self._command("IDLE"):
            self._idle_tag = self._wire._command("IDLE")
            while self._wire._get_response() is not None:
                if self._wire.tagged_commands[self._idle_tag] is not None:
                    kind, data = self._wire.tagged_commands.pop(self._idle_tag)
                    raise imaplib.IMAP4.error(f"{kind} {text_of(data)}")
        return self.parked_news() or self._news or self._told.listed or self._told.marked

    def parked_news(self) -> bool:
        """While in IDLE: look at what has come, without waiting. True = somebody must look: new mail may be there, in
        the open folder (`take_news`) or in another one (`take_told`), or a message was marked by hand.

        Never blocks: called on the reactor's thread. Raises Unreachable when the server has gone or ended IDLE.
        """
        with translated("IDLE"):
            wakes = False
            for line in self._wire.waiting():
                if self._begun_line is not None:
                    line, self._begun_line = _joined(*self._begun_line, line), None
                if not line.startswith(b"* "):
                    raise imaplib.IMAP4.abort(f"the server ended IDLE: {line.decode('ascii', 'replace')}")
                if line[:6].upper() == b"* BYE ":
                    raise imaplib.IMAP4.abort(line[6:].decode("utf-8", "replace"))
                if (literal := _LITERAL.search(line)) is not None:
                    self._begun_line = line[: literal.start()], literal[0]
                    continue
                wakes = self._heard(line) or wakes
            return wakes

    def idle_done(self) -> None:
        """End IDLE; news that came with the end is kept for `take_news` and `take_told`."""
        with self._command("IDLE"):
            self._wire.send(b"DONE\r\n")
            kind, data = self._wire._command_complete("IDLE", self._idle_tag)
            self._idle_tag = None
            if kind != "OK":
                raise imaplib.IMAP4.error(text_of(data))

    def take_news(self) -> bool:
        """Whether any answer since the last call said that the open folder has grown."""
        news, self._news = self._news, False
        return news

    def _heard(self, line: bytes) -> bool:
        """Take in an untagged line; whether somebody must look."""
        start = line[:9].upper()
        if (found := _EXISTS.match(line)) is not None:
            grown = self._grown(int(found[1]))
            self._news = grown or self._news
            return grown
        if line.upper().endswith(b" EXPUNGE"):
            self._messages = max(0, self._messages - 1)
        elif start == b"* STATUS ":
            return self._stands(line[9:])
        elif start.startswith(b"* LIST ") and self.notifying:
            self._told.listed = True
            return True
        elif b"[NOTIFICATIONOVERFLOW]" in line.upper():
            self._overflown()
            return True
        elif _FETCH.match(line) is not None and bears_mark(line):
            self._told.marked = True
            return True
        return False

    def _stands(self, item: bytes) -> bool:
        folder = self._told.status([item])
        return folder is None or self.heeds is None or folder in self.heeds


def _joined(line: bytes, literal: bytes, rest: bytes) -> bytes:
    """With the literal as a quoted string; folders' names hold no line end."""
    size = int(literal[1:-1])
    name = rest[:size].replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return line + b'"' + name + b'"' + rest[size:]
