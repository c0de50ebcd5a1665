"""`proxyd reconnect ADDRESS`: after a new password, or a grant that was taken back."""

from __future__ import annotations

import click

from proxyd.cli.connect_questions import questions
from proxyd.cli.connect_sign_in import Way
from proxyd.cli.connect_writing import keep_secrets
from proxyd.cli.daemon_link import NotRunning, daemon_link
from proxyd.cli.folders import with_places
from proxyd.cli.showing import note
from proxyd.config import Account, ConfigErrors, KeyringEntry, SecretFile, account_of, account_path, load
from proxyd.errors import ConfigError, ProxydError
from proxyd.places import Places
from proxyd.workers import Workers

EPILOG = """\b
Asks for the new password, or lets you agree to OAuth2 anew, signs in to both servers with it, and
only then keeps it. Where the password lies in a place of your own (env, command, credential),
change it there first.
Exit status: 0 connected, 1 not (and why).

\b
Examples:
  proxyd reconnect ada@example.com
  pass show mail/ada | proxyd reconnect ada@example.com --password-stdin
"""


@click.command(epilog=EPILOG)
@click.argument("address")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
@click.option("--paste", is_flag=True, help="Your browser is on another machine: paste the address that it ends at.")
@with_places
def reconnect(places: Places, address: str, password_stdin: bool, paste: bool) -> None:
    """Sign the account ADDRESS in anew: after a new password, or a grant that was taken back."""
    workers = Workers(8)
    try:
        account, whole = _account(places, address)
        ours = isinstance(account.sign_in.password, KeyringEntry | SecretFile)
        if password_stdin and account.sign_in.oauth is not None:
            raise ProxydError("this account signs in by OAuth2: there is no password; type: proxyd reconnect ADDRESS")
        if password_stdin and not ours:
            raise ProxydError("the password lies in a place of your own: change it there, then type: proxyd reconnect")
        way = Way(questions(yes=False), workers, from_stdin=password_stdin, paste=paste)
        signed_in = way.signed_in(account)
        keep_secrets(places, account, signed_in)
        note(f"Signed in to {account.provider.imap.host} and {account.provider.smtp.host}.")
    except ConfigError as error:
        raise ProxydError(str(error)) from None
    finally:
        workers.close()
    try:
        with daemon_link(places) as link:
            if not whole:
                link.reload()  # what was missing is there now
            link.reconnect(account.address)
        note("The daemon signs in with it now (proxyd status).")
    except NotRunning:
        note("The daemon is not running; start it with: proxyd run")


def _account(places: Places, address: str) -> tuple[Account, bool]:
    """The account, and whether the configuration is whole. Its own file is enough, even where the file with its
    password is gone: that is about to be written. Raises ProxydError."""
    try:
        accounts = load(places.config).accounts
    except ConfigErrors as errors:
        path = account_path(places.config, address)
        if path is None:
            raise errors
        return account_of(path.read_text("utf-8"), path), False
    account = accounts.get(address.lower())
    if account is None:
        known = ", ".join(accounts) or "none"
        raise ProxydError(f"there is no account {address!r}; the accounts are: {known}")
    return account, True
