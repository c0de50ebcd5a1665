"""`rig`: a provider and a daemon that serves Ada's account there; `make_rig(…)` for other kinds of either."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.new_user import NewUser
from tests.scenarios.rig import Rig
from tests.servers.mailprovider import Provider
from tests.servers.resolver import Resolver

QUICK = "sent_copy: {settle: 1s}\n"


@pytest.fixture
def make_rig(make_provider: Callable[..., Provider], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """`make_rig(more="…", special_use=False, …)`: running; with `start=False` not yet."""
    with contextlib.ExitStack() as running:

        def make(*, more: str = QUICK, start: bool = True, **options: Any) -> Rig:
            provider = make_provider(**options)
            rig = Rig(tmp_path_factory.mktemp("rig"), provider, more=more)
            running.callback(rig.stop)
            if start:
                rig.start()
            return rig

        yield make


@pytest.fixture
def rig(make_rig: Any) -> Rig:
    made: Rig = make_rig()
    return made


@pytest.fixture
def make_user(make_provider: Callable[..., Provider], tmp_path: Path) -> Iterator[Callable[..., NewUser]]:
    with contextlib.ExitStack() as running:

        def make(**options: Any) -> NewUser:
            provider = make_provider(**options)
            services = [
                ("_imaps._tcp", "example.test", "localhost", provider.dovecot.imaps_port),
                ("_submissions._tcp", "example.test", "localhost", provider.postfix.smtps_port),
            ]
            resolver = running.enter_context(Resolver(tmp_path / "dns", srv=services))
            return NewUser(tmp_path, provider, resolver)

        yield make
