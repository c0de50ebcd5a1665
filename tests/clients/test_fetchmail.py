"""fetchmail: takes what is new, hands it on, and may wait in IDLE for more."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.clients.place import Place, plain
from tests.servers.mailprovider import CUSTOMER, PERSON
from tests.servers.waiting import eventually


def settings(place: Place, tls: str, more: str = "keep") -> None:
    port, kind = (place.imaps, "ssl") if tls == "imaps" else (place.imap, 'sslproto "tls1.2+"')
    place.write(
        "fetchmailrc",
        f"""poll {place.host} protocol IMAP service {port} auth password
  user "{place.user}" password "{place.password}"
  {kind} sslcertck sslcertfile "{place.ca}" {more}
  mda "cat >>{place.folder}/taken"
""",
    )


ARGUMENTS = ("-f", "fetchmailrc", "--pidfile", "fetchmail.pid", "--nosyslog")


def taken(place: Place) -> list[str]:
    path = place.folder / "taken"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.removeprefix("Subject: ") for line in lines if line.startswith("Subject: ")]


@pytest.mark.parametrize("tls", ["imaps", "starttls"])
def test_takes_what_is_new(place: Place, tls: str) -> None:
    place.fill(20)
    settings(place, tls)
    place.command("fetchmail", *ARGUMENTS)
    assert taken(place) == [f"Number {n}" for n in range(1, 21)]
    assert set(place.flags().values()) == {frozenset({"\\Seen"})}
    place.fill(2, start=21)
    place.command("fetchmail", *ARGUMENTS)
    assert taken(place)[20:] == ["Number 21", "Number 22"]


def test_takes_it_away(place: Place) -> None:
    place.fill(3)
    settings(place, "imaps", "no keep")
    place.command("fetchmail", *ARGUMENTS)
    assert len(taken(place)) == 3
    assert place.subjects() == []


def test_waits_in_idle(place: Place) -> None:
    place.fill(1)
    settings(place, "imaps", "keep idle")
    waiting = subprocess.Popen(
        ["fetchmail", *ARGUMENTS],
        cwd=place.folder,
        env=place.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: taken(place) == ["Number 1"], "what was there")
        place.provider.dovecot.deliver(PERSON, plain("News", sender=CUSTOMER, to=PERSON))
        eventually(lambda: taken(place) == ["Number 1", "News"], "what came meanwhile")
    finally:
        os.kill(waiting.pid, signal.SIGTERM)
        waiting.wait(60)
