"""Exactly one copy in Sent, whoever files it.

Here the mail client files directly at the provider, past proxyd. Where both it and the provider file, the mailbox has
two copies that are not ours: those are theirs to keep, and proxyd adds no third.
"""

from __future__ import annotations

import pytest

from tests.scenarios.conftest import QUICK
from tests.scenarios.rig import Rig, letter, message_id
from tests.servers.mailprovider import CUSTOMER, DROPBOX, OTHER_CUSTOMER, PERSON
from tests.servers.waiting import eventually


def recorded(rig: Rig, offer: str, **wanted) -> dict:
    """The record's Sent copy, once it says this."""

    def look():
        (logged,) = rig.timeline()
        copy = logged["sent_copy"]
        return copy if all(copy[key] == value for key, value in wanted.items()) else None

    return eventually(look, f"sent_copy {wanted}", every=0.1)


def file_it(rig: Rig, sent, folder: str = "Sent") -> None:
    rig.provider.dovecot.append(PERSON, folder, sent.as_bytes(policy=sent.policy.clone(linesep="\r\n")))


@pytest.fixture
def sent():
    return letter()


def test_nobody_else_files_it(make_rig, sent) -> None:
    rig = make_rig()
    rig.add_contact()
    rig.connected()
    sent["Bcc"] = OTHER_CUSTOMER
    rig.send(sent, [CUSTOMER, OTHER_CUSTOMER])
    recorded(rig, message_id(sent), state="present", by="proxyd", folder="Sent", copies=1)
    (copy,) = rig.sent(message_id(sent))
    assert "\\Seen" in copy.flags
    assert f"Bcc: {OTHER_CUSTOMER}".encode() in copy.octets
    (got,) = eventually(lambda: rig.inbox_of(CUSTOMER, message_id(sent)), "the message to arrive")
    assert b"Bcc" not in got.octets
    assert got.octets.endswith(sent.as_bytes(policy=sent.policy.clone(linesep="\r\n")).partition(b"\r\n\r\n")[2])


def test_the_client_files_it_too(make_rig, sent) -> None:
    rig = make_rig(more="sent_copy: {settle: 3s}\n")
    rig.add_contact()
    rig.connected()
    rig.send(sent)
    file_it(rig, sent)
    recorded(rig, message_id(sent), state="present", by="client", copies=1)
    assert len(rig.sent(message_id(sent))) == 1


def test_the_provider_files_it_too(make_rig, sent) -> None:
    rig = make_rig(files_sent=True)
    rig.add_contact()
    rig.connected()
    rig.send(sent)
    recorded(rig, message_id(sent), state="present", by="provider", copies=1)
    assert len(rig.sent(message_id(sent))) == 1


def test_both_file_it_and_we_do_not(make_rig, sent) -> None:
    rig = make_rig(files_sent=True)
    rig.add_contact()
    rig.connected()
    rig.send(sent)
    file_it(rig, sent)
    recorded(rig, message_id(sent), state="present", copies=2)
    assert len(rig.sent(message_id(sent))) == 2


def test_the_client_files_it_long_after_we_did(make_rig, sent) -> None:
    rig = make_rig()
    rig.add_contact()
    rig.connected()
    rig.send(sent)
    recorded(rig, message_id(sent), state="present", by="proxyd", copies=1)
    (ours,) = rig.sent(message_id(sent))
    file_it(rig, sent)
    recorded(rig, message_id(sent), state="present", by="client", copies=1)
    (theirs,) = rig.sent(message_id(sent))
    assert theirs.uid > ours.uid


def test_the_client_files_late_what_is_not_tracked(make_rig, sent) -> None:
    rig = make_rig()
    rig.connected()
    rig.send(sent)
    (ours,) = eventually(lambda: rig.sent(message_id(sent)), "our copy")
    eventually(lambda: "present" in str(rig.explain(message_id(sent))), "our copy on record", every=0.1)
    file_it(rig, sent)
    theirs = eventually(
        lambda: (found := rig.sent(message_id(sent))) and len(found) == 1 and found[0].uid != ours.uid and found,
        "ours to be gone and theirs to stay",
        within=60,
    )
    assert len(theirs) == 1


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ({"special_use": True, "sent_name": "Gesendete Objekte"}, "Gesendete Objekte"),
        ({"special_use": False, "sent_name": "Gesendete Objekte"}, "Gesendete Objekte"),
        ({"special_use": False, "sent_name": None}, "Sent"),
    ],
    ids=["by SPECIAL-USE", "by its localized name", "created"],
)
def test_the_sent_folder_is_found_or_made(make_rig, sent, options, folder) -> None:
    rig = make_rig(**options)
    rig.add_contact()
    rig.connected()
    rig.send(sent)
    recorded(rig, message_id(sent), state="present", by="proxyd", folder=folder)
    assert len(rig.sent(message_id(sent), folder)) == 1


