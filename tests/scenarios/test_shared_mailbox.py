"""A shared mailbox: it is read as itself and sent from as the colleague who may (`imap_user` differs from `smtp_user`).

Real Dovecot and Postfix hold both to it: Dovecot lets a delegate into another's mailbox by its master-user form, with
the delegate's own password; Postfix takes the shared address as sender from that colleague alone.
"""

from __future__ import annotations

import imaplib
import smtplib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import QUICK
from tests.scenarios.oauth_user import OAuthUser
from tests.scenarios.rig import CLIENT_PASSWORD, Rig, asked, letter, message_id
from tests.servers.mailprovider import CUSTOMER, PASSWORD, PERSON, Provider
from tests.servers.oauth_server import Delegates, OAuthServer
from tests.servers.resolver import Resolver
from tests.servers.tls import ThrowAwayCa
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


def own_senders(owners: Path) -> dict[str, str]:
    """Postfix's settings by which a sender's address is taken from those alone whom the file `owners` names."""
    return {
        "smtpd_sender_login_maps": f"texthash:{owners}",
        "smtpd_sender_restrictions": "reject_sender_login_mismatch",
    }


@pytest.fixture
def shared(make_provider: Callable[..., Provider], server_folder: Path, tmp_path: Path) -> Iterator[Rig]:
    owners = server_folder / "owners"
    owners.write_text(f"{SHARED} {PERSON}\n{PERSON} {PERSON}\n")
    postfix = {"settings": own_senders(owners)}
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


# --- by OAuth2, as at Microsoft 365: read as the shared mailbox, sent from as the colleague, one agreement for both

READ_AND_SEND = [("imap", PERSON, PERSON), ("smtp", PERSON, PERSON), ("imap", PERSON, SHARED)]


@dataclass(frozen=True)
class Delegate:
    """Ada, who may read and send as the shared mailbox until somebody takes it from her."""

    user: OAuthUser
    access: Delegates
    owners: Path

    def may_send_as(self, *senders: str) -> None:
        """The provider ends her connections; she may send as these from then on."""
        self.user.provider.postfix.stop()
        self.owners.write_text("".join(f"{sender} {PERSON}\n" for sender in senders))
        self.user.provider.postfix.start()

    def may(self, *what: tuple[str, str, str]) -> None:
        """The provider ends her connections; this is what her tokens open from then on."""
        self.access.may(*what)
        self.user.provider.dovecot.stop()
        self.user.provider.dovecot.start()

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = asked(self.user.data, "status")
        return status

    def _port(self, listener: str) -> int:
        return int(self.status()["daemon"]["listening"][listener].rpartition(":")[2])

    @property
    def _login(self) -> tuple[str, str]:
        return SHARED, (self.user.config / f"secrets/{SHARED}.client").read_text().strip()

    @property
    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.user.data / "ca.pem"))

    def send(self, message: EmailMessage) -> None:
        with smtplib.SMTP_SSL("localhost", self._port("smtps"), context=self._trust, timeout=60) as smtp:
            smtp.login(*self._login)
            smtp.sendmail(SHARED, [CUSTOMER], message.as_bytes())

    def copies(self, message: EmailMessage) -> tuple[int, int]:
        """In Sent of the shared mailbox, and of her own."""
        folders = (self.user.provider.dovecot.messages(whose, "Sent") for whose in (SHARED, PERSON))
        shared, own = (sum(message_id(message).encode() in each.octets for each in folder) for folder in folders)
        return shared, own

    def logged(self) -> list[Any]:
        messages: list[Any] = asked(self.user.data, f"contacts/{CUSTOMER}/timeline")["messages"]
        return messages

    def inbox(self) -> list[bytes]:
        """Message numbers."""
        with imaplib.IMAP4_SSL("localhost", self._port("imaps"), ssl_context=self._trust, timeout=60) as client:
            client.login(*self._login)
            client.select("INBOX", readonly=True)
            found: bytes = client.search(None, "ALL")[1][0]
            return found.split()


@pytest.fixture
def delegate(make_provider: Callable[..., Provider], server_folder: Path, tmp_path: Path) -> Iterator[Delegate]:
    with OAuthServer(ThrowAwayCa(tmp_path / "ca")) as server:
        access = Delegates(server, server_folder)
        access.may(*READ_AND_SEND)
        owners = server_folder / "owners"
        owners.write_text(f"{SHARED} {PERSON}\n{PERSON} {PERSON}\n")
        provider = make_provider(
            more_users={SHARED: "nobody knows it"}, dovecot=access.passdb, postfix={"settings": own_senders(owners)}
        )
        yield Delegate(OAuthUser(tmp_path, provider, server, Resolver(tmp_path / "dns"), SHARED), access, owners)


def test_one_agreement_reads_it_as_itself_and_sends_as_the_colleague(delegate: Delegate) -> None:
    user, dovecot = delegate.user, delegate.user.provider.dovecot
    as_itself = user.by_oauth()
    assert (as_itself.returncode, user.everything()) == (1, set())
    assert f"refused the access token for {SHARED} by SMTP: 535" in as_itself.stderr
    assert "--smtp-user YOU" in as_itself.stderr
    done = user.by_oauth("--imap-user", SHARED, "--smtp-user", PERSON)
    assert done.returncode == 0, done.stderr
    with user.account.open("a") as file:
        file.write(QUICK)
    with user.daemon():
        assert user.run("contact", "add", CUSTOMER).returncode == 0
        sent = letter(sender=SHARED)
        delegate.send(sent)
        eventually(lambda: delegate.copies(sent) == (1, 0), "the Sent copy, in the shared mailbox alone")
        answer = letter("Re: Offer", sender=CUSTOMER, to=SHARED)
        answer["In-Reply-To"] = message_id(sent)
        dovecot.deliver(SHARED, answer.as_bytes(), CUSTOMER)
        eventually(lambda: len(delegate.logged()) == 2, "the answer in the timeline", every=0.1)
        assert delegate.inbox() == [b"1"]

        delegate.may_send_as(PERSON)
        with pytest.raises(smtplib.SMTPDataError, match=r"not owned by user ada@example\.test"):  # the provider's words
            delegate.send(letter(sender=SHARED))
        assert delegate.status()["accounts"][0]["state"] == "connected"  # it still reads
        delegate.may_send_as(PERSON, SHARED)

        delegate.may(*READ_AND_SEND[:2])
        with pytest.raises(imaplib.IMAP4.error, match=r"^b'\[UNAVAILABLE\] .*AUTHENTICATIONFAILED.*a fresh token"):
            delegate.inbox()
        later = letter("Another", sender=SHARED)
        delegate.send(later)  # she still may
        delegate.may(*READ_AND_SEND)
        assert user.run("reload").returncode == 0
        eventually(lambda: delegate.copies(later) == (1, 0), "its Sent copy, now that it may be filed")
        assert delegate.copies(sent) == (1, 0)
        assert len(delegate.logged()) == 4  # the refused one too
    assert dovecot.messages(PERSON) == []
