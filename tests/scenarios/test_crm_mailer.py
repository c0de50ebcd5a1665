"""A CRM that has its own mailer sends by plain SMTP through the daemon, as the account.

Its mail differs from a mail client's: another name at EHLO, a Message-ID of its own domain, Sender, Reply-To, X-
headers, recipients in Bcc, nobody who files a Sent copy. What the CRM has itself is not written there again.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tests.crm.fake_odoo import FakeOdoo
from tests.scenarios.rig import CLIENT_PASSWORD, Rig, letter, message_id
from tests.servers.mailprovider import CUSTOMER, PERSON
from tests.servers.tryton import ADMIN, DATABASE, Tryton
from tests.servers.waiting import eventually

ALIAS = "admin@example.test"  # whose address Tryton's user has
QUICK = "sent_copy: {settle: 1s}\n"

# What Tryton's own client does when its user writes an e-mail at a party.
SEND = """
party = Model.get("party.party")(name="Grace Hopper")
party.contact_mechanisms.new(type="email", value=sys.argv[1])
party.save()
sent = config.get_proxy("ir.email").send(
    sys.argv[1], "", sys.argv[2], "Offer", "<p>Dear <b>Grace</b>, here it is.</p>",
    [["offer.pdf", b"%PDF offer"]], ["party.party", party.id], [], [], config.context,
)
print(json.dumps([party.id, sent]))
"""


def crm_state(rig: Rig, n: int = 0) -> dict[str, Any]:
    return {each["name"]: each for each in rig.timeline()[n]["crm"]}


def test_tryton_sends_by_its_own_mailer(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    tryton = Tryton(tmp_path / "tryton")
    options = (
        f"{{url: '{tryton.url}', database: {DATABASE}, user: {ADMIN}, password: {{file: {tryton.password_file()}}}}}"
    )
    rig = make_rig(more=f"{QUICK}aliases: [{ALIAS}]\ncrm: [local, {{tryton: {options}}}]\n")
    rig.add_contact()
    rig.connected()
    user, password = PERSON.replace("@", "%40"), CLIENT_PASSWORD.replace(" ", "%20")
    tryton.sends_by(f"smtps://{user}:{password}@localhost:{rig.port('smtps')}", PERSON, rig.data / "ca.pem")
    with tryton:
        party, email = tryton.scripted(SEND, CUSTOMER, PERSON)
        (logged,) = eventually(rig.timeline, "it to be logged", every=0.1)
        assert (logged["source"], logged["state"], logged["direction"]) == ("smtp", "sent", "outgoing")
        assert logged["from"]["address"] == ALIAS
        assert [each["address"] for each in logged["bcc"]] == [PERSON]
        assert [each["name"] for each in logged["attachments"]] == ["offer.pdf"]
        eventually(lambda: crm_state(rig)["tryton"]["state"] == "delivered", "Tryton to be asked", every=0.1)
        assert crm_state(rig)["tryton"]["remote_id"] == f"{party}/email {email}"
        assert tryton.records("ir.note", "id") == [], "Tryton has it itself"
        assert tryton.files() == {"offer.pdf": b"%PDF offer"}
        eventually(lambda: len(rig.sent(logged["message_id"])) == 1, "its one Sent copy", every=0.1)
        (arrived,) = eventually(lambda: rig.inbox_of(CUSTOMER, logged["message_id"]), "the customer to have it")
        assert b"\nBcc:" not in arrived.octets
        rig.reply(logged["message_id"])
        eventually(lambda: len(rig.timeline()) == 2, "the answer", every=0.1)
        assert {each["thread"] for each in rig.timeline()} == {logged["thread"]}
        notes = eventually(lambda: tryton.records("ir.note", "resource", "message"), "Tryton to have the answer")
        ((resource, note),) = notes
        assert resource == f"party.party,{party}"
        assert "Yes, please." in note
    assert len(rig.sent(logged["message_id"])) == 1


def as_odoo_writes(to: EmailMessage) -> EmailMessage:
    made = letter("Re: Offer", sender=f"Ada Lovelace <{ALIAS}>", body="And the terms.\n")
    made.replace_header("Message-ID", "<311275.1795424401-openerp-9-crm.lead@crm-host-7>")
    made["References"] = message_id(to)
    made["Reply-To"] = f"catchall+9@{ALIAS.partition('@')[2]}"
    made["X-Odoo-Objects"] = "crm.lead-9"
    made["Bcc"] = PERSON
    made.add_alternative("<p>And the <b>terms</b>.</p>", subtype="html")
    return made


def test_a_mailer_like_odoo_s_answers_in_a_conversation(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    with FakeOdoo() as odoo:
        key = tmp_path / "key"
        key.touch(mode=0o600)
        key.write_text(odoo.key + "\n")
        options = f"{{url: '{odoo.url}', database: company, user: proxyd, key: {{file: {key}}}}}"
        rig = make_rig(more=f"{QUICK}aliases: [{ALIAS}]\ncrm: [local, {{odoo: {options}}}]\n")
        rig.add_contact()
        rig.connected()
        offer = letter()
        rig.send(offer)
        eventually(lambda: rig.timeline() and crm_state(rig)["odoo"]["state"] == "delivered", "the offer", every=0.1)
        mail = as_odoo_writes(offer)
        id = message_id(mail)
        odoo.tables["mail.message"][1] = {"model": "crm.lead", "res_id": 9, "message_id": id, "body": ""}
        before = len(odoo.rows("mail.message"))
        trust = ssl.create_default_context(cafile=str(rig.data / "ca.pem"))
        with smtplib.SMTP("localhost", rig.port("smtp"), local_hostname="crm-host-7.internal") as smtp:
            smtp.starttls(context=trust)
            smtp.login(PERSON, CLIENT_PASSWORD)
            octets = mail.as_bytes(policy=mail.policy.clone(linesep="\r\n"))
            assert smtp.sendmail(ALIAS, [CUSTOMER, PERSON], octets) == {}
        eventually(lambda: len(rig.timeline()) == 2, "it to be logged", every=0.1)
        terms = next(each for each in rig.timeline() if each["message_id"] == id)
        first = next(each for each in rig.timeline() if each["message_id"] == message_id(offer))
        assert terms["thread"] == first["thread"]
        assert [each["address"] for each in terms["bcc"]] == [PERSON]
        eventually(lambda: all(each["crm"][1]["state"] == "delivered" for each in rig.timeline()), "Odoo", every=0.1)
        assert len(odoo.rows("mail.message")) == before, "Odoo has it itself"
        eventually(lambda: len(rig.sent(id)) == 1, "its one Sent copy", every=0.1)
        (arrived,) = eventually(lambda: rig.inbox_of(CUSTOMER, id), "the customer to have it, once")
        assert b"X-Odoo-Objects: crm.lead-9" in arrived.octets
        assert b"Reply-To: catchall+9@" in arrived.octets
        assert b"\nBcc:" not in arrived.octets
        assert b"crm-host-7.internal" not in arrived.octets, "the provider is told our name, not the CRM's"
        assert len(rig.timeline()) == 2
