"""IDLE (RFC 2177) on a connection that is going to be parked (`provider.parking`)."""

from __future__ import annotations

import imaplib
import re

from proxyd.provider.imap_errors import text_of, translated
from proxyd.provider.imap_link import Link

_EXISTS = re.compile(rb"\* (\d+) EXISTS", re.IGNORECASE)


class Idling(Link):
    """Waiting for what the server tells by itself."""

    def idle(self) -> bool:
        """Begin IDLE (RFC 2177). True = there is news already: end it at once with `idle_done`, and look."""
        with self._command("IDLE"):
            self._idle_tag = self._wire._command("IDLE")
            while self._wire._get_response() is not None:
                if self._wire.tagged_commands[self._idle_tag] is not None:
                    kind, data = self._wire.tagged_commands.pop(self._idle_tag)
                    raise imaplib.IMAP4.error(f"{kind} {text_of(data)}")
        return self.parked_news() | self.take_news()

    def parked_news(self) -> bool:
        """While in IDLE: look at what has come, without waiting. True = new mail may be there.

        Never blocks: called on the reactor's thread. Raises Unreachable when the server has gone or ended IDLE.
        """
        with translated("IDLE"):
            news = False
            for line in self._wire.waiting():
                if not line.startswith(b"* "):
                    raise imaplib.IMAP4.abort(f"the server ended IDLE: {line.decode('ascii', 'replace')}")
                if line[:6].upper() == b"* BYE ":
                    raise imaplib.IMAP4.abort(line[6:].decode("utf-8", "replace"))
                news = self._count(line) or news
            return news

    def idle_done(self) -> None:
        """End IDLE; news that came with the end is kept for `take_news`."""
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

    def _count(self, line: bytes) -> bool:
        """Whether this untagged line says that the folder has grown."""
        if (found := _EXISTS.match(line)) is not None:
            return self._grown(int(found[1]))
        if line.upper().endswith(b" EXPUNGE"):
            self._messages = max(0, self._messages - 1)
        return False
