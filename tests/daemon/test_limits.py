"""What the daemon's process leaves to others: no core, no memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.servers  # as root, to become somebody whom the kernel refuses something

ROOT = Path(__file__).parents[2]
SOMEBODY = 65534

# Imported before it becomes somebody else, who may not be allowed to read this folder; becoming that is what the kernel
# forbids cores for as well, so it is allowed them again.
AS_SOMEBODY = f"""
import ctypes, os, resource, sys
from proxyd.daemon.limits import set_limits

def as_usual():
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

os.chdir(sys.argv[1])
as_usual()
os.setgroups([])
os.setgid({SOMEBODY})
os.setuid({SOMEBODY})
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
"""
DUMPED = """
child = os.fork()
if not child:
    {before}
    os.abort()
print(os.WCOREDUMP(os.waitpid(child, 0)[1]))
"""
READ = """
{before}
ours = os.getpid()
child = os.fork()
if not child:
    try:
        os.open(f"/proc/{{ours}}/environ", os.O_RDONLY)
    except PermissionError:
        os._exit(1)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(open("/proc/self/net/tcp").readline() != "", open("/proc/self/uid_map").readline() != "")  # relay.peer needs them
"""


def said(script: str, folder: Path) -> str:
    folder.chmod(0o777)
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["/usr/bin/env", sys.executable, "-c", AS_SOMEBODY + script, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_core_is_written(tmp_path: Path) -> None:
    assert said(DUMPED.format(before="pass"), tmp_path) == "True\n", "the kernel would write one"
    assert said(DUMPED.format(before="set_limits()"), tmp_path) == "False\n"
    # A program that collects cores gets one whatever the limit is; there the second lock counts.
    undone = (
        "set_limits(); resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)"
    )
    assert said(DUMPED.format(before=undone), tmp_path) == "False\n"


def test_no_other_program_of_the_same_user_reads_its_memory(tmp_path: Path) -> None:
    assert said(READ.format(before="pass"), tmp_path).splitlines()[0] == "0", "the kernel would let it"
    assert said(READ.format(before="set_limits()"), tmp_path).splitlines() == ["1", "True True"]
