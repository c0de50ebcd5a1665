"""Two daemons for one folder: the second one goes, whatever became of those before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxyd.daemon.alone import FILE, AlreadyRuns, hold, say, waits


def test_the_second_is_told_who_the_first_is(tmp_path: Path) -> None:
    first = hold(tmp_path)
    with pytest.raises(AlreadyRuns, match=rf"a daemon \(process {os.getpid()}\) already runs with the records in "):
        hold(tmp_path)
    os.close(first)
    os.close(hold(tmp_path))


@pytest.mark.parametrize("left", ["", "1\n", "99999999999999999999", "nobody"])
def test_a_file_that_is_left_over_stands_in_nobodys_way(tmp_path: Path, left: str) -> None:
    (tmp_path / FILE).write_text(left)
    descriptor = hold(tmp_path)
    assert (tmp_path / FILE).read_text() == f"{os.getpid()}\n"
    os.close(descriptor)


def test_programs_that_the_daemon_starts_do_not_hold_it(tmp_path: Path) -> None:
    descriptor = hold(tmp_path)
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_what_the_one_that_runs_waits_for(tmp_path: Path) -> None:
    assert waits(tmp_path) == ""
    descriptor = hold(tmp_path)
    assert waits(tmp_path) == ""
    say(descriptor, "for the keyring to be unlocked")
    assert waits(tmp_path) == "for the keyring to be unlocked"
    with pytest.raises(AlreadyRuns, match=rf"process {os.getpid()}"):
        hold(tmp_path)
    say(descriptor)
    assert waits(tmp_path) == ""
    os.close(descriptor)


@pytest.mark.parametrize("left", [f"{2**22 + 1}\nfor a keyring", "nobody\nfor a keyring", f"{2**70}\nfor a keyring"])
def test_what_one_that_is_gone_waited_for_is_nothing(tmp_path: Path, left: str) -> None:
    (tmp_path / FILE).write_text(left)
    assert waits(tmp_path) == ""
