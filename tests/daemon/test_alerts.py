"""Trouble is told where the account says: on a real bus, to a program, to a web server, into a real INBOX."""

from __future__ import annotations

import asyncio
import functools
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from proxyd.daemon import desktop
from proxyd.daemon.alerts import AGAIN, Alerts
from proxyd.errors import TryLater
from proxyd.model import (
    DropboxPostponed,
    HealthCause,
    HealthEvent,
    SendUnknown,
    Sent,
    SmtpReply,
    Spooled,
    Undeliverable,
)
from proxyd.web.troubles import troubles
from tests.daemon import bus
from tests.looping import on_the_loop
from tests.rigged import ADA, Desk, desk, message
from tests.servers.mailprovider import PERSON, Provider
from tests.watcher.watched import watched

EXPIRED = HealthEvent(HealthCause.MISCONFIGURED, "SMTP", "its certificate has <b>expired</b>")
WELL = HealthEvent(HealthCause.SIGNED_IN, "SMTP")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLTdw"


def alerts(d: Desk, mailbox: Any = None) -> Alerts:
    known = functools.partial(troubles, d.database)
    return Alerts(lambda: d.accounts, d.journal, d.workers, d.clock, lambda address: mailbox, known)


@contextmanager
def hook() -> Iterator[tuple[str, queue.Queue[tuple[dict[str, str], str]], list[int]]]:
    """A web server: its address, what was posted to it, and what it answers (the last word for ever)."""
    posted: queue.Queue[tuple[dict[str, str], str]] = queue.Queue()
    answers = [204]

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            posted.put(({key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Taking) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", posted, answers
        server.shutdown()


def test_the_desktop_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with bus.session_bus() as address, bus.desktop(address) as shown:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        desktop.notify("ada needs attention", "its certificate has <b>expired</b>", urgent=True)
        name, _, _, title, text, _, hints, _ = shown.get(timeout=60)
        assert (name, title, text) == (
            "proxyd",
            "ada needs attention",
            "its certificate has &lt;b&gt;expired&lt;/b&gt;",
        )
        assert hints["urgency"] == ("y", 2)


def test_nobody_at_a_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    with pytest.raises(TryLater, match="no desktop session"):
        desktop.notify("x", "y", urgent=False)
    with bus.session_bus() as address:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        with pytest.raises(TryLater, match="took no notification"):
            desktop.notify("x", "y", urgent=False)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/bus")
    with pytest.raises(TryLater, match="took no notification"):
        desktop.notify("x", "y", urgent=False)


@on_the_loop
async def test_a_program_hears_it_once_then_daily_then_that_it_is_over(tmp_path: Path) -> None:
    told = tmp_path / "told"
    more = f"alerts: [{{command: [sh, -c, 'cat >> {told}; echo >> {told}']}}]\n"
    async with desk(tmp_path, more) as d:
        ours = alerts(d)
        await ours.look()
        await d.journal.health(ADA, EXPIRED)
        await ours.look()
        await ours.look()
        (first,) = map(json.loads, told.read_text().splitlines())
        assert first["type"] == "account.trouble"
        assert first["data"]["account"] == ADA
        assert first["data"]["state"] == "misconfigured"
        assert first["data"]["cure"] == "proxyd reload"
        assert EXPIRED.evidence in first["data"]["sentence"]
        await d.clock.advance(86400)
        await ours.look()
        await ours.look()
        await d.settled()
    async with desk(tmp_path, more, clock=d.clock) as d:  # a restart tells nothing twice
        ours = alerts(d)
        await ours.look()
        await d.journal.health(ADA, WELL)
        await ours.look()
        await ours.look()
    types = [json.loads(line)["type"] for line in told.read_text().splitlines()]
    assert types == ["account.trouble", "account.reminder", "account.healed"]


@on_the_loop
async def test_a_webhook_is_signed_and_asked_again_where_it_did_not_take_it(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text(SECRET + "\n")
    with hook() as (url, posted, answers):
        async with desk(tmp_path, f'alerts: [{{webhook: "{url}", secret: {{file: {key}}}}}]\n') as d:
            answers[:] = [500, 204]
            ours = alerts(d)
            await d.journal.health(ADA, EXPIRED)
            await ours.look()
            await ours.look()
            assert posted.qsize() == 1, "not at once"
            await d.clock.advance(AGAIN)
            await ours.look()
            await ours.look()
            assert posted.qsize() == 2
            headers, body = posted.get_nowait()
            signed = headers["webhook-signature"]
            at = d.clock.now().fromtimestamp(int(headers["webhook-timestamp"]), d.clock.now().tzinfo)
            assert Webhook(SECRET).sign(headers["webhook-id"], at, body) == signed
            assert json.loads(body)["data"]["account"] == ADA


@on_the_loop
async def test_no_place_that_takes_it_is_no_trouble(tmp_path: Path) -> None:
    more = "alerts: [{command: [/nowhere/at-all]}, {command: ['false']}, {webhook: 'http://127.0.0.1:1/'}, inbox]\n"
    async with desk(tmp_path, more) as d:
        await d.journal.health(ADA, EXPIRED)
        await alerts(d).look()
        assert d.journal.known(ADA, "alert") is None, "it was not told, and is tried again"


@on_the_loop
async def test_it_stands_in_the_inbox_unread(tmp_path: Path, provider: Provider) -> None:
    async with watched(tmp_path, provider, more="alerts: [inbox]\n") as w:
        await w.journal.health(PERSON, EXPIRED)
        ours = alerts(w, w.mailbox)
        await ours.look()
        (stored,) = await asyncio.to_thread(provider.dovecot.messages, PERSON)
        message = message_from_bytes(stored.octets)
        assert message["Subject"] == f"proxyd: {PERSON} needs attention"
        assert message["Auto-Submitted"] == "auto-generated"
        assert "certificate has <b>expired" in message.get_payload(decode=True).decode()
        assert "\\Seen" not in str(stored.flags)


@on_the_loop
async def test_what_only_the_records_know_is_told_too(tmp_path: Path) -> None:
    """A mail of unknown outcome, once it did not settle by itself; a dropbox that did not take its copy. Then daily."""
    told = tmp_path / "told"
    more = f"dropbox: 4711@bcc.crm.test\nalerts: [{{command: [sh, -c, 'cat >> {told}; echo >> {told}']}}]\n"

    def heard() -> list[tuple[str, str, str]]:
        documents = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
        return [(each["type"], each["data"]["what"], each["data"]["cure"]) for each in documents]

    async with desk(tmp_path, more) as d:
        ours = alerts(d)
        await d.add_contact("grace@customer.test")
        lost = await d.begin(message(id="lost@example.test"))
        await d.journal.record(SendUnknown(lost.id, "the connection broke", d.clock.now()))
        await ours.look()
        assert heard() == [], "most turn out by themselves"
        sent = await d.begin(message(id="sent@example.test"))
        await d.journal.record(Sent(sent.id, SmtpReply(250, ("OK",)), d.clock.now()))
        await d.journal.record(DropboxPostponed(sent.id, "550 no such user", None, d.clock.now()))
        await d.clock.advance(600)
        await ours.look()
        await d.clock.advance(600)
        await ours.look()
        unknown = ("records.trouble", "unknown", "proxyd settle '<lost@example.test>'")
        dropbox = ("records.trouble", "dropbox", f"proxyd copies retry --account {ADA}")
        assert heard() == [unknown, dropbox]
        await d.journal.record(Sent(lost.id, SmtpReply(250, ("OK",)), d.clock.now()))
        await d.clock.advance(86400)
        await ours.look()
        assert heard()[2:] == [("records.reminder", *dropbox[1:])], "what turned out is told no more"


@on_the_loop
async def test_mail_that_waits_long_and_mail_that_was_given_up(tmp_path: Path) -> None:
    """Of neither a word of the mail, or of whom it is to."""
    told = tmp_path / "told"
    more = f"alerts: [{{command: [sh, -c, 'cat >> {told}; echo >> {told}']}}]\n"

    def heard() -> list[Any]:
        documents = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
        return [(each["data"]["what"], each["data"]["cure"]) for each in documents]

    async with desk(tmp_path, more) as d:
        ours = alerts(d)
        begun = await d.begin(message())
        now = d.clock.now()
        await d.journal.record(Spooled(begun.id, "450 4.7.1 <grace@customer.test>: later", now, now))
        await ours.look()
        assert heard() == [], "most outages end"
        await d.clock.advance(3600)
        await ours.look()
        waits = ("spool", f"proxyd spool --account {ADA}")
        assert heard() == [waits]
        no = SmtpReply(550, ("5.1.1 <grace@customer.test>: no such user",))
        await d.journal.record(Undeliverable(begun.id, no.text, d.clock.now(), no))
        await d.clock.advance(600)
        await ours.look()
        assert heard() == [waits, ("not_delivered", f"proxyd spool retry --account {ADA}")]
        assert not any(word in told.read_text() for word in ("grace", "Offer", "m1@"))


@on_the_loop
async def test_the_daemon_tells_it_when_it_happens(tmp_path: Path) -> None:
    told = tmp_path / "told"
    async with desk(tmp_path, f"alerts: [{{command: [touch, {told}]}}]\n") as d:
        running = asyncio.ensure_future(alerts(d).run())
        await asyncio.sleep(0)
        await d.journal.health(ADA, EXPIRED)
        while not told.exists():
            await asyncio.sleep(0.02)
        running.cancel()
