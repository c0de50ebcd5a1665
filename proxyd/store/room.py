"""Whether there is room where the records lie: without it no mail can be taken, for each is kept before it is sent."""

from __future__ import annotations

import shutil
from pathlib import Path

WANTED = 200 * 1024 * 1024  # octets that should be free


def too_little(folder: Path) -> str | None:
    """One sentence where less is free than should be. `folder` need not exist yet."""
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(existing).free
    if free >= WANTED:
        return None
    return f"Only {free >> 20} MB are free where the records lie ({existing}); without room no mail can be taken."