def test_the_dropbox_gets_its_copy_and_is_in_nobody_elses(make_rig, sent) -> None:
    box = "4711@bcc.crm.test"
    rig = make_rig(more=QUICK + f"dropbox: {box}\n")
    rig.add_contact()
    rig.connected()
    rig.send(sent)
    eventually(lambda: rig.inbox_of(box, message_id(sent)), "the dropbox copy")
    eventually(lambda: rig.timeline()[0]["dropbox"]["state"] == "sent", "the dropbox copy on record", every=0.1)
    recorded(rig, message_id(sent), state="present")
    for copy in (*rig.sent(message_id(sent)), *rig.inbox_of(CUSTOMER, message_id(sent))):
        assert box.encode() not in copy.octets
    assert len(rig.inbox_of(box, message_id(sent))) == 1


def test_a_dropbox_that_was_refused_is_told_and_gets_its_copy_once_it_is_there(make_rig, sent) -> None:
    """`status` and `doctor` name one command; once the address is right, it cures."""
    box = "4712@bcc.crm.test"
    rig = make_rig(more=QUICK + f"dropbox: {box}\n")
    rig.add_contact()
    rig.connected()
    rig.send(sent)
    eventually(lambda: rig.timeline()[0]["dropbox"]["state"] == "failed", "the refusal on record", every=0.1)
    told = rig.json("status", codes=(1,))["accounts"][0]["given_up"]
    assert [(each["what"], each["count"], "550" in each["sentence"]) for each in told] == [("dropbox", 1, True)]
    assert told[0]["cure"] == f"proxyd copies retry --account {PERSON}"
    assert told[0]["cure"] in [each["cure"] for each in rig.json("doctor", codes=(1,))["findings"]]
    rig.write_account(  # it was mistyped
        rig.provider.account_yaml(client_password=rig.client_password, more=QUICK + f"dropbox: {DROPBOX}\n")
    )
    assert rig.run("reload").returncode == 0
    done = rig.run(*told[0]["cure"].split()[1:])
    assert (done.returncode, done.stdout) == (0, "1 copy to the CRM tried again now.\n")
    eventually(lambda: rig.timeline()[0]["dropbox"]["state"] == "sent", "the copy to be taken", every=0.1)
    assert len(rig.inbox_of(DROPBOX, message_id(sent))) == 1
    assert rig.timeline()[0]["dropbox"]["address"] == DROPBOX
    assert rig.run("doctor").returncode == 0
    assert rig.run("status").returncode == 0


def test_the_dropbox_copy_is_not_filed_as_a_second_sent_copy(make_rig, sent) -> None:
    """A provider that files what it sends files each transaction of its own."""
    box = "4711@bcc.crm.test"
    rig = make_rig(files_sent=True, start=False)
    account = {"client_password": rig.client_password, "files_sent": "yes", "more": f"dropbox: {box}\n"}
    rig.write_account(rig.provider.account_yaml(**account))
    rig.start()
    rig.add_contact()
    rig.connected()
    rig.send(sent)
    eventually(lambda: rig.inbox_of(box, message_id(sent)), "the dropbox copy")
    recorded(rig, message_id(sent), state="present", by="provider", copies=1)
    assert rig.timeline()[0]["dropbox"] == {"address": box, "state": "sent"}
    for copy in (*rig.sent(message_id(sent)), *rig.inbox_of(CUSTOMER, message_id(sent))):
        assert box.encode() not in copy.octets
    assert len(rig.sent(message_id(sent))) == 1


def test_what_was_sent_from_another_device_is_logged(make_rig, sent) -> None:
    rig = make_rig()
    rig.add_contact()
    rig.connected()
    file_it(rig, sent)
    private = letter("Private", to=OTHER_CUSTOMER)
    file_it(rig, private)
    (logged,) = eventually(rig.timeline, "the message from the other device")
    assert (logged["source"], logged["direction"], logged["message_id"]) == (
        "sent_folder",
        "outgoing",
        message_id(sent),
    )
    rig.reply(sent)
    eventually(lambda: len(rig.timeline()) == 2, "the answer to it")
