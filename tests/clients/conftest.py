"""`place`: a provider, and the client pointed at it or at proxyd in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.place import Place, at_the_provider, through_proxyd
from tests.scenarios.rig import Rig
from tests.servers.mailprovider import Provider
from tests.servers.processes import free_port, listens
from tests.servers.waiting import eventually

collect_ignore = ["thunderbird"]  # only where it is named: `make test-clients`

QUICK = "sent_copy: {settle: 1s}\n"


@pytest.fixture
def make_place(make_provider: Callable[..., Provider], tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """`make_place(through, …)` with further arguments of the provider; `through` is proxyd or direct, `told` what the
    account's file says of the provider's filing what it sends."""
    rigs = []

    def make(through: str, *, told: str | None = None, **options: Any) -> Place:
        provider = make_provider(**options)
        home = tmp_path / through
        home.mkdir()
        if through == "direct":
            return at_the_provider(home, provider)
        rig = Rig(tmp_path, provider, more=QUICK)
        rig.write_account(provider.account_yaml(client_password=rig.client_password, more=QUICK, files_sent=told))
        ports = {name: free_port() for name in ("smtp", "smtps", "imap", "imaps")}
        listen = ", ".join(f'{name}: "localhost:{port}"' for name, port in ports.items())
        (rig.config / "proxyd.yaml").write_text(f"listen: {{{listen}, web: off}}\n")
        rig.start(wait=False)
        rigs.append(rig)
        eventually(lambda: all(map(listens, ports.values())), f"the daemon: {rig.log}")
        return through_proxyd(home, rig, ports)

    yield make
    for rig in rigs:
        rig.stop()


@pytest.fixture(params=["direct", "proxyd"])
def place(request: pytest.FixtureRequest, make_place: Callable[..., Place]) -> Place:
    return make_place(request.param)
