"""`on_outage: spool`: the provider is away, the client hears 250, and the mail goes out once, when it is back.

The provider is a real Dovecot and a real Postfix, which are stopped and started.
"""

from __future__ import annotations

import email
import email.policy
import shlex
from collections import Counter
from email.message import EmailMessage

import pytest

from tests.scenarios.rig import Rig, letter, message_id
from tests.scenarios.test_uploads import client, exactly_once, through_proxyd
from tests.scenarios.test_uploads import letter as numbered
from tests.servers.mailprovider import CUSTOMER, PASSWORD, PERSON
from tests.servers.waiting import eventually

SPOOL = "sent_copy: {settle: 1s}\nsending: {on_outage: spool}\n"
NOBODY = "nobody@customer.test"


def waiting(rig: Rig) -> int:
    return int(rig.account_status()["waiting"]["spool"])


def reports(rig: Rig) -> list[EmailMessage]:
    letters = (
        email.message_from_bytes(each.octets, policy=email.policy.default)
        for each in rig.provider.dovecot.messages(PERSON)
    )
    return [each for each in letters if str(each["Subject"]).startswith("Not delivered")]


def there_once(rig: Rig, mail: EmailMessage) -> bool:
    id = message_id(mail)
    return len(rig.inbox_of(CUSTOMER, id)) == 1 and len(rig.sent(id)) == 1


def test_the_provider_is_away_and_comes_back(make_rig) -> None:
    """Three mails go once, over a kill; the fourth has no such recipient, and comes back to who sent it."""
    rig: Rig = make_rig(more=SPOOL)
    rig.add_contact()
    rig.add_contact(NOBODY)
    rig.connected()
    rig.provider.stop()
    mails = [letter(f"Offer {n}") for n in range(3)]
    lost = letter("To nobody", to=NOBODY, body="Gr\u00fc\u00dfe\n")
    for each in mails:
        assert rig.send(each) == {}, "taken"
    assert rig.send(lost, [NOBODY]) == {}
    assert waiting(rig) == 4
    assert {each["state"] for each in rig.timeline()} == {"submitting"}
    assert rig.json("spool")["mails"][0]["recipients"] == [CUSTOMER]
    rig.kill()
    rig.start()
    assert waiting(rig) == 4, "whatever happens"

    rig.provider.start()
    eventually(lambda: waiting(rig) == 0, "all of it handed over", every=0.2)
    eventually(lambda: all(there_once(rig, each) for each in mails), "each to arrive and to be filed", every=0.3)
    eventually(lambda: rig.account_status()["waiting"]["sent_copies"] == 0, "the copies settled", every=0.2)
    assert all(there_once(rig, each) for each in mails)
    assert {each["subject"]: each["state"] for each in rig.timeline(CUSTOMER)} == {
        "Offer 2": "sent",
        "Offer 1": "sent",
        "Offer 0": "sent",
    }
    steps = [each["what"] for each in rig.explain(message_id(mails[0]))["steps"]]
    assert steps.index("waits at proxyd for the provider") < steps.index("taken by the provider")

    eventually(lambda: reports(rig), "word of the one that could not be delivered", every=0.2)
    (report,) = reports(rig)
    assert report.get_content_type() == "multipart/report"
    _, status, returned = report.iter_parts()
    assert {each["Final-Recipient"] for each in status.get_payload()[1:]} == {f"rfc822; {NOBODY}"}
    assert status.get_payload()[1]["Status"] == "5.1.1"
    assert returned.get_payload(0)["Message-ID"] == message_id(lost)
    (failed,) = rig.json("spool", codes=(1,))["mails"]
    assert failed["state"] == "failed"
    assert rig.run("status").returncode == 1, "somebody has to decide"
    shown = rig.run("spool", "show", failed["id"][-8:]).stdout
    assert message_id(lost) in shown
    answer = rig.reply(mails[0])
    eventually(lambda: any(each["message_id"] == answer for each in rig.timeline()), "what came later to be read")
    (only,) = rig.timeline(NOBODY)
    assert (only["state"], only["crm"]) == ("refused", []), "never sent, so it did not bounce, and no CRM hears of it"

    (found,) = (each for each in rig.json("doctor", codes=(1,))["findings"] if each["about"] == PERSON)
    rig.provider.stop()
    rig.provider.dovecot.users[NOBODY] = PASSWORD  # there is one now
    rig.provider.start()
    assert rig.run(*shlex.split(found["cure"])[1:]).returncode == 0, found
    eventually(lambda: rig.inbox_of(NOBODY, message_id(lost)), "it to arrive after all", every=0.3)
    eventually(lambda: rig.timeline(NOBODY)[0]["state"] == "sent", "it to be on record", every=0.2)
    assert rig.json("spool")["mails"] == []
    assert len(reports(rig)) == 1


@pytest.mark.parametrize("files_sent", [False, True], ids=["it does not file", "the provider files"])
def test_the_client_files_its_copy_before_the_mail_is_sent(make_rig, files_sent: bool) -> None:
    """Submission is away, the mailbox is not: Thunderbird files its copy as soon as it hears 250."""
    account = {"files_sent": "yes"} if files_sent else {}
    rig, ports = through_proxyd(make_rig, account=account, more="sending: {on_outage: spool}\n", files_sent=files_sent)
    rig.provider.postfix.stop()
    with client(rig, ports) as person:
        for number in range(2):
            person.send(numbered(number))
        person.file(numbered(0, bcc=True))
    assert waiting(rig) == 2
    if not files_sent:
        rig.provider.dovecot.append(PERSON, "Sent", numbered(1))
    rig.provider.postfix.start()
    eventually(lambda: waiting(rig) == 0, "both handed over", every=0.2)
    exactly_once(rig, 2)
    arrived = Counter(each.octets.count(b"Subject: Offer") for each in rig.provider.dovecot.messages(CUSTOMER))
    assert arrived == {1: 2}
