"""offlineimap3: a sync of everything into Maildirs and back.

Over TLS from the first byte alone: with STARTTLS it fails by itself, directly at Dovecot too, in one sync of five.
"""

from __future__ import annotations

from pathlib import Path

from tests.clients.place import Place, plain, subject


def offlineimap(place: Place) -> None:
    place.write(
        "offlineimaprc",
        f"""
        [general]
        accounts = ada
        metadata = {place.folder}/state
        [Account ada]
        localrepository = here
        remoterepository = there
        [Repository here]
        type = Maildir
        localfolders = {place.folder}/mail
        [Repository there]
        type = IMAP
        remotehost = {place.host}
        remoteport = {place.imaps}
        remoteuser = {place.user}
        remotepass = {place.password}
        ssl = yes
        sslcacertfile = {place.ca}
        starttls = no
        """.replace("\n        ", "\n"),
    )
    place.command("offlineimap", "-c", "offlineimaprc", "-o", "-u", "basic")


def local(place: Place, folder: str = "INBOX") -> dict[str, Path]:
    return {subject(path.read_bytes()): path for path in (place.folder / "mail" / folder).glob("*/*")}


def test_two_way_sync(place: Place) -> None:
    place.fill(50)
    offlineimap(place)
    here = local(place)
    assert set(here) == {f"Number {n}" for n in range(1, 51)}

    place.fill(1, start=51)
    with place.provider.dovecot.imap(place.user) as imap:
        imap.select()
        imap.store("1", "+FLAGS", "\\Deleted")
        imap.expunge()
        imap.uid("STORE", "3", "+FLAGS", "\\Flagged")
    here["Number 2"].unlink()
    four = here["Number 4"]
    four.rename(place.folder / "mail/INBOX/cur" / (four.name.partition(":")[0] + ":2,RS"))
    new = place.folder / "mail/Sent/new/1.kept.here"
    new.write_bytes(plain("Kept here").replace(b"\r\n", b"\n"))
    offlineimap(place)

    wanted = {f"Number {n}" for n in range(3, 52)}
    assert set(local(place)) == wanted
    assert set(place.subjects()) == wanted
    flags = place.flags()
    assert (flags["Number 3"], flags["Number 4"], flags["Number 5"]) == ({"\\Flagged"}, {"\\Seen", "\\Answered"}, set())
    assert "F" in local(place)["Number 3"].name.partition(":2,")[2]
    assert place.subjects("Sent") == ["Kept here"]
