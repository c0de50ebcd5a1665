"""A shared mailbox: it is read as itself and sent from as the colleague who may (`imap_user` differs from `smtp_user`).

Real Dovecot and Postfix hold both to it: Dovecot lets a delegate into another's mailbox by its master-user form, with
the delegate's own password; Postfix takes the shared address as sender from that colleague alone.
"""

from __future__ import annotations

import imaplib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import QUICK
from tests.scenarios.rig import CLIENT_PASSWORD, Rig, letter, message_id
from tests.servers.mailprovider import CUSTOMER, PASSWORD, PERSON, Provider
from tests.servers.waiting import eventually

SHARED = "sales@example.test"
LISTEN = 'listen: {smtp: off, smtps: "127.0.0.1:0", imap: off, imaps: "127.0.0.1:0", web: off}\n'


def delegates(folder: Path) -> dict[str, Any]:
    """Ada signs in to another's mailbox as `whose*ada@example.test`, with her own password."""
    file = folder / "delegates"
    file.write_text(f"{PERSON}:{{PLAIN}}{PASSWORD}\n")
    file.chmod(0o644)
    master = f"passdb {{\n  driver = passwd-file\n  master = yes\n  args = {file}\n  result_success = continue\n}}\n"
    return {"settings": f"auth_master_user_separator = *\nauth_cache_size = 0\n{master}"}


@pytest.fixture
def shared(make_provider: Callable[..., Provider], server_folder: Path, tmp_path: Path) -> Iterator[Rig]:
    owners = server_folder / "owners"
    owners.write_text(f"{SHARED} {PERSON}\n{PERSON} {PERSON}\n")
    postfix = {
        "settings": {
            "smtpd_sender_login_maps": f"texthash:{owners}",
            "smtpd_sender_restrictions": "reject_sender_login_mismatch",
        }
    }
    provider = make_provider(more_users={SHARED: "nobody knows it"}, dovecot=delegates(server_folder), postfix=postfix)
    rig = Rig(tmp_path / "rig", provider)
    provider.password_file(PERSON)
    text = provider.account_yaml(SHARED, name="Sales", client_password=rig.client_password, more=QUICK)
    text = text.replace(f"{SHARED}.password", f"{PERSON}.password")
    users = f"sign_in:\n  imap_user: '{SHARED}*{PERSON}'\n  smtp_user: {PERSON}\n"
    rig.write_account(text.replace("sign_in:\n", users))
    (rig.config / "proxyd.yaml").write_text(LISTEN)
    rig.start()
    yield rig
    rig.stop()


def test_it_is_read_as_itself_and_sent_from_as_the_colleague(shared: Rig) -> None:
    rig, dovecot = shared, shared.provider.dovecot
    rig.connected()
    rig.add_contact()
    sent = letter(sender=SHARED)
    assert rig.send(sent, sender=SHARED, user=SHARED) == {}
    eventually(lambda: rig.inbox_of(CUSTOMER, message_id(sent)), "the message to arrive")

    def copies(whose: str) -> int:
        return sum(message_id(sent).encode() in each.octets for each in dovecot.messages(whose, "Sent"))

    eventually(lambda: copies(SHARED) == 1, "the Sent copy, in the shared mailbox")
    answer = letter("Re: Offer", sender=CUSTOMER, to=SHARED)
    answer["In-Reply-To"] = message_id(sent)
    dovecot.deliver(SHARED, answer.as_bytes(), CUSTOMER)
    eventually(lambda: len(rig.timeline(CUSTOMER)) == 2, "the answer in the timeline", every=0.2)
    trust = ssl.create_default_context(cafile=str(rig.data / "ca.pem"))
    with imaplib.IMAP4_SSL("localhost", rig.port("imaps"), ssl_context=trust, timeout=60) as client:
        client.login(SHARED, CLIENT_PASSWORD)
        assert client.select("INBOX", readonly=True)[1] == [b"1"]
    assert (copies(PERSON), len(dovecot.messages(PERSON))) == (0, 0), "her own mailbox is not touched"
