"""`proxyd trace`: what goes over the wire while a mail is sent and answered, and nobody's words in it."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.scenarios.rig import Rig, letter
from tests.servers.mailprovider import CUSTOMER, PASSWORD, PERSON
from tests.servers.waiting import eventually

WORDS = ("Quittenmarmelade", "Zwetschgen", "grace", "ada@", PASSWORD, "Sent")


def test_a_trace_shows_the_commands_and_no_words(rig: Rig) -> None:
    rig.add_contact()
    rig.connected()
    command = [sys.executable, "-m", "proxyd", "trace", PERSON, "10m"]
    with subprocess.Popen(
        command, env=rig.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as tracing:
        assert tracing.stderr is not None
        assert tracing.stderr.readline().startswith("Listening for 10m")
        sent = letter("Quittenmarmelade", body="Zwetschgen\n")
        rig.send(sent)
        rig.reply(sent, subject="Re: Quittenmarmelade")
        eventually(lambda: len(rig.timeline()) == 2, "the reply", every=0.2)
        tracing.send_signal(signal.SIGINT)  # Ctrl-C, as its first line says
        shown, said = tracing.communicate(timeout=60)
    assert (tracing.returncode, said) == (0, "")
    for line in ("SMTP > MAIL FROM", "SMTP > RCPT TO", "SMTP < 250", "IMAP > UID FETCH", "IMAP < * 1 EXISTS"):
        assert line in shown, shown
    assert "MESSAGE-ID IN-REPLY-TO REFERENCES" in shown, "what is fetched of a mail can be checked"
    for word in WORDS:
        assert word not in shown
    assert rig.run("trace", CUSTOMER, "1s").returncode == 1
    assert rig.run("trace", PERSON, "1w").returncode == 2
    rig.stop()
    assert rig.run("trace", PERSON, "1s").returncode == 69
