"""What `make test` promises on machines that are not this one: without root, without packages, with a failing step.

The two scripts run in a folder of their own, where every program that they call is one of ours that writes down how it
was called.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHECKERS = ("ruff", "mypy", "lint-imports", "coverage", "python")


class Machine:
    """A pretended machine: its programs are in `programs`, before the real ones; `calls` says what was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.log = folder / "calls"
        self.policy = folder / "policy-rc.d"
        for name in ("tests/setup", "tests/check"):
            target = folder / name
            target.parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, target)
        (folder / ".venv/bin").mkdir(parents=True)
        for name in CHECKERS:
            self.program(name, where=folder / ".venv/bin")
        self.program("id", "echo 1000")
        self.program("sudo", "exit 1")

    def program(self, name: str, does: str = "", where: Path | None = None) -> None:
        path = (where or self.programs) / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{does}\n')
        path.chmod(0o755)

    def root(self) -> None:
        self.program("id", "echo 0")

    def packages(self, *, installed: bool) -> None:
        self.program("dpkg-query", "printf installed" if installed else "exit 1")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "POLICY_RC_D": str(self.policy),
        }
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )

    @property
    def calls(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_ci_calls_the_test_command_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line]
    assert lines[0] == "#!/usr/bin/env bash"
    assert lines[-1] == "exec make test"
    assert len(lines) == 4
    assert os.access(ROOT / ".ci/run", os.X_OK)


