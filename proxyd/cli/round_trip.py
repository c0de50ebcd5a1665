"""One mail's way through everything, as a mail client sees it: leg by leg, each timed.

Speaks SMTP and IMAP to our own listeners with the client's password, as Thunderbird would. Nothing that lies in the
mailbox is changed: the folder is opened read-only, and the mail itself stays (proxyd never deletes a person's message).
"""

from __future__ import annotations

import contextlib
import imaplib
import secrets
import smtplib
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Any, TypeVar

from proxyd.cli.findings import now
from proxyd.config import Account, Settings
from proxyd.errors import ProxydError
from proxyd.places import Places

HOST = "localhost"
LOGIN_LIMIT = 60.0  # seconds
ARRIVAL_LIMIT = 120.0
EVERY = 0.5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Leg:
    """`seconds` it took; `detail` is what came of it; a leg that was left out took None."""

    name: str
    ok: bool
    seconds: float | None
    detail: str


class RoundTrip:
    """`explain` asks the daemon what it knows of a Message-ID."""

    def __init__(
        self,
        places: Places,
        settings: Settings,
        account: Account,
        password: str,
        listening: dict[str, str],
        explain: Callable[[str], dict[str, Any] | None],
    ) -> None:
        self._account = account
        self._password = password
        self._listening = listening
        self._explain = explain
        self._trust = _trust(places, settings)
        self.message_id = make_msgid(domain=account.address.rpartition("@")[2])
        self._word = secrets.token_hex(6)
        self._stopped = False

    def log_in(self) -> Iterator[Leg]:
        """To both listeners, without sending anything."""
        yield self._leg("log in to send", lambda: self._smtp().quit() and "accepted")
        if self._reading is None:
            yield Leg("log in to read", True, None, "left out: no IMAP listener is open")
        else:
            yield self._leg("log in to read", lambda: self._imap().logout() and "accepted")

    def send(self, *, log: bool) -> Iterator[Leg]:
        """A mail to the person themself, until it is settled. `log`: it is to be recorded."""
        opened: list[smtplib.SMTP] = []

        def log_in() -> str:
            opened.append(self._smtp())
            return "accepted"

        yield self._leg("log in to send", log_in)
        if not opened:
            return
        with opened[0] as smtp:
            yield self._leg("hand in", lambda: self._submit(smtp, log))
        if self._stopped:
            return
        if self._reading is None:
            yield Leg("arrive in INBOX", True, None, "left out: no IMAP listener is open")
        else:
            yield self._leg("arrive in INBOX", self._arrived)
        if log:
            yield self._leg("be recorded", self._recorded)
        if self._account.sent_copy.of == "nothing" or (self._account.sent_copy.of == "tracked" and not log):
            yield Leg("Sent copy", True, None, "left out: sent_copy.of")
        else:
            yield self._leg("Sent copy", self._filed)

    def _leg(self, name: str, go: Callable[[], Any]) -> Leg:
        begun = time.monotonic()
        try:
            detail, ok = str(go()), True
        except smtplib.SMTPResponseException as error:
            detail, ok = f"{error.smtp_code} {error.smtp_error.decode('utf-8', 'replace')}", False  # type: ignore[union-attr]
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            detail, ok = f"{code} {said.decode('utf-8', 'replace')}", False
        except imaplib.IMAP4.error as error:
            why = error.args[0] if error.args else ""
            detail, ok = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why), False
        except (OSError, smtplib.SMTPException, ProxydError) as error:
            detail, ok = str(error) or type(error).__name__, False
        self._stopped = self._stopped or not ok
        return Leg(name, ok, time.monotonic() - begun, " ".join(detail.split()))

    # --- sending ------------------------------------------------------------------------------------------------

    def _smtp(self) -> smtplib.SMTP:
        if "smtps" in self._listening:
            port = _port(self._listening["smtps"])
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(HOST, port, timeout=LOGIN_LIMIT, context=self._trust)
        elif "smtp" in self._listening:
            smtp = smtplib.SMTP(HOST, _port(self._listening["smtp"]), timeout=LOGIN_LIMIT)
            smtp.starttls(context=self._trust)
        else:
            raise ProxydError("no SMTP listener is open; see listen.smtps in proxyd.yaml")
        smtp.login(self._account.address, self._password)
        return smtp

    def _submit(self, smtp: smtplib.SMTP, log: bool) -> str:
        address = self._account.address
        made = EmailMessage()
        made["From"] = made["To"] = address
        made["Subject"] = f"A test by proxyd ({self._word})"
        made["Date"] = format_datetime(now())
        made["Message-ID"] = self.message_id
        made["X-CRM-Log"] = "yes" if log else "no"
        made.set_content("proxyd test sent this through proxyd and your provider. You may delete it.\n")
        smtp.ehlo_or_helo_if_needed()
        smtp.mail(address)
        code, said = smtp.rcpt(address)
        if code != 250:
            raise smtplib.SMTPResponseException(code, said)
        octets = made.as_bytes(policy=made.policy.clone(linesep="\r\n"))
        code, said = smtp.data(octets)
        if code != 250:
            raise smtplib.SMTPDataError(code, said)
        return f"{code} {said.decode('utf-8', 'replace')}"

    # --- reading ------------------------------------------------------------------------------------------------

    @property
    def _reading(self) -> str | None:
        return next((name for name in ("imaps", "imap") if name in self._listening), None)

    def _imap(self) -> imaplib.IMAP4:
        name = self._reading
        assert name is not None
        port = _port(self._listening[name])
        if name == "imaps":
            imap: imaplib.IMAP4 = imaplib.IMAP4_SSL(HOST, port, ssl_context=self._trust, timeout=LOGIN_LIMIT)
        else:
            imap = imaplib.IMAP4(HOST, port, timeout=LOGIN_LIMIT)
            imap.starttls(self._trust)
        imap.login(self._account.address, self._password)
        return imap

    def _arrived(self) -> str:
        """Looked for by its Message-ID, or by a word of its subject: some providers replace the one."""
        imap = self._imap()
        try:
            imap.select("INBOX", readonly=True)

            def there() -> bool:
                imap.noop()
                named = ("HEADER", "Message-ID", f'"{self.message_id}"', "SUBJECT", self._word)
                return bool(imap.uid("SEARCH", "OR", *named)[1][0])

            _waited(there, ARRIVAL_LIMIT, "it did not arrive")
            return "seen there"
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                imap.logout()

    # --- what the daemon knows ------------------------------------------------------------------------------------

    def _recorded(self) -> str:
        known = _waited(lambda: self._explained("logged"), ARRIVAL_LIMIT, "it was not recorded")
        return str(known["because"])

    def _filed(self) -> str:
        limit = self._account.sent_copy.settle + ARRIVAL_LIMIT

        def settled() -> dict[str, Any] | None:
            copy = (self._explain(self.message_id) or {}).get("sent_copy") or {}
            return copy if copy.get("state") not in (None, "waiting") else None

        copy = _waited(settled, limit, "it is still waited for")
        if copy["state"] == "failed":
            raise ProxydError(str(copy.get("error") or "it could not be filed"))
        return f"in {copy['folder']}, filed by {copy['by']}" if copy.get("by") else str(copy["state"])

    def _explained(self, key: str) -> dict[str, Any] | None:
        known = self._explain(self.message_id)
        return known if known and known.get(key) else None


def _waited(look: Callable[[], T], seconds: float, otherwise: str) -> Any:
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise ProxydError(f"{otherwise} within {seconds:g} s")
        time.sleep(EVERY)  # noqa: TID251 - a command that waits for a mail
    return found


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _trust(places: Places, settings: Settings) -> ssl.SSLContext:
    """What a client of this machine would trust: our own authority, or whoever signed the certificate in use."""
    if settings.daemon.certificate == "auto":
        return ssl.create_default_context(cafile=str(places.data / "ca.pem"))
    context = ssl.create_default_context(cafile=str(settings.daemon.certificate.chain))
    context.check_hostname = False  # it is for the name that other machines know this one by
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
