"""kill -9 between each two steps of the send path: nothing lost, nothing doubled, and the commands tell the truth.

The mailbox is a real Dovecot. The submission server is scripted, for it must stand still at the kill; what
it takes and "files" is put into the real mailbox by the test.
"""

from __future__ import annotations

import contextlib
import os
import signal
import smtplib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.scenarios.rig import Rig, letter, message_id
from tests.servers.delay import Delay
from tests.servers.mailprovider import CUSTOMER, OTHER_CUSTOMER, PERSON
from tests.servers.scripted import Script, ScriptedSubmission
from tests.servers.waiting import eventually

BOTH = (CUSTOMER, OTHER_CUSTOMER)
QUICK = "sent_copy: {settle: 1s}\n"


class Scene:
    def __init__(self, rig: Rig, submission: ScriptedSubmission) -> None:
        self.rig = rig
        self.submission = submission
        self.offer = letter()
        self.id = message_id(self.offer)
        self._pool = ThreadPoolExecutor(1)

    def sending(self, *, wait_at: Any = None) -> Future[Any]:
        """The client sends, in a thread; returns once the server stands at `wait_at`."""
        reached = self.submission.reached(wait_at) if wait_at else None
        answer = self._pool.submit(self.rig.send, self.offer, BOTH)
        if reached is not None:
            reached.result(10)
        return answer

    def killed_at(self, point: Any, *, answered: bool = False) -> None:
        """The daemon is killed while the server stands at `point`; `answered`: the reply is in the socket by then."""
        self.submission.script = Script(hold=frozenset({point}))
        answer = self.sending(wait_at=point)
        if answered:
            os.kill(self.rig.pid, signal.SIGSTOP)
            written = self.submission.replied(point)
            self.submission.go_on()
            written.result(10)
        self.rig.kill()
        assert isinstance(answer.exception(10), smtplib.SMTPServerDisconnected | ConnectionError)
        self.submission.script = Script()
        self.submission.go_on()
        self.submission.cut_all()

    def provider_files_it(self) -> None:
        (taken,) = self.submission.taken
        received = b"Received: from proxyd by scripted.test with ESMTPSA; Mon, 23 Nov 2026 10:00:01 +0000\r\n"
        self.rig.provider.dovecot.append(PERSON, "Sent", received + taken.filed)

    def again(self) -> Any:
        """The client tries again with the same octets."""
        return self.rig.send(self.offer, BOTH)

    def another(self) -> None:
        self.offer = letter()
        self.id = message_id(self.offer)

    def state(self) -> str:
        (logged,) = (each for each in self.rig.timeline() if each["message_id"] == self.id)
        return str(logged["state"])

    def unknown(self) -> list[Any]:
        return self.rig.account_status()["unknown"]


@contextlib.contextmanager
def playing(make_rig: Callable[..., Rig], more: str) -> Iterator[Scene]:
    rig = make_rig(start=False)
    with ScriptedSubmission(rig.provider.ca) as submission:
        rig.write_account(
            rig.provider.account_yaml(smtp_port=submission.port, client_password=rig.client_password, more=more)
        )
        rig.start()
        rig.add_contact()
        rig.connected()
        yield Scene(rig, submission)


@pytest.fixture
def scene(make_rig: Callable[..., Rig]) -> Iterator[Scene]:
    with playing(make_rig, QUICK) as made:
        yield made


@pytest.fixture
def spooling(make_rig: Callable[..., Rig]) -> Iterator[Scene]:
    """Whoever sends while the provider says "not now" hears 250."""
    with playing(make_rig, QUICK + "sending: {on_outage: spool, answer_within: 3s}\n") as made:
        yield made


def looked_for(scene: Scene) -> bool:
    return any("looked for" in each["what"] for each in scene.rig.explain(scene.id)["steps"])


