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
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.scenarios.conftest import QUICK
from tests.scenarios.rig import CLIENT_PASSWORD, Rig, letter, message_id
from tests.scenarios.test_failures import refusal
from tests.servers.mailprovider import CUSTOMER, PERSON, Provider
from tests.servers.processes import open_folder
from tests.servers.resolver import Resolver
from tests.servers.slumber import Slumber
from tests.servers.tls import HERE
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
        rig.port = ports.__getitem__  # type: ignore[method-assign]  # they stay, and asking costs a command
        rig.add_contact()
        yield made


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

    def told() -> Any:
        code, words = refusal(rig, sent)
        heard = rig.account_status()["sentence"]
        return code == 451 and words.partition(" ")[2] == heard and f"[UNAVAILABLE] {heard}" == said_to_a_reader(rig)

    eventually(told, "both clients to hear what status says", within=LONG, every=0.2)
    trouble.end(place)
    if trouble.cure == "proxyd reload":
        place.provider_restarts()
        assert rig.run("reload").returncode == 0
    eventually(lambda: rig.account_status()["state"] == "connected", "the way back", within=LONG, every=0.2)
    assert rig.send(sent) == {}, "the client tries again"
    eventually(lambda: rig.inbox_of(CUSTOMER, message_id(sent)), "the message to arrive")
    assert len(rig.inbox_of(CUSTOMER, message_id(sent))) == 1
    eventually(lambda: len(rig.sent(message_id(sent))) == 1, "its Sent copy")
