"""The main job, on real servers and with the daemon as a process.

Ada's mail client sends to Grace, who is a contact. Grace answers. Within about a second of the answer's arrival both
messages are in the timeline, exactly one copy lies in Sent, and of Ada's other mail nothing was touched or kept.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.scenarios.rig import CLIENT_PASSWORD, Rig, letter, message_id
from tests.servers.mailprovider import CUSTOMER, OTHER_CUSTOMER, PERSON
from tests.servers.waiting import eventually


def by_smtplib(rig: Rig, to: str) -> str:
    sent = letter(to=to, attach=b"%PDF-1.7 offer")
    assert rig.send(sent, [to]) == {}
    return message_id(sent)


def by_swaks(rig: Rig, to: str) -> str:
    sent = letter(to=to)
    server = ["--server", "localhost", "--port", str(rig.port("smtp")), "--tls"]
    login = ["--auth", "PLAIN", "--auth-user", PERSON, "--auth-password", CLIENT_PASSWORD]
    done = subprocess.run(
        ["swaks", *server, *login, "--from", PERSON, "--to", to, "--data", "-"],
        input=sent.as_bytes(policy=sent.policy.clone(linesep="\r\n")),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    return message_id(sent)


def by_neomutt(rig: Rig, to: str) -> str:
    settings = rig.folder / "neomuttrc"
    settings.write_text(
        f"""set from="{PERSON}" realname="Ada Lovelace" use_from=yes use_envelope_from=yes
set smtp_url="smtp://{PERSON.replace("@", "%40")}@localhost:{rig.port("smtp")}" smtp_pass="{CLIENT_PASSWORD}"
set ssl_starttls=yes ssl_force_tls=yes certificate_file="{rig.data / "ca.pem"}" ssl_usesystemcerts=no
set record="" folder="{rig.folder}" header_cache=""
"""
    )
    subprocess.run(
        ["neomutt", "-n", "-F", str(settings), "-s", "Offer", to],
        input=b"Here it is.\n",
        check=True,
        capture_output=True,
        timeout=60,
        env={"HOME": str(rig.folder), "PATH": "/usr/bin:/bin", "TERM": "dumb"},
    )
    arrived = eventually(lambda: rig.provider.dovecot.messages(to), "neomutt's message")
    found = re.search(rb"(?mi)^Message-ID: *(<[^>]+>)", arrived[-1].octets)
    assert found
    return found[1].decode()


@pytest.mark.parametrize("send", [by_smtplib, by_swaks, by_neomutt], ids=["smtplib", "swaks", "neomutt"])
def test_sent_answered_logged_and_filed_once(rig: Rig, send) -> None:
    rig.add_contact()
    rig.connected()
    offer = send(rig, CUSTOMER)
    eventually(lambda: len(rig.inbox_of(CUSTOMER, offer)) == 1, "the message to arrive")
    (logged,) = rig.json("timeline", CUSTOMER)["messages"]
    assert (logged["direction"], logged["state"], logged["message_id"]) == ("outgoing", "sent", offer)
    assert logged["because"] == f"recipient {CUSTOMER} is a contact"

    eventually(lambda: rig.sent(offer), "the Sent copy")
    answer = rig.reply(offer)
    eventually(lambda: len(rig.timeline()) == 2, "the answer in the timeline")
    both = rig.json("timeline")["messages"]
    got = next(each for each in both if each["direction"] == "incoming")
    assert (got["message_id"], got["in_reply_to"], got["thread"]) == (answer, offer, logged["thread"])
    assert got["new_text"].strip() == "Yes, please."
    assert "> Here it is." in got["text"]

    assert len(rig.sent(offer)) == 1
    assert rig.explain(offer)["logged"] is True
    assert rig.run("status").returncode == 0


def test_the_attachment_is_in_the_record(rig: Rig) -> None:
    rig.add_contact()
    offer = by_smtplib(rig, CUSTOMER)
    (logged,) = rig.timeline()
    assert logged["message_id"] == offer
    (attachment,) = logged["attachments"]
    assert (attachment["name"], attachment["type"], attachment["size"]) == ("offer.pdf", "application/pdf", 14)


def test_mail_to_others_leaves_no_trace_but_its_copy_in_sent(rig: Rig) -> None:
    rig.add_contact()
    private = by_smtplib(rig, OTHER_CUSTOMER)
    eventually(lambda: len(rig.inbox_of(OTHER_CUSTOMER, private)) == 1, "the message to arrive")
    eventually(lambda: rig.sent(private), "the Sent copy")
    told = eventually(
        lambda: (
            any("Sent copy present" in each["what"] for each in rig.explain(private)["steps"]) and rig.explain(private)
        ),
        "the Sent copy to be on record",
    )
    assert (told["logged"], told["because"]) == (False, "no recipient is a known contact")
    assert OTHER_CUSTOMER not in str(told)
    assert rig.timeline() == []
    assert len(rig.sent(private)) == 1


def test_unrelated_mail_is_never_fetched_and_nothing_is_marked_read(rig: Rig) -> None:
    rig.add_contact()
    before = letter("Before proxyd ran", sender=OTHER_CUSTOMER, to=PERSON)
    rig.provider.dovecot.deliver(PERSON, before.as_bytes())
    rig.connected()
    offer = by_smtplib(rig, CUSTOMER)
    for n in range(3):
        rig.provider.dovecot.deliver(PERSON, letter(f"Private {n}", sender=OTHER_CUSTOMER, to=PERSON).as_bytes())
    rig.reply(offer)
    rig.provider.dovecot.deliver(PERSON, letter("Private last", sender=OTHER_CUSTOMER, to=PERSON).as_bytes())
    eventually(lambda: len(rig.timeline()) == 2, "the answer")
    eventually(lambda: rig.sent(offer), "the Sent copy")
    rig.stop()

    inbox = rig.provider.dovecot.messages(PERSON)
    assert all("\\Seen" not in each.flags for each in inbox)
    answer_uid = next(each.uid for each in inbox if b"Re: Offer" in each.octets)
    fetches = re.findall(r"(?i)UID FETCH ([\d:,*]+) \(?([^\r\n]*)", rig.provider.dovecot.rawlog(PERSON))
    assert fetches
    for uids, items in fetches:
        if re.search(r"(?i)BODY(\.PEEK)?\[(?!HEADER\.FIELDS)|RFC822(?!\.SIZE)|TEXT", items):
            assert "PEEK" in items.upper()
            assert uids == str(answer_uid), f"{items} of {uids}"
    assert not re.search(r"(?i)\bSTORE\b", rig.provider.dovecot.rawlog(PERSON))


def test_at_most_two_connections(rig: Rig) -> None:
    most = 0

    def logged(wanted: int) -> bool:
        nonlocal most
        most = max(most, rig.connections_to(rig.provider.dovecot.imaps_port))
        return len(rig.timeline()) == wanted

    rig.add_contact()
    rig.connected()
    for n in range(3):
        offer = by_smtplib(rig, CUSTOMER)
        rig.reply(offer)
        eventually(lambda wanted=2 * n + 2: logged(wanted), "the answer", every=0)
    eventually(lambda: rig.sent(offer), "the Sent copy")
    assert 1 <= most <= 2
