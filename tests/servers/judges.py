"""The CRM vendors' own Python clients, as judges of our fakes: in a virtual environment of their own in the cache.

They are large (HubSpot's alone has 50 MB) and nothing of proxyd needs them: a script of tests/crm/judges runs there.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.servers.processes import ServerFailed
from tests.servers.unpacked import cache_folder

PACKAGES = (
    "hubspot-api-client==12.*",
    "simple-salesforce==1.12.*",
    "OdooRPC==0.10.*",
    "espo==0.1.*",
    "pypipedrive-client==1.0.*",
)
SCRIPTS = Path(__file__).parents[1] / "crm" / "judges"


def python() -> Path:
    """The interpreter that has them; made the first time. Raises ServerFailed with pip's words."""
    root = cache_folder() / "judges-2"
    root.parent.mkdir(parents=True, exist_ok=True)
    with root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "ready").exists():
            sys.stderr.write(f"setup: installing by pip into {root}: {', '.join(PACKAGES)}\n")
            shutil.rmtree(root, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(root))
            _run(str(root / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", *PACKAGES)
            (root / "ready").touch()
    return root / "bin/python"


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        raise ServerFailed(f"{' '.join(command[:3])} ended with {done.returncode}\n{done.stderr.strip()[-3000:]}")
    return done.stdout


def judge(name: str, *arguments: str) -> Any:
    """What `tests/crm/judges/judge_NAME.py` prints: one JSON document."""
    return json.loads(_run(str(python()), str(SCRIPTS / f"judge_{name}.py"), *arguments))
