"""Trouble is told where the account's `alerts` say: on the desktop, in the INBOX, to a program, to a webhook.

What is to be told, and when, is `rules/alerts`; what only the records know is looked for every few minutes. Told is
what at least one of the places took; where none did, it is tried again every quarter of an hour, so that a mailbox that
was out of reach, for one, hears of it later.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

import httpx
import structlog
from standardwebhooks import Webhook
from ulid import ULID

from proxyd.config import Account, Alert, AlertCommand, AlertWebhook, KeyringEntry, read_secret
from proxyd.daemon import desktop
from proxyd.errors import ProxydError, TryLater
from proxyd.journal import Journal
from proxyd.model import OWN_DOMAIN, Health
from proxyd.rules import alerts, record_troubles
from proxyd.rules.alerts import Occasion
from proxyd.rules.connection import Condition
from proxyd.rules.record_troubles import RecordTrouble
from proxyd.watcher.mailbox import Mailbox
from proxyd.workers import Clock, Workers

KEY = "alert"  # under this name the journal remembers what was told last
LOOK = 300.0  # seconds between two looks, where nothing has happened
AGAIN = 900.0  # seconds until the next try, where nobody could be told
COMMAND_LIMIT = 30  # seconds
WEBHOOK_LIMIT = 10.0  # seconds
PARTS = ("failed", "crm", "unknown", "spool")  # of what the records know

log = structlog.get_logger()

Document = dict[str, object]


class Alerts:
    """`mailbox` gives the account's watcher, which alone signs in to its mailbox; `records` what the records know of
    trouble now, as `proxyd.web.troubles` has it (it blocks)."""

    def __init__(
        self,
        accounts: Callable[[], Mapping[str, Account]],
        journal: Journal,
        workers: Workers,
        clock: Clock,
        mailbox: Callable[[str], Mailbox | None],
        records: Callable[[datetime], Mapping[str, Any]],
    ) -> None:
        self._accounts = accounts
        self._journal = journal
        self._workers = workers
        self._clock = clock
        self._mailbox = mailbox
        self._records = records
        self._records_due = 0.0  # on the clock's monotonic scale
        self._happened = asyncio.Event()
        self._not_before: dict[tuple[str, str], float] = {}  # (account, KEY of what) → on the clock's monotonic scale
        journal.on_health.append(lambda account, event, condition: self._happened.set())

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._happened.clear()
            await self.look()
            try:
                async with asyncio.timeout(LOOK):
                    await self._happened.wait()
            except TimeoutError:
                pass

    async def look(self) -> None:
        """Tell what is to be told now."""
        await asyncio.gather(*(self._look(each) for each in self._accounts().values()))
        if self._clock.monotonic() >= self._records_due:
            self._records_due = self._clock.monotonic() + LOOK
            known = await self._workers.run(self._records, self._clock.now())
            await asyncio.gather(*(self._look_into(known, each) for each in self._accounts().values()))

    async def _look(self, account: Account) -> None:
        address, now = account.address, self._clock.now()
        condition = self._journal.condition(address)
        what = alerts.occasion(alerts.restored(self._journal.known(address, KEY)), condition, now)
        if what is None:
            return
        document = alert_document(account, what, condition, now)
        await self._told(account, KEY, what, document, alerts.after(what, condition, now))

    async def _look_into(self, known: Mapping[str, Any], account: Account) -> None:
        address, now = account.address, self._clock.now()
        found = {each.kind: each for each in of_account(known, address, now)}
        for kind in record_troubles.KINDS:
            key, trouble = f"{KEY}:{kind}", found.get(kind)
            what = alerts.of_records(alerts.restored(self._journal.known(address, key)), trouble, now)
            if what is not None and trouble is not None:
                document = record_document(account, what, trouble, now)
                await self._told(account, key, what, document, alerts.Told(trouble.mark, now))
            elif trouble is None and self._journal.known(address, key):
                await self._journal.learn(address, key, "")

    async def _told(
        self, account: Account, key: str, what: Occasion, document: Document, remember: alerts.Told | None
    ) -> None:
        """Tell it, and `remember` under `key` that it was."""
        address = account.address
        if not account.alerts or self._not_before.get((address, key), 0.0) > self._clock.monotonic():
            return
        took = await asyncio.gather(*(self._tell(account, each, what, document) for each in account.alerts))
        if not any(took):
            self._not_before[address, key] = self._clock.monotonic() + AGAIN
            return
        self._not_before.pop((address, key), None)
        await self._journal.learn(address, key, alerts.kept(remember))
        log.info("alert told", account=address, occasion=what, of=key)

    async def _tell(self, account: Account, alert: Alert, what: Occasion, document: Document) -> bool:
        """Whether this place took it."""
        try:
            if alert == "desktop":
                await self._workers.run(self._on_desktop, what, document)
            elif alert == "inbox":
                await self._into_inbox(account, document)
            elif isinstance(alert, AlertCommand):
                await self._workers.run(run_command, alert.command, document)
            elif isinstance(alert, AlertWebhook):
                await self._post(account, alert, document)
        except ProxydError as error:
            log.warning("alert not told", account=account.address, where=_name(alert), why=str(error))
            return False
        return True

    def _on_desktop(self, what: Occasion, document: Document) -> None:
        desktop.notify(str(document["title"]), str(document["text"]), urgent=what is not Occasion.HEALED)

    async def _into_inbox(self, account: Account, document: Document) -> None:
        mailbox = self._mailbox(account.address)
        if mailbox is None or self._journal.condition(account.address).side("IMAP").state is not Health.CONNECTED:
            raise TryLater("the mailbox is out of reach itself")
        await mailbox.put_into_inbox(mail(account, document, self._clock.now()))

    async def _post(self, account: Account, alert: AlertWebhook, document: Document) -> None:
        body = json.dumps({key: document[key] for key in ("type", "timestamp", "data")}, ensure_ascii=False)
        id, at = str(document["id"]), self._clock.now()
        headers = {"content-type": "application/json", "webhook-id": id, "webhook-timestamp": str(int(at.timestamp()))}
        if alert.secret is not None:
            source = KeyringEntry(f"{account.address}/alerts") if isinstance(alert.secret, str) else alert.secret
            secret = await self._workers.run(read_secret, source, f"{account.address}: alerts: secret")
            headers["webhook-signature"] = _signed(secret, id, at, body)
        try:
            async with httpx.AsyncClient(timeout=WEBHOOK_LIMIT) as client:
                answer = await client.post(alert.webhook, content=body.encode(), headers=headers)
        except httpx.HTTPError as error:
            raise TryLater(f"the webhook did not answer ({type(error).__name__})") from None
        if not answer.is_success:
            raise TryLater(f"the webhook answered {answer.status_code}")


def _signed(secret: str, id: str, at: datetime, body: str) -> str:
    try:
        return Webhook(secret).sign(id, at, body)
    except Exception:  # base64's, the library's own: all say that this is no such key; none may quote it
        raise TryLater("the webhook's secret is no Standard Webhooks key (whsec_ and base64)") from None


def _name(alert: Alert) -> str:
    return alert if isinstance(alert, str) else type(alert).__name__.removeprefix("Alert").lower()


def run_command(words: tuple[str, ...], document: Document) -> None:
    """Start the program with the document on its standard input. Blocks. Raises TryLater where it does not end well."""
    octets = json.dumps({key: document[key] for key in ("type", "timestamp", "data")}, ensure_ascii=False).encode()
    try:
        ended = subprocess.run(
            words,
            input=octets,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_LIMIT,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TryLater(f"the program did not end within {COMMAND_LIMIT} s") from None
    except (OSError, ValueError) as error:
        raise TryLater(f"the program cannot be started ({type(error).__name__})") from None
    if ended.returncode != 0:
        raise TryLater(f"the program ended with {ended.returncode}")


def alert_document(account: Account, what: Occasion, condition: Condition, now: datetime) -> Document:
    """What is told, as data and in words."""
    healed = what is Occasion.HEALED
    title = f"{account.address} is connected again" if healed else f"{account.address} needs attention"
    text = condition.sentence if not healed else "Mail is sent and logged again."
    return {
        "id": str(ULID.from_datetime(now)),
        "title": title,
        "text": text,
        "type": f"account.{what}",
        "timestamp": now.isoformat(),
        "data": {
            "account": account.address,
            "state": condition.state,
            "since": condition.since.isoformat(),
            "because": condition.because,
            "evidence": condition.evidence,
            "sentence": condition.sentence,
            "cure": condition.cure or None,
        },
    }


def of_account(known: Mapping[str, Any], address: str, now: datetime) -> Iterator[RecordTrouble]:
    """The account's troubles among all that the records know (`proxyd.web.troubles`)."""
    ours = {part: [each for each in known[part] if each["account"] == address] for part in PARTS}
    mails = [
        record_troubles.Unknown(each["message_id"], datetime.fromisoformat(each["since"]), each["why"])
        for each in ours["unknown"]
    ]
    found = [record_troubles.unknown(mails, now), *record_troubles.spool(ours["spool"], address, now)]
    found += [RecordTrouble(each["what"], each["what"], each["sentence"], each["cure"]) for each in ours["failed"]]
    found.append(record_troubles.crm([(each["sentence"], each["cure"] or "") for each in ours["crm"]]))
    yield from (each for each in found if each is not None)


def record_document(account: Account, what: Occasion, trouble: RecordTrouble, now: datetime) -> Document:
    """As `alert_document`, of what only the records know."""
    return {
        "id": str(ULID.from_datetime(now)),
        "title": f"{account.address} needs attention",
        "text": f"{trouble.sentence} Run: {trouble.cure}",
        "type": f"records.{what}",
        "timestamp": now.isoformat(),
        "data": {
            "account": account.address,
            "what": trouble.kind,
            "sentence": trouble.sentence,
            "cure": trouble.cure,
        },
    }


def mail(account: Account, document: Document, now: datetime) -> bytes:
    """As a message for the person's own INBOX (RFC 5322)."""
    made = EmailMessage(policy=SMTP)
    made["From"] = f"proxyd <{account.address}>"
    made["To"] = account.address
    made["Subject"] = f"proxyd: {document['title']}"
    made["Date"] = format_datetime(now)
    made["Message-ID"] = f"<{document['id']}@{OWN_DOMAIN}>"
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's vacation answers it
    made.set_content(f"{document['text']}\n\nSee also: proxyd status\n")
    return made.as_bytes()
