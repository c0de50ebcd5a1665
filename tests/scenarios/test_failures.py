"""When something is wrong, the client gets a clear answer, `status` says what it is, and the daemon goes on."""

from __future__ import annotations

import contextlib
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import QUICK
from tests.scenarios.rig import Rig, letter, message_id
from tests.servers.mailprovider import CUSTOMER, OTHER_CUSTOMER, PERSON
from tests.servers.tls import ThrowAwayCa
from tests.servers.waiting import eventually

NOBODY_YET: dict[str, Any] = {"accounts": []}
NOBODY = "nobody@customer.test"


def refusal(rig: Rig, sent, recipients=(CUSTOMER,)) -> tuple[int, str]:
    """What the client is told."""
    try:
        rig.send(sent, recipients)
    except smtplib.SMTPResponseException as error:
        return error.smtp_code, error.smtp_error.decode()
    except smtplib.SMTPSenderRefused as error:
        return error.smtp_code, error.smtp_error.decode()
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        return code, text.decode()
    raise AssertionError("it was taken")


def still_works(rig: Rig) -> None:
    sent = letter("Afterwards")
    assert rig.send(sent) == {}
    eventually(lambda: len(rig.inbox_of(CUSTOMER, message_id(sent))) == 1, "the message to arrive")


def test_the_provider_is_down_and_comes_back(rig: Rig) -> None:
    rig.add_contact()
    rig.connected()
    rig.provider.stop()
    code, text = refusal(rig, letter())
    assert code == 451
    assert "reach" in text or "connect" in text, text
    said = eventually(
        lambda: (status := rig.account_status())["state"] == "unreachable" and status, "status", every=0.2
    )
    assert said["evidence"]
    assert rig.run("status").returncode == 1 or said["state"] == "unreachable"
    rig.provider.start()
    eventually(lambda: rig.account_status()["state"] == "connected", "the way back", within=60, every=0.3)
    still_works(rig)


def test_the_password_is_wrong(make_rig) -> None:
    rig = make_rig(start=False)
    (rig.provider.folder / f"{PERSON}.password").write_text("not this one\n")
    rig.start()
    code, text = refusal(rig, letter())
    assert code == 454, "never 535: the client's own password is right"
    assert "refus" in text or "sign" in text.lower(), text
    said = eventually(lambda: (s := rig.account_status())["evidence"] and s, "the server's own words", every=0.2)
    assert said["state"] != "connected"
    assert "AUTH" in said["evidence"].upper(), said
    (rig.provider.folder / f"{PERSON}.password").write_text(rig.provider.dovecot.users[PERSON] + "\n")
    rig.hang_up()
    eventually(lambda: rig.account_status()["state"] == "connected", "the right password", every=0.3)
    still_works(rig)


def test_the_certificate_is_not_trusted(make_rig, tmp_path: Path) -> None:
    rig = make_rig(start=False)
    other = ThrowAwayCa(tmp_path / "other-ca")
    text = rig.provider.account_yaml(client_password=rig.client_password, more=QUICK)
    rig.write_account(text.replace(str(rig.provider.ca.ca), str(other.ca)))
    rig.start()
    code, answer = refusal(rig, letter())
    assert code in (451, 454)
    assert "certificate" in answer
    said = eventually(lambda: (s := rig.account_status())["state"] == "misconfigured" and s, "status", every=0.2)
    assert "certificate" in said["evidence"]
    assert rig.run("status").returncode == 1
    rig.write_account(text)
    rig.hang_up()
    eventually(lambda: rig.account_status()["state"] == "connected", "the right one", every=0.3)
    still_works(rig)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB that can be filled."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_the_disk_is_full(make_rig, small_disk: Path) -> None:
    rig = make_rig(start=False)
    for file in rig.data.iterdir():
        (small_disk / file.name).write_bytes(file.read_bytes())
        (small_disk / file.name).chmod(0o600)
    rig.data = small_disk
    rig.start()
    rig.connected()
    still_works(rig)
    ballast = small_disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(b"\0" * 4096)
            file.flush()
    sent = letter(body="x" * 70 + "\n" + ("y" * 70 + "\n") * 3000)
    code, text = refusal(rig, sent)
    assert code == 452, text
    assert rig.inbox_of(CUSTOMER, message_id(sent)) == []
    ballast.unlink()
    still_works(rig)
    assert rig.send(sent) == {}


def test_the_message_is_too_big_for_the_provider(make_rig) -> None:
    rig = make_rig(message_size_limit=200_000)
    rig.connected()
    code, text = refusal(rig, letter(attach=b"x" * 300_000))
    assert code == 552, text
    still_works(rig)


def test_one_recipient_of_three_is_refused(rig: Rig) -> None:
    rig.connected()
    sent = letter()
    code, text = refusal(rig, sent, [CUSTOMER, NOBODY, OTHER_CUSTOMER])
    assert code == 550
    assert NOBODY in text, "which one"
    for who in (CUSTOMER, OTHER_CUSTOMER):
        assert rig.inbox_of(who, message_id(sent)) == [], "all or none"
    still_works(rig)


def test_a_sender_that_is_not_the_accounts(rig: Rig) -> None:
    code, text = refusal(rig, letter(sender="boss@example.test"))
    assert code in (550, 553)
    assert PERSON in text, "what is accepted"
    still_works(rig)


def test_a_broken_file_keeps_the_old_settings_and_says_so(rig: Rig) -> None:
    rig.connected()
    good = (rig.config / "accounts.d/ada.yaml").read_text()
    rig.write_account(good + "trak: contacts\n")
    rig.hang_up()
    problem = eventually(lambda: rig.status()["daemon"].get("config_problem"), "status to say so", every=0.2)
    assert "ada.yaml" in problem
    still_works(rig)
    assert rig.run("check").returncode == 78
    rig.write_account(good)
    assert rig.run("reload").returncode == 0
    assert not rig.status()["daemon"].get("config_problem")
    still_works(rig)


def test_sighup_while_it_starts_is_not_forgotten(make_rig) -> None:
    rig = make_rig(start=False)
    rig.start(wait=False)
    eventually((rig.data / "daemon.lock").exists, "the daemon to be on its way, with its configuration read")
    rig.write_account(rig.provider.account_yaml("charles@example.test", client_password=rig.client_password), "charles")
    rig.hang_up()
    both = {PERSON, "charles@example.test"}
    eventually(lambda: both == {each["address"] for each in (rig.status(may_fail=True) or NOBODY_YET)["accounts"]})


def test_a_second_person_is_added_without_a_restart(rig: Rig) -> None:
    rig.connected()
    rig.write_account(
        rig.provider.account_yaml("charles@example.test", name="Charles", client_password=rig.client_password),
        "charles",
    )
    assert rig.run("reload").returncode == 0
    states = eventually(
        lambda: (
            (found := {each["address"]: each["state"] for each in rig.status()["accounts"]})
            and set(found.values()) == {"connected"}
            and found
        ),
        "both connected",
        every=0.2,
    )
    assert set(states) == {PERSON, "charles@example.test"}


def test_nothing_listens_and_nothing_answers_when_it_is_off(make_rig) -> None:
    rig = make_rig()
    second = rig.run("run")
    assert second.returncode == 69, "one daemon for these records is enough"
    assert f"process {rig.pid}" in second.stderr
    assert rig.status()["daemon"]["listening"], "the first still answers"
    rig.stop()
    done = rig.run("status", "--json")
    assert done.returncode == 69
    assert "not running" in done.stderr
    assert rig.run("timeline").returncode == 0, "the records can be read without the daemon"
