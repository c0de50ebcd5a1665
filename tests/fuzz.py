"""`make fuzz`, or `python -m tests.fuzz [MINUTES] [arguments of pytest]`: every property, for longer.

The tests are those of `make test`; each round gives them four times the examples of the round before, until the time
is over. What is found is shown shrunk, and for most tests it is tried first in every later run on this machine.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from contextlib import suppress
from time import monotonic

FIRST = 250  # examples of each test in the first round
WHERE = ("tests/formats", "tests/rules", "tests/relay", "tests/provider", "tests/config", "tests/watcher")
NONE_FAILED = (0, 5)  # exit codes of pytest; 5: there was nothing to run


def a_round(examples: int, seconds: float, more: list[str]) -> int | None:
    """pytest's exit code; None where the time was over before its end."""
    print(f"--- {examples} examples of each, {seconds / 60:.1f} minutes left", flush=True)
    command = [sys.executable, "-m", "pytest", "-m", "hypothesis and not servers", "-q", "--show-capture=no"]
    running = subprocess.Popen(
        [*command, *(more or WHERE)], env={**os.environ, "PROXYD_FUZZ_EXAMPLES": str(examples)}, start_new_session=True
    )
    try:
        return running.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description="every property, tried with ever more examples")
    parser.add_argument("minutes", nargs="?", type=float, default=10.0)
    given, more = parser.parse_known_args()
    end, examples = monotonic() + given.minutes * 60, FIRST
    while (left := end - monotonic()) > 0:
        code = a_round(examples, left, more)
        if code is None:
            break
        if code not in NONE_FAILED:
            return code
        examples *= 4
    print("--- time is over, nothing was found", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
