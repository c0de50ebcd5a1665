"""neomutt: in batch mode it sends; on a terminal it reads, files, deletes, and keeps its own copy of what it sends."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from time import monotonic

import pytest

from tests.clients.place import PATIENCE, Place, plain, subject
from tests.servers.mailprovider import CUSTOMER, PERSON
from tests.servers.processes import need_program
from tests.servers.waiting import eventually


def settings(place: Place, tls: str = "implicit") -> None:
    login = place.user.replace("@", "%40")
    if tls == "implicit":
        imap, smtp = f"imaps://{login}@{place.host}:{place.imaps}", f"smtps://{login}@{place.host}:{place.smtps}"
    else:
        imap, smtp = f"imap://{login}@{place.host}:{place.imap}", f"smtp://{login}@{place.host}:{place.smtp}"
    place.write(
        "neomuttrc",
        f"""
set from="{PERSON}" realname="Ada Lovelace" use_from=yes use_envelope_from=yes
set imap_pass="{place.password}" smtp_pass="{place.password}" smtp_url="{smtp}"
set folder="{imap}" spoolfile="{imap}/INBOX" record="{imap}/Sent" trash="{imap}/Trash"
set ssl_starttls=yes ssl_force_tls=yes certificate_file="{place.ca}"
set editor="true" abort_unmodified=no abort_nosubject=no copy=yes delete=yes quit=yes move=no fast_reply=yes include=yes
set confirmappend=no confirmcreate=no wait_key=no sleep_time=0 header_cache="" message_cachedir="" beep=no
""",
    )


def neomutt(place: Place, keys: str) -> None:
    """Types `keys` at a terminal; the last of them have to end it."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [need_program("neomutt", "neomutt"), "-n", "-F", "neomuttrc", "-e", f"push '{keys}'"],
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=place.folder,
        env=place.environment,
        start_new_session=True,
    )
    os.close(its)
    screen, end = b"", monotonic() + PATIENCE
    try:
        while process.poll() is None and monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    screen += os.read(ours, 65536)
                except OSError:  # the terminal is closed: it has ended
                    break
        assert process.wait(60) == 0, screen[-3000:]
    except subprocess.TimeoutExpired:
        raise AssertionError(f"neomutt does not end: {screen[-3000:]!r}") from None
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_reads_files_and_deletes(place: Place, tls: str) -> None:
    place.fill(5)
    settings(place, tls)
    neomutt(
        place,
        '<search>~s "Number 2"<enter><display-message><exit><pipe-message>cat >two.eml<enter>'
        '<search>~s "Number 3"<enter><flag-message><search>~s "Number 4"<enter><save-message>=Kept<enter>'
        '<search>~s "Number 5"<enter><delete-message><sync-mailbox><quit>',
    )
    assert b"Here it is." in (place.folder / "two.eml").read_bytes()
    flags = place.flags()
    assert set(flags) == {"Number 1", "Number 2", "Number 3"}
    assert flags["Number 2"] >= {"\\Seen"}
    assert flags["Number 3"] >= {"\\Flagged"}
    assert place.subjects("Kept") == ["Number 4"]
    assert place.subjects("Trash") == ["Number 5"]


def test_sends_answers_and_files_its_own_copy(place: Place) -> None:
    place.provider.dovecot.deliver(PERSON, plain("Question", sender=CUSTOMER, to=PERSON))
    settings(place)
    neomutt(
        place,
        f"<mail>{CUSTOMER}<enter>Offer<enter><send-message><search>~s Question<enter><reply><send-message><quit>",
    )
    got = eventually(lambda: (each := place.provider.dovecot.messages(CUSTOMER)) and len(each) == 2 and each, "both")
    assert {subject(each.octets) for each in got} == {"Offer", "Re: Question"}
    assert sorted(place.subjects("Sent")) == ["Offer", "Re: Question"]
    assert all("\\Seen" in flags for flags in place.flags("Sent").values())
    assert "\\Answered" in place.flags()["Question"]
    if place.rig is not None:
        once_when_all_is_settled(place, 2)


def once_when_all_is_settled(place: Place, count: int) -> None:
    """proxyd's records of the Sent copies are done, and there is still one of each."""
    rig = place.rig
    assert rig is not None
    eventually(lambda: rig.account_status()["waiting"]["sent_copies"] == 0, "every Sent copy settled")
    assert len(place.subjects("Sent")) == count


def test_batch_mode_sends(place: Place) -> None:
    settings(place)
    place.write("offer.pdf", "%PDF-1.7")
    arguments = ["-n", "-F", "neomuttrc", "-e", 'set record=""', "-s", "Offer", "-a", "offer.pdf", "--", CUSTOMER]
    place.command("neomutt", *arguments, input=b"Here it is.\n")
    (got,) = eventually(lambda: place.provider.dovecot.messages(CUSTOMER), "the message")
    assert subject(got.octets) == "Offer"
    assert b'filename="offer.pdf"' in got.octets