@pytest.mark.parametrize(
    ("target", "commands"),
    [
        ("demo", ["tests/setup python demo", "proxyd demo --once"]),
        ("test", ["tests/setup python test", "tests/setup servers", "tests/check"]),
        ("coverage", ["tests/setup python test", "tests/setup servers", "COVERAGE=1 tests/check"]),
        ("test-clients", ["tests/setup python test", "tests/setup thunderbird", "pytest", "tests/clients/thunderbird"]),
        ("bench", ["tests/setup python test", "tests/setup bench", "python -m tests.bench"]),
        ("fuzz", ["tests/setup python test", "python -m tests.fuzz"]),
    ],
)
def test_each_target_sets_itself_up_first(tmp_path: Path, target: str, commands: list[str]) -> None:
    command = ["make", "-n", "-B", "-C", str(ROOT), target, f"VENV={tmp_path}", "ARGS=--once"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    positions = [said.index(part) for part in commands]
    assert positions == sorted(positions)


# --- tests/check -----------------------------------------------------------------------------------------------


def test_every_step_runs_and_is_summed_up(machine: Machine) -> None:
    machine.root()
    machine.packages(installed=True)
    done = machine.run("tests/check")
    assert done.returncode == 0, done.stdout + done.stderr
    for call in ("ruff check", "ruff format --quiet --check", "mypy --strict", "lint-imports", "python -m pytest"):
        assert call in machine.calls
    assert machine.calls.index("python -m compileall") < machine.calls.index("python -m pytest")
    assert "not servers" not in machine.calls
    assert "NOT RUN" not in done.stdout
    assert done.stdout.count("\nok ") == 6


def test_what_waits_runs_side_by_side_and_nothing_twice_or_never(machine: Machine) -> None:
    machine.root()
    machine.packages(installed=True)
    scenarios = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/scenarios").glob("test_*.py")]
    for path in scenarios:
        (machine.folder / path).parent.mkdir(exist_ok=True)
        (machine.folder / path).touch()
    assert machine.run("tests/check").returncode == 0
    runs = [call.split() for call in machine.calls.splitlines() if "-m pytest" in call]
    for path in ("tests/clients", "tests/watcher", *scenarios):
        assert sum(path in run for run in runs) == 1, path
    (rest,) = (run for run in runs if "--ignore=tests/scenarios" in run)
    assert {"--ignore=tests/clients", "--ignore=tests/watcher"} < set(rest)
    assert not [each for each in rest if each.startswith("tests/")]


def test_coverage_is_measured_where_it_is_asked_for(machine: Machine) -> None:
    machine.root()
    machine.packages(installed=True)
    assert machine.run("tests/check").returncode == 0
    assert "coverage" not in machine.calls
    assert machine.run("env", "COVERAGE=1", "tests/check").returncode == 0
    assert machine.calls.count("coverage run -m pytest") == 4
    assert machine.calls.rstrip().endswith("coverage report")


@pytest.mark.parametrize("failing", ["ruff", "mypy", "lint-imports"])
def test_a_failing_step_fails_the_whole_but_not_the_other_steps(machine: Machine, failing: str) -> None:
    machine.root()
    machine.packages(installed=True)
    machine.program(failing, "exit 1", where=machine.folder / ".venv/bin")
    done = machine.run("tests/check")
    assert done.returncode == 1
    assert "FAILED  " + failing.split("-")[0] in done.stdout
    assert "-m pytest" in machine.calls
    assert "ok      pytest" in done.stdout


def test_a_failing_test_fails_the_whole(machine: Machine) -> None:
    machine.root()
    machine.packages(installed=True)
    machine.program("python", 'case "$*" in *pytest*) exit 1;; esac', where=machine.folder / ".venv/bin")
    assert machine.run("tests/check").returncode == 1


@pytest.mark.parametrize("lacks", ["packages", "root"])
def test_without_servers_the_rest_runs_and_the_end_is_loud(machine: Machine, lacks: str) -> None:
    machine.packages(installed=lacks != "packages")
    machine.program("python", "printf 'tests/x/test_y.py::test_z\\n'", where=machine.folder / ".venv/bin")
    done = machine.run("tests/check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "-m not servers" in machine.calls
    assert "!!! NOT RUN: the tests against real servers." in done.stdout
    assert ("Debian packages missing: dovecot-imapd" in done.stdout) is (lacks == "packages")
    assert "1 tests/x/test_y.py" in done.stdout


def test_with_sudo_only_what_needs_root_gets_it(machine: Machine) -> None:
    machine.packages(installed=True)
    machine.program(
        "sudo",
        'while [ $# -gt 0 ]; do case "$1" in -n|--preserve-env=*) shift;; *) break;; esac; done\n'
        '[ $# -eq 0 ] || [ "$1" = chown ] || exec "$@"',
    )
    done = machine.run("tests/check")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = machine.calls.splitlines()
    assert any(line.startswith("python") and line.endswith("-m not servers") for line in lines)
    assert any(line.startswith("sudo") and line.endswith("-m servers") for line in lines)
    assert "NOT RUN" not in done.stdout


# --- tests/setup -----------------------------------------------------------------------------------------------


def test_an_unknown_word_gets_the_usage(machine: Machine) -> None:
    done = machine.run("tests/setup", "everything")
    assert done.returncode == 64
    assert "tests/setup servers" in done.stderr


def test_nothing_is_done_where_nothing_is_missing(machine: Machine) -> None:
    machine.packages(installed=True)
    machine.program("apt-get")
    assert machine.run("tests/setup", "servers").returncode == 0
    assert "apt-get" not in machine.calls


def test_without_root_it_names_what_is_missing(machine: Machine) -> None:
    machine.packages(installed=False)
    machine.program("apt-get")
    done = machine.run("tests/setup", "servers")
    assert done.returncode == 1
    assert "dovecot-imapd" in done.stderr
    assert "postfix" in done.stderr
    assert "apt-get" not in machine.calls


@pytest.mark.parametrize("there", [True, False], ids=["a policy was there", "no policy was there"])
@pytest.mark.parametrize("apt", ["true", "false"], ids=["apt succeeds", "apt fails"])
def test_services_are_kept_from_starting_and_the_policy_is_put_back(machine: Machine, there: bool, apt: str) -> None:
    machine.root()
    machine.packages(installed=False)
    machine.program("debconf-set-selections", "cat > /dev/null")
    machine.program(
        "apt-get", f'case "$*" in *install*) sh {machine.policy}; echo "policy said $?" >> {machine.log};; esac; {apt}'
    )
    if there:
        machine.policy.write_text("#!/bin/sh\nexit 104\n")
    done = machine.run("tests/setup", "servers")
    assert (done.returncode == 0) is (apt == "true"), done.stderr
    if apt == "true":
        assert "policy said 101" in machine.calls
        assert "--no-install-recommends dovecot-imapd" in machine.calls
        assert "postfix" in done.stderr, "it says what it installs"
    assert machine.policy.exists() is there
    if there:
        assert "104" in machine.policy.read_text()