def test_before_anything_went_upstream(scene: Scene) -> None:
    scene.killed_at("mail")
    scene.rig.start()
    scene.rig.connected()
    assert scene.state() == "unknown"
    eventually(lambda: looked_for(scene), "it to be looked for", every=0.1)
    assert scene.rig.run("status").returncode == 1, "a person must know of it"
    assert scene.submission.taken == [], "never sent again by ourselves"
    assert scene.again() == {}
    assert len(scene.submission.taken) == 1
    assert scene.state() == "sent"
    eventually(lambda: len(scene.rig.sent(scene.id)) == 1, "its Sent copy")


@pytest.mark.parametrize("answered", [False, True], ids=["dot sent", "upstream answered"])
def test_when_the_provider_has_it_and_files_it(scene: Scene, answered: bool) -> None:
    scene.killed_at("dot", answered=answered)
    scene.provider_files_it()
    scene.rig.start()
    eventually(lambda: scene.state() == "sent", "it to be found in Sent", every=0.1)
    assert scene.again() == {}, "the first outcome, not a second mail"
    assert len(scene.submission.taken) == 1
    assert len(scene.rig.sent(scene.id)) == 1
    eventually(lambda: scene.rig.timeline()[0]["sent_copy"]["state"] == "present", "its copy on record", every=0.1)
    assert scene.rig.timeline()[0]["sent_copy"]["copies"] == 1


@pytest.mark.parametrize("answered", [False, True], ids=["dot sent", "upstream answered"])
def test_when_nobody_can_know(scene: Scene, answered: bool) -> None:
    scene.killed_at("dot", answered=answered)
    scene.rig.start()
    scene.rig.connected()
    eventually(lambda: looked_for(scene), "it to be looked for", every=0.1)
    assert scene.state() == "unknown"
    assert scene.rig.run("status").returncode == 1
    assert "unknown" in str(scene.rig.explain(scene.id))
    assert len(scene.submission.taken) == 1, "never sent again by ourselves"
    assert scene.rig.sent(scene.id) == []


def test_after_the_client_heard_250(scene: Scene) -> None:
    assert scene.sending().result(10) == {}
    scene.rig.kill()
    scene.rig.start()
    assert scene.state() == "sent"
    eventually(lambda: scene.rig.sent(scene.id), "its Sent copy")
    eventually(lambda: scene.rig.timeline()[0]["sent_copy"]["state"] == "present", "its copy on record", every=0.1)
    assert len(scene.rig.sent(scene.id)) == 1
    assert len(scene.submission.taken) == 1


def test_while_the_sent_copy_was_being_filed(scene: Scene) -> None:
    """The copy is in the mailbox, the mailbox's answer is still on its way to us."""
    rig = scene.rig
    with Delay(rig.provider.dovecot.imaps_port, each_way=0.25) as far:
        yaml = rig.provider.account_yaml(
            smtp_port=scene.submission.port, client_password=rig.client_password, more=QUICK
        )
        rig.write_account(yaml.replace(str(rig.provider.dovecot.imaps_port), str(far.port)))
        rig.stop()
        rig.start()
        rig.connected()
        assert scene.sending().result(10) == {}
        eventually(lambda: rig.sent(scene.id), "the Sent copy")
        rig.kill()
        rig.start()
        eventually(lambda: rig.timeline()[0]["sent_copy"]["state"] == "present", "its copy on record", every=0.1)
        assert len(rig.sent(scene.id)) == 1


def test_a_provider_that_answers_late_is_joined_not_asked_twice(scene: Scene) -> None:
    rig = scene.rig
    patience = QUICK + "sending: {answer_within: 5s}\n"
    rig.write_account(
        rig.provider.account_yaml(smtp_port=scene.submission.port, client_password=rig.client_password, more=patience)
    )
    rig.hang_up()
    eventually(lambda: "configuration read again" in rig.log.read_text(), "the new settings")
    scene.submission.script = Script(hold=frozenset({"dot"}))
    with pytest.raises(smtplib.SMTPDataError) as refused:
        rig.send(scene.offer, BOTH)
    assert refused.value.smtp_code == 451
    threading.Timer(0.5, scene.submission.go_on).start()
    assert scene.again() == {}
    assert len(scene.submission.taken) == 1


