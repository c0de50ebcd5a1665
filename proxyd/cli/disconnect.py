"""`proxyd disconnect ADDRESS`: the account is served no more; what was logged stays."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import click

from proxyd.cli.connect_questions import questions
from proxyd.cli.connect_writing import in_force
from proxyd.cli.daemon_link import records
from proxyd.cli.folders import with_places
from proxyd.cli.showing import note
from proxyd.config import Account, KeyringEntry, SecretFile, Source, account_path, load, remove_secret
from proxyd.errors import ConfigError, ProxydError
from proxyd.places import Places
from proxyd.provider import tokens
from proxyd.store.opening import seal

EPILOG = """\b
The account's file is set aside (accounts.d/NAME.yaml.disconnected), the passwords and tokens that proxyd
keeps are removed, and a grant of OAuth2 is given back where the provider takes it back. What was
logged stays. Exit status: 0 disconnected, 1 not (and why).

\b
Example:
  proxyd disconnect ada@example.com
"""


@click.command(epilog=EPILOG)
@click.argument("address")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@with_places
def disconnect(places: Places, address: str, yes: bool) -> None:
    """Serve the account ADDRESS no more, and remove its passwords; what was logged is kept."""
    try:
        account = load(places.config).accounts.get(address.lower())
    except ConfigError as error:
        raise ProxydError(str(error)) from None
    path = account_path(places.config, address)
    if account is None or path is None:
        raise ProxydError(f"there is no account {address!r}")
    with records(places) as known:
        waiting = sum(each["state"] == "waiting" for each in known.spooled(account.address)["mails"])
    if waiting:
        mails = "1 mail that you sent waits" if waiting == 1 else f"{waiting} mails that you sent wait"
        note(f"{mails} here to be handed over, and will not be once the account is gone (proxyd spool shows them).")
    if not questions(yes=yes).confirm(f"Serve {account.address} no more, and remove its passwords?", "--yes"):
        raise click.Abort
    if account.sign_in.oauth is not None:
        asyncio.run(_give_back(account, places.data))
    aside = path.with_name(f"{path.name}.disconnected")
    path.replace(aside)
    in_force(places)
    for source, what in _secrets(account):
        try:
            removed = remove_secret(source, what)
        except ConfigError as error:
            note(f"Not removed: {error}")
            continue
        if removed:
            note(f"Removed: {what}.")
        elif not isinstance(source, KeyringEntry | SecretFile):
            note(f"Left where you keep it: {what}.")
    if waiting:
        note("Kept: the mail that waits; it is sent if the account is connected again within 4 days.")
    note(f"Kept: what was logged, in {places.data}; the account's settings, as {aside}.")
    note("Your mail program still points at this machine: set it back to your provider's servers.")


async def _give_back(account: Account, data: Path) -> None:
    """At the provider; where that fails the person is told, and can do it there by hand."""
    oauth = account.sign_in.oauth
    assert oauth is not None
    try:
        kept = tokens.load(oauth, account.address, seal(data))
        await tokens.endpoint_of(oauth, account.address, account.provider.ca).revoke(kept.refresh)
    except ProxydError as error:
        note(f"The grant was not given back at the provider ({error}); you can do it there, among your connected apps.")
        return
    if oauth.revocation_endpoint:
        note("The grant was given back at the provider.")
    else:
        note("This provider takes no grant back by itself: remove proxyd there, among your connected apps.")


def _secrets(account: Account) -> Iterator[tuple[Source, str]]:
    if account.sign_in.oauth is None:
        yield account.sign_in.password, "the mail password"
    else:
        yield account.sign_in.oauth.tokens, "the tokens"
        if account.sign_in.oauth.client_secret is not None:
            yield account.sign_in.oauth.client_secret, "the client secret"
    yield account.client.password, "the mail program's password"
