"""What goes wrong between a person and their provider: `status` says which it is, in whose words, and what cures it;
the mail client hears the same sentence; nothing is lost; and the cure cures.

One daemon for all of them. Each trouble begins while all is well; connections end with it, as they do in the field.
"""

from __future__ import annotations

import contextlib
import imaplib
import re
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import QUICK
from tests.scenarios.rig import CLIENT_PASSWORD, Rig, letter, message_id
from tests.scenarios.test_failures import refusal
from tests.servers.mailprovider import CUSTOMER, PERSON, Provider
from tests.servers.oauth_server import OAuthServer, by_oauth, passdb
from tests.servers.processes import open_folder
from tests.servers.resolver import Resolver
from tests.servers.slumber import Slumber
from tests.servers.tls import HERE, ThrowAwayCa
from tests.servers.waiting import eventually

LISTEN = 'listen: {smtp: off, smtps: "127.0.0.1:0", imap: off, imaps: "127.0.0.1:0", web: off}\n'
HOST = "mail.example.test"
LONG = 60.0  # seconds; a busy machine is slow
DAY = 86400


@dataclass
class Place:
    """A person, a provider, the name server of their machine, and its clock."""

    rig: Rig
    resolver: Resolver
    clock: Slumber

    def certificate(self, **valid: timedelta) -> None:
        """The provider shows another one from now on."""
        self.rig.provider.dovecot.leaf = self.rig.provider.ca.issue("shown", (*HERE, HOST), **valid)

    def provider_restarts(self) -> None:
        self.rig.provider.stop()
        self.rig.provider.start()


@dataclass(frozen=True)
class Trouble:
    """`begin`, what is then seen, and `end`; `cure` is the command that `status` names."""

    begin: Callable[[Place], None]
    end: Callable[[Place], None]
    state: str
    evidence: str
    sentence: str
    cure: str | None = None


def clock_is_set(place: Place) -> None:
    """The clock is looked at every five seconds: one that was wrong for less was never wrong."""
    eventually(lambda: "the clock was set by -" in place.rig.log.read_text(), "the daemon to have looked at the clock")
    place.clock.set_clock(0)


