"""What is known of an account's health outlives the daemon: no mailbox is locked by restarts."""

from __future__ import annotations

from tests.scenarios.rig import Rig
from tests.servers.mailprovider import PASSWORD, PERSON
from tests.servers.waiting import eventually


def attempts(rig: Rig) -> int:
    """Sign-ins that the provider refused, by IMAP and by SMTP."""
    return rig.provider.dovecot.log().count("auth failed, ") + rig.provider.postfix.log().count("authentication failed")


def test_a_refused_password_is_not_tried_again_by_restarts_but_by_another_password(make_rig) -> None:
    rig = make_rig(start=False)
    password = rig.provider.folder / f"{PERSON}.password"
    password.write_text("not this one\n")
    rig.start()
    eventually(lambda: "refused to sign in" in rig.account_status()["because"], "a refusal", every=0.1)
    eventually(lambda: attempts(rig) >= 2, "both servers' refusals in their logs", every=0.1)
    rig.stop()
    before = attempts(rig)
    for _ in range(2):
        rig.start()
        said = rig.account_status()
        assert "refused to sign in" in said["because"], "known from before"
        rig.stop()
    assert attempts(rig) == before
    password.write_text(PASSWORD + "\n")
    rig.start()
    rig.connected()
