"""`proxyd demo`: the main job, end to end, as whoever is new sees it first."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxyd.cli.demo_provider import DemoProvider, Person
from tests.servers.waiting import eventually

WITHIN = 60.0  # seconds; it takes six on two busy cores


@pytest.fixture
def folder() -> Iterator[Path]:
    """What TMPDIR names while a demo runs: what it leaves behind is left here."""
    with tempfile.TemporaryDirectory(prefix="pd-") as name:
        yield Path(name)


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "proxyd", "demo", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(folder), "NO_COLOR": "1", "COLUMNS": "100"},
    )


def processes_of(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found


def test_once_plays_it_and_prints_the_record(folder: Path) -> None:
    demo = start(folder, "--once")
    out, err = demo.communicate(timeout=WITHIN)
    assert demo.returncode == 0, err
    reply, offer = json.loads(out)["messages"]
    assert (reply["direction"], reply["source"], reply["state"]) == ("incoming", "reply", "received")
    assert (offer["direction"], offer["source"], offer["state"]) == ("outgoing", "smtp", "sent")
    assert reply["thread"] == offer["thread"]
    assert reply["in_reply_to"] == offer["message_id"]
    assert reply["new_text"].strip() == "Dear Ada, we take it."
    assert offer["sent_copy"] == {"state": "present", "by": "proxyd", "folder": "Sent", "copies": 1}
    assert [each["name"] for each in offer["attachments"]] == ["offer.pdf"]
    assert err.count("✓") == 9
    assert "sister@family.example" not in out
    assert list(folder.iterdir()) == []
    eventually(lambda: processes_of(folder) == [], "every process to end")


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_stays_up_for_a_real_client_and_leaves_nothing_behind(folder: Path, ended_by: signal.Signals) -> None:
    demo = start(folder)
    assert demo.stderr is not None
    told = []
    for line in demo.stderr:
        told.append(line)
        if "until Ctrl-C" in line:
            break
    words = "".join(told)
    for word in ("Thunderbird", "Outlook", "localhost", "ada@proxyd.example", "SHA-256"):
        assert word in words
    (link,) = re.findall(r"http://localhost:\d+/login\?link=\S+", words)
    opened = httpx.get(link, follow_redirects=True, trust_env=False)
    assert opened.status_code == 200
    assert "Grace Hopper" in opened.text
    (house,) = folder.iterdir()
    status = [sys.executable, "-m", "proxyd", "status", "--config", str(house), "--data", str(house)]
    assert subprocess.run(status, capture_output=True, check=False).returncode == 0
    demo.send_signal(ended_by)
    out, _ = demo.communicate(timeout=WITHIN)
    assert demo.returncode == 0
    assert "Re: Offer: one compiler" in " ".join(out.split())
    assert list(folder.iterdir()) == []
    eventually(lambda: processes_of(folder) == [], "every process to end")


def test_ended_in_the_middle_it_leaves_nothing_and_claims_nothing(folder: Path) -> None:
    demo = start(folder, "--once")
    assert demo.stderr is not None
    next(iter(demo.stderr))  # the provider is up, the daemon on its way
    demo.send_signal(signal.SIGTERM)
    out, _ = demo.communicate(timeout=WITHIN)
    assert (demo.returncode, out) == (1, "")
    assert list(folder.iterdir()) == []
    eventually(lambda: processes_of(folder) == [], "every process to end")


def test_what_is_not_seen_is_said_and_fails(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """A provider that forgets Grace's mail: the demo must not end well."""
    from proxyd.cli import demo as command
    from proxyd.cli import demo_house

    async def forgets(*_: object) -> str:
        return "250 OK"

    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(DemoProvider, "handle_DATA", forgets)
    with demo_house.DemoHouse() as house:
        assert command._play(house) is False
    err = capsys.readouterr().err
    assert "✗ send Grace an offer through proxyd: 'Offer: one compiler' in Grace Hopper's INBOX: not seen" in err
    assert list(folder.iterdir()) == []


def test_the_provider_keeps_what_it_is_given() -> None:
    import imaplib
    import smtplib

    ada = Person("ada@proxyd.example", "Ada", "one")
    provider = DemoProvider((ada,))
    provider.start()
    try:
        with smtplib.SMTP("127.0.0.1", provider.smtp_port) as smtp:
            with pytest.raises(smtplib.SMTPAuthenticationError):
                smtp.login(ada.address, "two")
            smtp.login(ada.address, ada.password)
            smtp.sendmail(ada.address, [ada.address.title(), "else@where.example"], b"Subject: x\r\n\r\n" + b"y" * 5000)
        with imaplib.IMAP4("127.0.0.1", provider.imap_port) as imap:
            imap.login(ada.address, ada.password)
            assert imap.select("INBOX", readonly=True) == ("OK", [b"1"])
            assert provider.witness.read == set()
            imap.uid("FETCH", "101", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)] RFC822.SIZE)")
            assert provider.witness.read == set()
            octets = imap.uid("FETCH", "101", "(BODY.PEEK[])")[1][0][1]
            assert octets.endswith(b"Subject: x\r\n\r\n" + b"y" * 5000 + b"\r\n")
            assert provider.witness.read == {("INBOX", "101")}
    finally:
        provider.stop()
