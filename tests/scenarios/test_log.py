"""What stands in the daemon's log after everything has happened: what became of each mail, and nobody's words."""

from __future__ import annotations

import contextlib
import json
import smtplib
import urllib.request

from tests.scenarios.rig import CLIENT_PASSWORD, Rig, letter, message_id
from tests.servers.mailprovider import CUSTOMER, OTHER_CUSTOMER, PASSWORD, PERSON
from tests.servers.waiting import eventually

LISTENING = 'listen: {smtp: "127.0.0.1:0", smtps: "127.0.0.1:0", imap: off, imaps: off, web: "127.0.0.1:0"}\n'
WORDS = ("Quittenmarmelade", "Zwetschgendatschi", "Yes, please", "Grace Hopper", "offer.pdf")


def test_a_whole_days_log_tells_the_ids_and_nobodys_words(make_rig) -> None:
    rig: Rig = make_rig(start=False)
    (rig.config / "proxyd.yaml").write_text(LISTENING)
    rig.start()
    rig.add_contact()
    rig.connected()
    tracked = letter("Quittenmarmelade", body="Zwetschgendatschi\n", attach=b"x" * 100)
    untracked = letter("Quittenmarmelade privately", to=OTHER_CUSTOMER, body="Zwetschgendatschi\n")
    rig.send(tracked)
    rig.send(untracked, [OTHER_CUSTOMER])
    with contextlib.suppress(smtplib.SMTPException):
        rig.send(letter("Quittenmarmelade"), ["nobody.at.all@customer.test"])
    rig.reply(tracked, subject="Re: Quittenmarmelade")
    rig.provider.dovecot.deliver(PERSON, letter("Quittenmarmelade", sender=OTHER_CUSTOMER, to=PERSON).as_bytes())
    eventually(lambda: any(each["direction"] == "incoming" for each in rig.timeline()), "the reply", every=0.2)
    eventually(lambda: len(rig.sent(message_id(untracked))) == 1, "the Sent copy", every=0.2)
    figures = urllib.request.urlopen(f"http://127.0.0.1:{rig.port('web')}/metrics").read().decode()
    rig.stop()
    log = rig.log.read_text()
    ids = {each["mail"] for each in lines(log) if each["event"] == "mail sent"}
    assert len(ids) == 2
    assert {each["mail"] for each in lines(log) if each["event"] == "sent copy there"} == ids
    assert [each["source"] for each in lines(log) if each["event"] == "mail seen"] == ["reply"]
    for text in (log, figures):
        for word in (*WORDS, OTHER_CUSTOMER, "nobody.at.all", PASSWORD, CLIENT_PASSWORD):
            assert word not in text
    assert CUSTOMER not in figures
    assert 'proxyd_submissions_total{outcome="sent"} 2.0' in figures
    assert "proxyd_watch_lag_seconds_count 1.0" in figures


def lines(log: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in log.splitlines()]
