"""What `proxyd doctor` finds, and that the one command it names cures it: each kind brought about for real, the command
typed exactly as it stands there, and doctor clean after it.

Where a person has to do something first that no command of ours does, the sentence says so, and the walk does it.
Beside a daemon first, then those that are there only while none runs.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from proxyd.cli import findings
from proxyd.relay import local_ca
from proxyd.store import room
from tests.cli.typed import Typed, typed
from tests.crm.fake import Receiver
from tests.scenarios.conftest import QUICK
from tests.scenarios.rig import Rig, letter
from tests.scenarios.test_crm import SECRET, delivered
from tests.servers.mailprovider import PASSWORD, PERSON, Provider
from tests.servers.processes import free_port, open_folder
from tests.servers.tls import ThrowAwayCa
from tests.servers.waiting import eventually

ROOM = room.WANTED
ELSEWHERE = {  # kinds that need another place than this: where they are walked
    "no account": ("test_connect.py", "test_from_nothing_to_the_first_logged_mail_in_four_commands"),
    "tokens": ("test_connect_oauth.py", "test_agreed_in_a_browser_then_taken_back_then_agreed_again"),
    "unknown outcome": ("../cli/test_settle.py", "test_the_cure_that_doctor_names_cures"),
    "copies given up": (
        "test_sent_copy.py",
        "test_a_dropbox_that_was_refused_is_told_and_gets_its_copy_once_it_is_there",
    ),
    "not delivered": ("test_spool.py", "test_the_provider_is_away_and_comes_back"),
}
WITHOUT_A_CURE = {
    "folder out of reach": "says as whom to type it",
    "folder of another user": "says as whom to type it",
    "clock": "a hint, and the system's own command",
    "capabilities": "a hint, for whoever writes proxyd",
    "mail waits": "a hint: it goes by itself",
}


@dataclass
class Place:
    rig: Rig
    receiver: Receiver
    folder: Path
    kept: dict[Path, bytes] = field(default_factory=dict)  # what a walk has put something else in the place of
    held: socket.socket | None = None

    @property
    def account(self) -> Path:
        return self.rig.config / "accounts.d/ada.yaml"

    @property
    def daemon(self) -> Path:
        return self.rig.config / "proxyd.yaml"

    @property
    def password(self) -> Path:
        return self.rig.provider.folder / f"{PERSON}.password"

    def type(self, command: str, keys: str = "") -> Typed:
        return typed(*shlex.split(command)[1:], folder=self.rig.folder, keys=keys)

    def doctor(self) -> list[dict[str, Any]]:
        """What is found, but for hints."""
        found: list[dict[str, Any]] = self.type("proxyd doctor --json").json["findings"]
        return [each for each in found if each["grave"]]

    def change(self, file: Path, to: bytes | None) -> None:
        """None: it is gone."""
        self.kept[file] = file.read_bytes()
        file.unlink() if to is None else file.write_bytes(to)

    def say(self, file: Path, more: str) -> None:
        self.change(file, file.read_bytes() + more.encode())

    def replace(self, file: Path, old: str, new: str) -> None:
        text = file.read_text()
        assert old in text
        self.change(file, text.replace(old, new).encode())

    def put_back(self) -> None:
        for file, octets in self.kept.items():
            file.touch(mode=0o600)
            file.write_bytes(octets)
        self.kept.clear()

    def hold(self, port: int) -> None:
        self.held = socket.create_server(("127.0.0.1", port))

    def let_go(self) -> None:
        assert self.held is not None
        self.held.close()
        self.held = None


@dataclass(frozen=True)
class Walk:
    """`says`: words of the finding. `first`: what the person does before they type the command, `keys` what they are
    asked for by it; `at_last`: what is then to be seen beside a clean doctor."""

    kind: str
    begin: Callable[[Place], Any]
    says: str
    cure: str
    first: Callable[[Place], Any] = lambda place: None
    keys: str = ""
    at_last: Callable[[Place], Any] = lambda place: True


# --- beside a daemon ------------------------------------------------------------------------------------------


def untrusted(place: Place) -> None:
    other = ThrowAwayCa(place.folder / "other-ca")
    place.replace(place.account, str(place.rig.provider.ca.ca), str(other.ca))
    place.type("proxyd reload")


def nowhere(place: Place) -> None:
    place.replace(place.account, "imap: {host: localhost", "imap: {host: nowhere.invalid")
    place.type("proxyd reload")


def password_gone_and_needed(place: Place) -> None:
    place.change(place.password, None)
    place.rig.provider.stop()
    place.rig.provider.start()
    eventually(lambda: place.rig.account_status()["state"] == "misconfigured", "the next sign-in to miss it", every=0.2)


def corrected_but_not_told(place: Place) -> None:
    place.say(place.account, "trak: everything\n")
    assert place.type("proxyd reload").code == 78
    place.put_back()


def of_our_own(place: Place) -> None:
    """The local certificate has ended: the machine slept for a year."""
    for name in ("ca.pem", "chain.pem", "key.pem"):
        (place.rig.data / name).unlink()
    local_ca.ensure(place.rig.data, datetime.now(UTC) - timedelta(days=900))


def shows_the_new_one(place: Place) -> bool:
    """The mail client that trusts what lies there now is let in."""
    with place.rig.client():
        return True


def chain_and_key(place: Place) -> tuple[Path, Path]:
    return place.folder / "own.pem", place.folder / "own.key"


def own_certificate(place: Place, ends: timedelta = timedelta(days=90)) -> None:
    """As an ACME client puts it there."""
    leaf = ThrowAwayCa(place.folder / "own-ca").issue("own", starts=timedelta(days=-90), ends=ends)
    chain, key = chain_and_key(place)
    chain.write_bytes(leaf.chain.read_bytes())
    key.touch(mode=0o600)
    key.write_bytes(leaf.key.read_bytes())


def own_certificate_that_ended(place: Place) -> None:
    own_certificate(place, timedelta(days=-1))
    chain, key = chain_and_key(place)
    place.say(place.daemon, f"certificate: {{chain: {chain}, key: {key}}}\n")
    assert place.type("proxyd reload").code == 0


def own_certificate_is_none(place: Place) -> None:
    own_certificate(place)
    chain, key = chain_and_key(place)
    place.say(place.daemon, f"certificate: {{chain: {chain}, key: {key}}}\n")
    chain.write_text("no certificate at all\n")
    assert "cannot be used" in place.type("proxyd reload").out


def shows_own(place: Place) -> bool:
    """The listeners show what lies there; then everything is as it was."""
    chain, _ = chain_and_key(place)
    shown = subprocess.run(
        ["openssl", "s_client", "-connect", f"localhost:{place.rig.port('smtps')}", "-showcerts"],
        input="",
        capture_output=True,
        text=True,
    ).stdout
    assert chain.read_text().split("\n")[1] in shown
    place.put_back()
    assert place.type("proxyd reload").code == 0
    return shows_the_new_one(place)


def another_listener(place: Place, *, taken: bool) -> None:
    port = free_port()
    if taken:
        place.hold(port)
    place.replace(place.daemon, "imap: off", f'imap: "127.0.0.1:{port}"')
    if taken:
        place.type("proxyd reload")


def is_open(place: Place) -> bool:
    place.rig.port("imap")
    place.put_back()
    return place.type("proxyd reload").code == 0


def crm_does_not_let_us_in(place: Place) -> None:
    place.change(place.folder / "webhook.secret", b"not one\n")
    place.type("proxyd reload")
    place.rig.send(letter())
    eventually(lambda: place.rig.account_status()["crm"] and place.rig.account_status()["crm"][0]["cure"], "a refusal")


BESIDE_A_DAEMON = {
    "a word that is none": Walk(
        "configuration",
        lambda place: place.say(place.account, "trak: everything\n"),
        "trak",
        "proxyd reload",
        Place.put_back,
    ),
    "a CA's file is gone": Walk(
        "configuration",
        lambda place: place.change(place.rig.provider.ca.ca, None),
        "is missing. Correct it first.",
        "proxyd reload",
        Place.put_back,
    ),
    "corrected, and not taken over": Walk(
        "configuration not in force", corrected_but_not_told, "trak", "proxyd reload"
    ),
    "the password's file is gone": Walk(
        "password",
        lambda place: place.change(place.password, None),
        "is missing.",
        f"proxyd reconnect {PERSON}",
        keys=PASSWORD,
    ),
    "the password's file is gone, and was needed": Walk(
        "account",
        password_gone_and_needed,
        "is not where it should be",
        f"proxyd reconnect {PERSON}",
        keys=PASSWORD,
    ),
    "a certificate of nobody we trust": Walk(
        "account", untrusted, "is not to be trusted", "proxyd reload", Place.put_back
    ),
    "a name that is not known": Walk("account", nowhere, "Correct the server's name", "proxyd reload", Place.put_back),
    "others may look into the folder": Walk(
        "folder open to others", lambda place: place.rig.data.chmod(0o755), "may look into", "chmod 700 DATA"
    ),
    "others may read the store": Walk(
        "file open to others",
        lambda place: (place.rig.data / "store.db").chmod(0o644),
        "may read",
        "chmod 600 DATA/store.db",
    ),
    "the local certificate has ended": Walk(
        "local certificate ended", of_our_own, "ended on", "proxyd reload", at_last=shows_the_new_one
    ),
    "a certificate of one's own has ended": Walk(
        "certificate ends",
        own_certificate_that_ended,
        "put the new one there first",
        "proxyd reload",
        own_certificate,
        at_last=shows_own,
    ),
    "a certificate of one's own is none": Walk(
        "certificate unreadable",
        own_certificate_is_none,
        "put the right one there first",
        "proxyd reload",
        own_certificate,
        at_last=shows_own,
    ),
    "a listener that is not open yet": Walk(
        "port not open",
        lambda place: another_listener(place, taken=False),
        "is not open",
        "proxyd reload",
        at_last=is_open,
    ),
    "a port that another program has": Walk(
        "port taken",
        lambda place: another_listener(place, taken=True),
        "End the program that has it",
        "ss -tlnp sport = :PORT",
        Place.let_go,
        at_last=is_open,
    ),
    "a CRM does not let us in": Walk(
        "crm",
        crm_does_not_let_us_in,
        "webhook",
        f"proxyd crm retry --crm webhook --account {PERSON}",
        Place.put_back,
        at_last=lambda place: eventually(lambda: delivered(place.rig), "the CRM to have it", every=0.1),
    ),
    "there is little room": Walk(
        "room",
        lambda place: setattr(room, "WANTED", 1 << 60),
        "Make room there",
        "df -h DATA",
        lambda place: setattr(room, "WANTED", ROOM),
    ),
}

# --- while none runs --------------------------------------------------------------------------------------------

WITHOUT_A_DAEMON = {
    "a word that is none, before the start": Walk(
        "configuration",
        lambda place: place.say(place.daemon, "listne: {}\n"),
        "listne",
        "proxyd check",
        Place.put_back,
    ),
    "a port that another program has, before the start": Walk(
        "port taken",
        lambda place: another_listener(place, taken=True),
        "End the program that has it",
        "ss -tlnp sport = :PORT",
        lambda place: (place.let_go(), place.put_back()),
    ),
    "the store's key is gone": Walk(
        "key",
        lambda place: place.change(place.rig.data / "store.key", None),
        "bring the key back",
        "",
        Place.put_back,
    ),
    "another store's key": Walk(
        "records",
        lambda place: place.change(place.rig.data / "store.key", b"11" * 32),
        "cannot be opened",
        "",
        Place.put_back,
    ),
    "the daemon does not run": Walk("daemon", lambda place: None, "not running", "proxyd run"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("cures")
    with contextlib.ExitStack() as running:
        provider = running.enter_context(Provider(running.enter_context(open_folder())))
        receiver = running.enter_context(Receiver(SECRET))
        secret = folder / "webhook.secret"
        secret.touch(mode=0o600)
        secret.write_text(SECRET + "\n")
        webhook = f"{{url: '{receiver.url}/crm', secret: {{file: {secret}}}}}"
        rig = Rig(folder / "rig", provider, more=f"{QUICK}crm: [local, {{webhook: {webhook}}}]\n")
        rig.start()
        running.callback(rig.stop)
        rig.add_contact()
        rig.connected()
        yield Place(rig, receiver, folder)


def walk(place: Place, found: Walk) -> None:
    def others() -> list[dict[str, Any]]:
        """That no daemon runs is another walk's."""
        return [each for each in place.doctor() if each["kind"] != "daemon" or found.kind == "daemon"]

    def told() -> Any:
        return next((each for each in others() if each["kind"] == found.kind), None)

    assert found.kind == "daemon" or others() == [], "it begins well"
    found.begin(place)
    said = eventually(told, found.kind, every=0.3)
    assert found.says in said["what"], said
    cure = said["cure"]
    assert re.fullmatch(found.cure.replace("DATA", str(place.rig.data)).replace("PORT", r"\d+"), cure), said
    found.first(place)
    if cure == "proxyd run":
        place.rig.start()
    elif cure.startswith("proxyd"):
        asked = ["--password-stdin"] if found.keys else []  # at a terminal it is asked for
        done = place.rig.run(*shlex.split(cure)[1:], *asked, input=found.keys + "\n")
        assert done.returncode == 0, done
    elif cure:
        assert subprocess.run(shlex.split(cure), check=False).returncode == 0
    eventually(lambda: not others(), "doctor to be clean", every=0.3)
    assert found.at_last(place)
    place.kept.clear()


@pytest.mark.parametrize("name", BESIDE_A_DAEMON)
def test_beside_a_daemon(place: Place, name: str) -> None:
    walk(place, BESIDE_A_DAEMON[name])


@pytest.mark.parametrize("name", WITHOUT_A_DAEMON)
def test_while_none_runs(place: Place, name: str) -> None:
    place.rig.stop()
    walk(place, WITHOUT_A_DAEMON[name])


def test_every_kind_of_finding_has_its_walk() -> None:
    walked = {each.kind for each in (*BESIDE_A_DAEMON.values(), *WITHOUT_A_DAEMON.values())}
    assert walked | set(ELSEWHERE) | set(WITHOUT_A_CURE) == set(get_args(findings.Kind))
    for file, name in ELSEWHERE.values():
        assert f"def {name}(" in (Path(__file__).parent / file).read_text()
