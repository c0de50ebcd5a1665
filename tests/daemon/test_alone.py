"""Two daemons for one folder: the second one goes, whatever became of those before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxyd.daemon.alone import FILE, AlreadyRuns, hold


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