TROUBLES = {
    "the certificate has expired": Trouble(
        lambda place: place.certificate(starts=timedelta(days=-20), ends=timedelta(days=-1)),
        lambda place: place.certificate(),
        "misconfigured",
        f"{HOST}:PORT: its certificate has expired (here it is ",
        "It is the provider's to renew",
        "proxyd reload",
    ),
    "the clock is behind": Trouble(
        lambda place: place.clock.set_clock(-40 * DAY),
        clock_is_set,
        "misconfigured",
        f"{HOST}:PORT: its certificate is not valid yet (here it is ",
        "This machine's clock is behind",
        "timedatectl set-ntp true",
    ),
    "there is no such name any more": Trouble(
        lambda place: place.resolver.forget(),
        lambda place: (place.resolver.stop(), place.resolver.start()),
        "unreachable",
        f"{HOST}:PORT: the name was not found: Name or service not known",
        "Provider unreachable by",
    ),
    "the name server knows nobody to ask": Trouble(
        lambda place: place.resolver.fail(),
        lambda place: (place.resolver.stop(), place.resolver.start()),
        "unreachable",
        f"{HOST}:PORT: the name was not found: Temporary failure in name resolution",
        "Provider unreachable by",
    ),
    "the name server does not answer": Trouble(
        lambda place: place.resolver.fall_silent(),
        lambda place: (place.resolver.stop(), place.resolver.start()),
        "unreachable",
        f"{HOST}:PORT: the name was not found: Temporary failure in name resolution",
        "Provider unreachable by",
    ),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("troubles")
    running = contextlib.ExitStack()
    provider = Provider(running.enter_context(open_folder()))
    rig = Rig(folder / "rig", provider, more=QUICK)
    rig.write_account(provider.account_yaml(host=HOST, client_password=rig.client_password, more=QUICK))
    (rig.config / "proxyd.yaml").write_text(LISTEN)
    resolver = Resolver(folder / "dns", hosts=[HOST])
    made = Place(rig, resolver, Slumber(folder))
    made.certificate()
    rig.before = ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"')
    rig.before += (str(resolver.for_the_system()),)
    rig.more_environment = made.clock.environment
    with running:
        running.enter_context(resolver)
        running.enter_context(provider)
        rig.start()
        running.callback(rig.stop)
        ports = {name: rig.port(name) for name in ("smtps", "imaps")}
        rig.port = ports.__getitem__  # type: ignore[method-assign]  # they stay
        rig.add_contact()
        yield made


def hear_what_status_says(rig: Rig, sent: EmailMessage, codes: tuple[int, ...] = (451,)) -> None:
    """Whoever sends and whoever reads, in the same words."""

    def told() -> Any:
        code, words = refusal(rig, sent)
        heard = rig.account_status()["sentence"]
        same = words.partition(" ")[2] == heard and f"[UNAVAILABLE] {heard}" == said_to_a_reader(rig)
        return code in codes and same

    eventually(told, "both clients to hear what status says", within=LONG, every=0.2)


def arrives_once(rig: Rig, sent: EmailMessage) -> None:
    assert rig.send(sent) == {}, "the client tries again"
    eventually(lambda: rig.inbox_of(CUSTOMER, message_id(sent)), "the message to arrive")
    assert len(rig.inbox_of(CUSTOMER, message_id(sent))) == 1
    eventually(lambda: len(rig.sent(message_id(sent))) == 1, "its Sent copy")


def said_to_a_reader(rig: Rig) -> str:
    """What a mail client hears that wants to read."""
    trust = ssl.create_default_context(cafile=str(rig.data / "ca.pem"))
    with imaplib.IMAP4_SSL("localhost", rig.port("imaps"), ssl_context=trust, timeout=30) as client:
        with pytest.raises(imaplib.IMAP4.error) as refused:
            client.login(PERSON, CLIENT_PASSWORD)
        return bytes(refused.value.args[0]).decode()


@pytest.mark.parametrize("name", TROUBLES)
def test_it_is_said_and_it_is_cured(place: Place, name: str) -> None:
    rig, trouble, sent = place.rig, TROUBLES[name], letter(name)
    rig.connected()
    trouble.begin(place)
    place.provider_restarts()
    evidence = re.escape(trouble.evidence).replace("PORT", r"\d+")  # of the one server or of the other

    def shown() -> Any:
        now = rig.account_status()
        return now["state"] == trouble.state and re.match(evidence, now["evidence"]) and now

    said = eventually(shown, f"status to say: {trouble.state}", within=LONG, every=0.2)
    assert said["cure"] == trouble.cure
    assert trouble.sentence in said["sentence"]
    hear_what_status_says(rig, sent)
    trouble.end(place)
    if trouble.cure == "proxyd reload":
        place.provider_restarts()
        assert rig.run("reload").returncode == 0
    eventually(lambda: rig.account_status()["state"] == "connected", "the way back", within=LONG, every=0.2)
    arrives_once(rig, sent)
    assert rig.run("doctor").returncode == 0


@pytest.fixture
def oauth_rig(make_provider: Callable[..., Provider], server_folder: Path, tmp_path: Path) -> Iterator[Rig]:
    """Ada signs in by OAuth2 alone, with tokens that live for seconds."""
    with OAuthServer(ThrowAwayCa(tmp_path / "ca"), lifetime=8, rotate=False) as server:  # an answer may be lost
        provider = make_provider(dovecot=passdb(server, server_folder))
        provider.ca.ca.write_bytes(server.ca.ca.read_bytes() + provider.ca.ca.read_bytes())
        rig = Rig(tmp_path / "rig", provider)
        text = provider.account_yaml(client_password=rig.client_password, more=QUICK)
        rig.write_account(by_oauth(text, server, tmp_path))
        (rig.config / "proxyd.yaml").write_text(LISTEN)
        rig.sign_in_server = server  # type: ignore[attr-defined]
        rig.start()
        yield rig
        rig.stop()


def test_the_sign_in_server_is_slow_then_the_grant_is_gone(oauth_rig: Rig) -> None:
    rig, server, sent = oauth_rig, oauth_rig.sign_in_server, letter()  # type: ignore[attr-defined]

    def becomes(state: str, evidence: str) -> Any:
        def shown() -> Any:
            now = rig.account_status()
            return now["state"] == state and evidence in now["evidence"] and now

        return eventually(shown, f"{state}: {evidence}", within=LONG, every=0.2)

    rig.connected()
    server.may_answer.clear()
    rig.provider.stop()
    rig.provider.start()
    assert becomes("unreachable", "did not answer in time")["cure"] is None
    with ThreadPoolExecutor(1) as reader:  # both at once wait for the one question that is asked of it
        read = reader.submit(said_to_a_reader, rig)
        code, words = refusal(rig, sent)
        heard = rig.account_status()["sentence"]
        assert heard.startswith("Sign-in server unreachable since ")
        assert (code, words) == (451, f"4.4.1 {heard}")
        assert read.result() == f"[UNAVAILABLE] {heard}"
    server.may_answer.set()
    arrives_once(rig, sent)  # which asks for a token, and ends everybody's wait
    becomes("connected", "")
    server.revoke()
    said = becomes("access_revoked", "invalid_grant")
    assert said["cure"] == f"proxyd reconnect {PERSON}"
    assert "password" not in said["sentence"]
    rig.provider.stop()  # connections that stand go on, and what is sent over them
    rig.provider.start()
    hear_what_status_says(rig, letter("Another"), codes=(454,))
