"""Tryton 8.2 with its party module on SQLite: a real CRM, a process of its own on loopback.

Installed by pip into a virtual environment in the cache (not into proxyd's own), with a database that is made once and
copied for each test: the first start takes half a minute, each later one about two seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.servers.processes import Server, ServerFailed, ServerProcess, free_port
from tests.servers.unpacked import cache_folder

RELEASE = "8.2"
PACKAGES = (f"trytond=={RELEASE}.*", f"trytond_party=={RELEASE}.*", f"proteus=={RELEASE}.*")
DATABASE = "crm"
ADMIN = "admin"
PASSWORD = "the analytical engine 1843"


def prepared() -> Path:
    """The folder with `venv` and the made database; made the first time. Raises ServerFailed with pip's words."""
    root = cache_folder() / f"tryton-{RELEASE}"
    root.parent.mkdir(parents=True, exist_ok=True)
    with root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (root / "ready").exists():
            return root
        sys.stderr.write(f"setup: installing by pip into {root}/venv: {', '.join(PACKAGES)}\n")
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        _run(sys.executable, "-m", "venv", str(root / "venv"))
        _run(str(root / "venv/bin/pip"), "install", "--quiet", "--disable-pip-version-check", *PACKAGES)
        (root / "password").write_text(PASSWORD + "\n")
        (root / "database").mkdir()
        (root / "database" / f"{DATABASE}.sqlite").touch()
        config = _configuration(root, root / "database", 0)
        environment = {**os.environ, "TRYTONPASSFILE": str(root / "password")}
        admin = [str(root / "venv/bin/trytond-admin"), "-c", str(config), "-d", DATABASE]
        _run(*admin, "--all", "--email", "admin@example.test", env=environment)
        _run(*admin, "-u", "party", "--activate-dependencies", env=environment)
        (root / "ready").touch()
    return root


def _run(*command: str, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0:
        raise ServerFailed(f"{' '.join(command[:3])} ended with {done.returncode}\n{done.stderr.strip()[-2000:]}")


def _configuration(folder: Path, database: Path, port: int, more: str = "") -> Path:
    path = folder / "trytond.conf"
    path.write_text(
        f"[database]\nuri = sqlite://\npath = {database}\n"
        f"[web]\nlisten = 127.0.0.1:{port}\n[session]\nauthentications = password\n{more}"
    )
    return path


class Tryton(Server):
    """`with Tryton(folder) as crm:`; `crm.records(MODEL, FIELD, …)` reads the tables themselves."""

    def __init__(self, folder: Path) -> None:
        self._root = prepared()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        shutil.copytree(self._root / "database", folder / "database", dirs_exist_ok=True)
        self._config = _configuration(folder, folder / "database", self.port)
        self._process: ServerProcess | None = None
        self._environment: dict[str, str] | None = None

    def sends_by(self, uri: str, sender: str, ca: Path) -> None:
        """From its next start its own mailer uses the submission server `uri` (smtps://USER:PASSWORD@HOST:PORT)."""
        more = f"[email]\nuri = {uri}\nfrom = {sender}\n"
        self._config = _configuration(self._folder, self._folder / "database", self.port, more)
        self._environment = {**os.environ, "SSL_CERT_FILE": str(ca)}

    def start(self) -> None:
        command = [str(self._root / "venv/bin/trytond"), "-c", str(self._config), "-d", DATABASE]
        self._process = ServerProcess(command, log=self._folder / "trytond.log", env=self._environment)
        self._process.wait_until(self._answers, "trytond")

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            body = json.dumps({"id": 1, "method": "common.server.version", "params": []})
            connection.request("POST", "/rpc/", body, {"Content-Type": "application/json"})
            return connection.getresponse().status == 200
        return False

    def password_file(self) -> Path:
        path = self._folder / "password"
        path.touch(mode=0o600)
        path.write_text(PASSWORD + "\n")
        return path

    def scripted(self, script: str, *arguments: str) -> Any:
        """What a program of Tryton's own client prints, one JSON document; its connection is made."""
        place = f"{ADMIN}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/{DATABASE}/rpc/"
        opening = "import json, sys, proteus\nfrom proteus import Model\n"
        opening += f"config = proteus.config.set_xmlrpc('http://{place}')\n"
        command = [str(self._root / "venv/bin/python"), "-c", opening + script, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerFailed(done.stderr[-3000:])
        return json.loads(done.stdout)

    def records(self, model: str, *fields: str) -> list[tuple[Any, ...]]:
        """As they lie in the database, oldest first."""
        with contextlib.closing(sqlite3.connect(self._folder / "database" / f"{DATABASE}.sqlite")) as connection:
            table = model.replace(".", "_")
            return list(connection.execute(f'SELECT {", ".join(fields)} FROM "{table}" ORDER BY id'))

    def files(self) -> dict[str, bytes]:
        """Each attachment's octets by its name."""
        found = {}
        for name, data, file_id in self.records("ir.attachment", "name", "data", "file_id"):
            if file_id:
                data = next((self._folder / "database").rglob(file_id)).read_bytes()
            found[name] = bytes(data)
        return found