# --- what waits in the spool --------------------------------------------------------------------------------------

NOT_NOW = Script(replies={"mail": "451 4.3.2 not now"})


def kept(scene: Scene) -> None:
    """The client has heard 250, the provider has nothing."""
    scene.submission.script = NOT_NOW
    assert scene.again() == {}
    assert scene.state() == "submitting"
    assert scene.submission.taken == []


def killed_while_trying(scene: Scene, point: Any) -> None:
    """The daemon is killed while its own try stands at `point`."""
    times = scene.submission.count(point)
    scene.submission.script = Script(hold=frozenset({point}))
    if point == "connect":
        scene.submission.cut_all()
    scene.submission.reached(point, times + 1).result(30)
    scene.rig.kill()
    scene.submission.script = Script()
    scene.submission.go_on()
    scene.submission.cut_all()


def went_once(scene: Scene) -> None:
    eventually(lambda: scene.state() == "sent", "it to be handed over", every=0.1)
    assert len(scene.submission.taken) == 1
    eventually(lambda: scene.rig.timeline()[0]["sent_copy"]["state"] == "present", "its Sent copy", every=0.1)
    assert len(scene.rig.sent(scene.id)) == 1


def test_spooled_and_killed_right_behind_the_250(spooling: Scene) -> None:
    kept(spooling)
    spooling.rig.kill()
    spooling.submission.script = Script()
    spooling.rig.start()
    went_once(spooling)


def test_spooled_and_killed_before_anything_went_upstream(spooling: Scene) -> None:
    """A connection that hangs is most of what there is in an outage: no person is asked about that."""
    kept(spooling)
    killed_while_trying(spooling, "connect")
    assert spooling.submission.taken == []
    spooling.rig.start()
    went_once(spooling)


def test_spooled_and_killed_when_the_provider_has_it_and_files_it(spooling: Scene) -> None:
    kept(spooling)
    killed_while_trying(spooling, "dot")
    spooling.provider_files_it()
    spooling.rig.start()
    went_once(spooling)


def test_spooled_and_killed_when_nobody_can_know(spooling: Scene) -> None:
    """A copy that the mail client filed at our 250 proves nothing."""
    kept(spooling)
    octets = spooling.offer.as_bytes(policy=spooling.offer.policy.clone(linesep="\r\n"))
    spooling.rig.provider.dovecot.append(PERSON, "Sent", octets)
    killed_while_trying(spooling, "dot")
    spooling.rig.start()
    eventually(lambda: looked_for(spooling), "it to be looked for", every=0.1)
    assert spooling.state() == "unknown"
    assert spooling.rig.run("status").returncode == 1
    assert len(spooling.submission.taken) == 1, "never sent again by ourselves"


def test_a_provider_that_hangs_is_not_waited_for(spooling: Scene) -> None:
    """The client is answered in time, the same try goes on, and there is no second one. Behind the last dot, where only
    the provider knows what became of it, no 250 is made up."""
    points: tuple[Any, ...] = ("auth", "mail", "data")
    for point in points:
        spooling.another()
        spooling.submission.hold_on()
        spooling.submission.cut_all()
        spooling.submission.script = Script(hold=frozenset({point}), extensions=("SIZE 60000000",))
        assert spooling.again() == {}
        assert spooling.state() == "submitting", point
        spooling.submission.script = Script()
        spooling.submission.go_on()
        eventually(lambda: spooling.state() == "sent", f"it to be handed over, after {point}", every=0.1)
    spooling.another()
    spooling.submission.hold_on()
    spooling.submission.script = Script(hold=frozenset({"dot"}))
    with pytest.raises(smtplib.SMTPDataError) as refused:
        spooling.again()
    assert refused.value.smtp_code == 451
    threading.Timer(0.5, spooling.submission.go_on).start()
    assert spooling.again() == {}
    assert spooling.state() == "sent"
    assert len(spooling.submission.taken) == 4
