"""A machine that sleeps, or whose clock is wrong, as one process sees it: CLOCK_BOOTTIME runs ahead, and the wall clock
is off, by what two files say.

The process is started with `environment`; `sleep(seconds)` is as if the machine had slept for so long and just woken,
`set_clock(seconds)` as if its clock had been set to so much past the right time.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long said_in(const char *name)
{
    char text[32] = "";
    int file = open(getenv(name), O_RDONLY);
    if (file < 0)
        return 0;
    if (read(file, text, sizeof text - 1) < 0)
        text[0] = 0;
    close(file);
    return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int done = syscall(SYS_clock_gettime, clock, at);
    if (done == 0 && clock == CLOCK_BOOTTIME)
        at->tv_sec += said_in("SLUMBER");
    if (done == 0 && clock == CLOCK_REALTIME)
        at->tv_sec += said_in("WRONG_CLOCK");
    return done;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}
"""


class Slumber:
    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler")
        source, library = folder / "slumber.c", folder / "slumber.so"
        source.write_text(SOURCE)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
        self._file = folder / "slumber.seconds"
        self._clock = folder / "wrong-clock.seconds"
        self._slept = 0
        self.environment = {
            "LD_PRELOAD": str(library),
            "SLUMBER": str(self._file),
            "WRONG_CLOCK": str(self._clock),
        }

    def sleep(self, seconds: int) -> None:
        self._slept += seconds
        _write(self._file, self._slept)

    def set_clock(self, seconds: int) -> None:
        _write(self._clock, seconds)


def _write(file: Path, seconds: int) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.replace(file)
