"""What the daemon asks of the kernel and of the C library for its own process, before it does anything else."""

from __future__ import annotations

import contextlib
import ctypes
import resource

MOST_FILES = 65536  # descriptors
M_ARENA_MAX = -8  # mallopt(3)
PR_SET_DUMPABLE = 4  # prctl(2)


def set_limits() -> None:
    allow_many_sockets()
    share_one_arena()
    leave_no_image()


def allow_many_sockets() -> None:
    """Each mail client's IMAP connection takes two; the usual soft limit of 1024 is for programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def share_one_arena() -> None:
    """glibc gives each thread a heap of its own, and what one of them freed stays with it: twenty messages of 25 MB at
    once left a third of their memory behind (75 MiB instead of 50). Other C libraries have no such call."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def leave_no_image() -> None:
    """No core is written, also not into a program that collects them (core(5): the limit does not hold for those), and
    no other process of the same user can read this one's memory (ptrace(2)). Passwords in use and the store's key lie
    there, and Python cannot wipe what it has let go. Programs that we start are as they were."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
