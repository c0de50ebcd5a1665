"""What is known of an account's health outlives the daemon: no mailbox is locked by restarts."""

from __future__ import annotations

from typing import Any

from tests.scenarios.rig import Rig, letter
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


def test_passwords_as_people_have_them_and_one_that_is_refused_beside_them(make_rig) -> None:
    """Octets that are no ASCII, more of them than fit on a line of SMTP, spaces at the ends; each account of the one
    provider tells its own truth."""
    passwords = {
        "words@example.test": '  pässwörd ☃ "in quotes" and \\ back%{slash} 日本  ',
        "long@example.test": "so long " * 400,
        "refused@example.test": "right",
    }
    rig = make_rig(start=False, more_users=passwords)
    for n, address in enumerate(passwords):
        rig.write_account(rig.provider.account_yaml(address, client_password=rig.client_password), f"person{n}")
    (rig.provider.folder / "refused@example.test.password").write_text("wrong\n")
    rig.start()

    def states() -> dict[str, str]:
        return {each["address"]: each["state"] for each in rig.status()["accounts"]}

    def told() -> Any:
        said = {each["address"]: each["sentence"] for each in rig.status()["accounts"]}
        return "refused to sign in" in said.pop("refused@example.test") and set(said.values()) == {"Connected."}

    eventually(told, "each account's own truth", every=0.2)
    assert states()["refused@example.test"] == "connecting"
    for address in ("words@example.test", "long@example.test"):
        assert rig.send(letter(sender=address), sender=address, user=address) == {}
    octets = rig.log.read_text()
    assert not [each for each in passwords.values() if each.strip() in octets and each != "right"]
