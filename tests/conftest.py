"""Fixtures that start real servers. A test that asks for one of them is marked `servers` by that alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.servers.mailprovider import Provider
from tests.servers.processes import open_folder

# A busy machine is slow; a test that has a deadline by the clock fails there, and says nothing about the code.
settings.register_profile("patient", deadline=None)
# `make fuzz` (tests/fuzz.py): as many examples as it says.
settings.register_profile("fuzz", deadline=None, max_examples=int(os.environ.get("PROXYD_FUZZ_EXAMPLES", "1000")))
settings.load_profile("fuzz" if "PROXYD_FUZZ_EXAMPLES" in os.environ else "patient")

SERVER_FIXTURES = frozenset({"provider", "make_provider", "courier", "cyrus", "sink", "window"})


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if SERVER_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.servers)


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder that servers' own users may enter (pytest's tmp_path is closed to them)."""
    with open_folder() as folder:
        yield folder


@pytest.fixture
def make_provider(server_folder: Path) -> Iterator[Callable[..., Provider]]:
    """`make_provider(special_use=False, …)`: a running provider of that kind; all are stopped at the end."""
    with contextlib.ExitStack() as running:
        count = 0

        def make(**options: Any) -> Provider:
            nonlocal count
            count += 1
            folder = server_folder / f"p{count}"
            folder.mkdir()
            return running.enter_context(Provider(folder, **options))

        yield make


@pytest.fixture
def provider(make_provider: Callable[..., Provider]) -> Provider:
    """Dovecot with SPECIAL-USE and Postfix that files nothing by itself."""
    return make_provider()
