"""A machine that sleeps, as one process sees it: CLOCK_BOOTTIME runs ahead by what a file says.

The process is started with `environment`; `sleep(seconds)` is as if the machine had slept for so long and just woken.
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
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int done = syscall(SYS_clock_gettime, clock, at);
    if (clock == CLOCK_BOOTTIME && done == 0) {
        char text[32] = "";
        int file = open(getenv("SLUMBER"), O_RDONLY);
        if (file >= 0) {
            if (read(file, text, sizeof text - 1) > 0)
                at->tv_sec += atol(text);
            close(file);
        }
    }
    return done;
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
        self._slept = 0
        self.environment = {"LD_PRELOAD": str(library), "SLUMBER": str(self._file)}

    def sleep(self, seconds: int) -> None:
        self._slept += seconds
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(self._slept))
        fresh.replace(self._file)
