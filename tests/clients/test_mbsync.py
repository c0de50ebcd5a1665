"""mbsync (isync): five hundred messages, then a day's changes on both sides."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.clients.place import Place, plain, subject

MANY = 500


def mbsync(place: Place, tls: str) -> None:
    port, kind = (place.imaps, "IMAPS") if tls == "imaps" else (place.imap, "STARTTLS")
    for name in ("mail", "state"):
        (place.folder / name).mkdir(exist_ok=True)
    place.write(
        "mbsyncrc",
        f"""
        IMAPStore far
        Host {place.host}
        Port {port}
        User {place.user}
        Pass "{place.password}"
        SSLType {kind}
        CertificateFile {place.ca}
        SystemCertificates no
        PipelineDepth 50

        MaildirStore near
        Path {place.folder}/mail/
        Inbox {place.folder}/mail/INBOX
        SubFolders Verbatim

        Channel all
        Far :far:
        Near :near:
        Patterns *
        Create Both
        Remove Both
        Expunge Both
        Sync All
        SyncState {place.folder}/state/
        """.replace("\n        ", "\n"),
    )
    place.command("mbsync", "-c", "mbsyncrc", "-a")


def local(place: Place, folder: str = "INBOX") -> dict[str, Path]:
    return {subject(path.read_bytes()): path for path in (place.folder / "mail" / folder).glob("*/*")}


@pytest.mark.parametrize("tls", ["imaps", "starttls"])
def test_two_way_sync(place: Place, tls: str) -> None:
    place.fill(MANY)
    mbsync(place, tls)
    here = local(place)
    assert set(here) == {f"Number {n}" for n in range(1, MANY + 1)}
    there = {subject(each.octets): each.octets for each in place.provider.dovecot.messages(place.user)}
    for about, path in here.items():
        octets = re.sub(rb"(?m)^X-TUID: .*\n", b"", path.read_bytes())
        assert octets == there[about].replace(b"\r\n", b"\n")

    changes_there(place)
    changes_here(place, here)
    mbsync(place, tls)
    wanted = {f"Number {n}" for n in range(1, MANY + 4)} - {"Number 1", "Number 2"} | {"Draft"}
    assert set(local(place)) == wanted
    assert set(place.subjects()) == wanted
    assert len(place.subjects()) == len(wanted)
    flags = place.flags()
    assert (flags["Number 3"], flags["Number 4"], flags["Number 5"]) == ({"\\Flagged"}, {"\\Seen", "\\Answered"}, set())
    assert local(place)["Number 3"].name.endswith(":2,F")
    assert place.subjects("Projects") == ["In a new folder"]

    before = place.flags()
    mbsync(place, tls)
    assert place.flags() == before, "nothing was left to do"
    assert set(local(place)) == wanted


def changes_there(place: Place) -> None:
    place.fill(3, start=MANY + 1)
    with place.provider.dovecot.imap(place.user) as imap:
        imap.select()
        imap.store("1", "+FLAGS", "\\Deleted")
        imap.expunge()
        imap.uid("STORE", "3", "+FLAGS", "\\Flagged")


def changes_here(place: Place, here: dict[str, Path]) -> None:
    here["Number 2"].unlink()
    four = here["Number 4"]
    four.rename(place.folder / "mail/INBOX/cur" / (four.name.partition(":")[0] + ":2,RS"))
    new = place.folder / "mail/INBOX/new/1.draft.here"
    new.write_bytes(plain("Draft").replace(b"\r\n", b"\n"))
    for name in ("cur", "new", "tmp"):
        (place.folder / "mail/Projects" / name).mkdir(parents=True)
    (place.folder / "mail/Projects/new/1.project.here").write_bytes(plain("In a new folder").replace(b"\r\n", b"\n"))
