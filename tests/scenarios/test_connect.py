"""`proxyd connect` as a new user types it, with and without a terminal; a real name server leads to the provider."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable

import pytest

from tests.scenarios.new_user import PATIENCE, NewUser, Terminal
from tests.servers.mailprovider import CUSTOMER, PASSWORD, PERSON
from tests.servers.processes import need_program
from tests.servers.waiting import eventually


def test_from_nothing_to_the_first_logged_mail_in_four_commands(make_user: Callable[..., NewUser]) -> None:
    user = make_user(files_sent=True)
    # 1
    done = user.connect("--yes", "--name", "Ada Lovelace")
    assert done.returncode == 0, done.stderr
    assert "DNS names it (SRV)" in done.stderr
    assert "The provider files sent mail in Sent." in done.stderr
    assert f"proxyd client-settings {PERSON} --client thunderbird" in done.stdout
    # 2
    with user.daemon():
        # 3
        assert user.run("contact", "add", CUSTOMER).returncode == 0
        # 4
        settings = user.run("client-settings", PERSON, "--client", "neomutt")
        (user.folder / "neomuttrc").write_text(settings.stdout)
        sent = subprocess.run(
            [need_program("neomutt", "neomutt"), "-n", "-F", "neomuttrc", "-s", "Offer", CUSTOMER],
            cwd=user.folder,
            env=user.environment | {"TERM": "xterm"},
            input="Here it is.\n",
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert sent.returncode == 0, sent.stdout + sent.stderr
        shown = eventually(lambda: user.run("timeline", CUSTOMER).stdout, "the mail to be logged")
        assert "Offer" in shown
        # and the daemon takes a change at once
        again = user.connect("--yes", "--no-test-mail", "--replace", "--name", "Ada L.")
        assert "The daemon has taken it over" in again.stderr
        rekeyed = user.run("rekey")
        assert (rekeyed.returncode, "the daemon is running" in rekeyed.stderr) == (1, True)
    assert len(user.provider.dovecot.messages(CUSTOMER)) == 1


def test_what_is_written_is_private_and_whole(make_user: Callable[..., NewUser]) -> None:
    user = make_user()
    done = user.connect("--yes", "--no-test-mail", "--dropbox", "4711@bcc.crm.test")
    assert done.returncode == 0, done.stderr
    secrets = [user.config / f"secrets/{PERSON}.{kind}" for kind in ("password", "client")]
    assert secrets[0].read_text() == PASSWORD + "\n"
    for path in (user.account, *secrets):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    text = user.account.read_text()
    assert PASSWORD not in text
    assert f"file: secrets/{PERSON}.password" in text.replace("'", "")
    assert "dropbox: '4711@bcc.crm.test'" in text
    assert user.run("check").returncode == 0
    assert secrets[1].read_text().strip() in done.stdout


def test_what_does_not_work_writes_nothing(make_user: Callable[..., NewUser]) -> None:
    user = make_user()
    for more, password, said in (
        ((), PASSWORD, "answer by --imap localhost"),  # no terminal to ask whether localhost may have the password
        (("--yes",), "wrong", "refused the user name or password"),
        (("--yes", "--imap", "localhost:1"), PASSWORD, "the connection was refused"),
        (("--yes", "--dropbox", PERSON), PASSWORD, "own address"),
    ):
        done = user.connect("--no-test-mail", *more, password=password)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        assert said in done.stderr
        assert "fault" not in done.stderr
        assert user.everything() == set()


def test_at_a_terminal(make_user: Callable[..., NewUser]) -> None:
    """A wrong password may be typed again; it is never shown."""
    user = make_user(files_sent=True)
    terminal = Terminal(user, "connect", PERSON, *user.found)
    terminal.type("DNS can be forged. Sign in there with the password? [y/N]", "y")
    terminal.type("Password of ada@example.test", "wrong")
    terminal.wait_for("the provider refused the user name or password")
    terminal.type("Password of ada@example.test", PASSWORD)
    terminal.type("Send one mail from ada@example.test to itself", "y")
    terminal.wait_for("The provider files sent mail in Sent.")
    terminal.type("Which mail program is to be set up", "Outlook (classic)")
    terminal.wait_for("In a command prompt (answer Yes):")
    assert terminal.end() == 0, terminal.screen
    assert "apple-mail" not in terminal.screen.partition("Certificate to trust")[2]
    assert PASSWORD not in terminal.screen
    assert "files_sent: yes" in user.account.read_text()


def test_the_last_question_is_no_condition(make_user: Callable[..., NewUser]) -> None:
    """Who gives up there has an account that works, and is told how to go on."""
    user = make_user()
    dovecot, postfix = user.provider.dovecot, user.provider.postfix
    named = ["--imap", f"localhost:{dovecot.imaps_port}", "--smtp", f"localhost:{postfix.smtps_port}", "--no-test-mail"]
    terminal = Terminal(user, "connect", PERSON, *user.found, *named)
    terminal.type("Password of", PASSWORD)
    terminal.type("Which mail program is to be set up", "\x04")
    terminal.wait_for(f"proxyd client-settings {PERSON} --client thunderbird")
    terminal.wait_for("What comes next")
    assert terminal.end() == 0, terminal.screen
    assert user.account.exists()


@pytest.mark.parametrize("when", ["Password of", "Send one mail"])
def test_giving_up_leaves_nothing_behind(make_user: Callable[..., NewUser], when: str) -> None:
    user = make_user()
    yes = ["--yes"] if when == "Password of" else []
    terminal = Terminal(user, "connect", PERSON, *user.found, *yes)
    if when == "Send one mail":
        terminal.type("Sign in there", "y")
        terminal.type("Password of", PASSWORD)
    terminal.wait_for(when)
    terminal.give_up()
    assert terminal.end() == 1
    assert user.everything() == set()


def test_an_account_that_is_there_is_replaced_only_if_told_so(make_user: Callable[..., NewUser]) -> None:
    user = make_user()
    assert user.connect("--yes", "--no-test-mail").returncode == 0
    before = user.account.read_text()
    again = user.connect("--no-test-mail", "--track", "everything")
    assert again.returncode == 1
    assert "proxyd reconnect" in again.stderr
    assert "--replace" in again.stderr
    assert user.account.read_text() == before
    replaced = user.connect("--yes", "--no-test-mail", "--track", "everything", "--replace")
    assert replaced.returncode == 0, replaced.stderr
    assert "track: everything" in user.account.read_text()
    assert user.account.with_name(f"{PERSON}.yaml.before").read_text() == before


def test_a_password_that_lies_somewhere_is_left_there(make_user: Callable[..., NewUser]) -> None:
    user = make_user()
    place = user.provider.password_file()
    words = ["connect", PERSON, *user.found, "--yes", "--no-test-mail", "--password-from"]
    done = user.run(*words, f"file:{place}")
    assert done.returncode == 0, done.stderr
    assert str(place) in user.account.read_text()
    assert not (user.config / f"secrets/{PERSON}.password").exists()
