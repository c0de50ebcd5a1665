"""The places on this machine that tell its programs whom to trust: the system's store, and NSS databases.

Thunderbird and Chromium look into an NSS database of their own, most other programs into the system's store. What is
put into either bears the name proxyd and the certificate's fingerprint, so that exactly that is taken out again.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from proxyd.web import certificate_lines as lines

TIMEOUT = 120.0  # seconds; update-ca-certificates reads some hundred files
ADMINISTRATORS = "/usr/sbin:/sbin"  # not in everybody's PATH
TRUSTED_FOR_SERVERS = "C,,"  # certutil -t: a CA for TLS servers, for neither mail nor code

# Each below the home folder; a database is a folder with a cert9.db.
NSS_PLACES = (
    ("Thunderbird", ".thunderbird/*"),
    ("Thunderbird", ".config/thunderbird/*"),
    ("Thunderbird (snap)", "snap/thunderbird/common/.thunderbird/*"),
    ("Thunderbird (flatpak)", ".var/app/org.mozilla.Thunderbird/.thunderbird/*"),
    ("Thunderbird (flatpak)", ".var/app/org.mozilla.thunderbird/.thunderbird/*"),
    ("Chromium and others", ".pki/nssdb"),
)

_OUR_NICKNAME = re.compile(r"proxyd [0-9A-F]{64}")
_LISTED = re.compile(r"(?P<nickname>\S.*?)\s+(?P<trust>[a-zA-Z]*,[a-zA-Z]*,[a-zA-Z]*)\s*")
_OUR_FILE = re.compile(r"proxyd-[0-9a-f]{16}\.crt")


class NotDone(Exception):
    """Why a store was not changed, in a sentence; `by_hand` is what the person can type, "" where nothing is known."""

    def __init__(self, why: str, by_hand: str = "") -> None:
        super().__init__(why)
        self.by_hand = by_hand


@dataclass(frozen=True)
class Authority:
    """The local CA. The fingerprints are plain upper-case hex."""

    file: Path
    pem: str
    sha256: str
    sha1: str
    ends: datetime

    @property
    def nickname(self) -> str:
        return f"proxyd {self.sha256}"

    @property
    def file_name(self) -> str:
        return f"proxyd-{self.sha256[:16].lower()}.crt"


def authority(file: Path) -> Authority:
    """Raises OSError or ValueError where `file` is no certificate."""
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    sha1 = certificate.fingerprint(hashes.SHA1())
    sha256 = certificate.fingerprint(hashes.SHA256())
    return Authority(file, pem, sha256.hex().upper(), sha1.hex().upper(), certificate.not_valid_after_utc)


class Store(Protocol):
    """`kind` is system or nss; `name` is for a person; `place` is its file or folder."""

    kind: str
    name: str
    place: Path

    def trusts(self, ours: Authority) -> bool:
        """Raises NotDone where that cannot be found out."""
        ...

    def trust(self, ours: Authority) -> None:
        """Put it in, take older ones of proxyd out. Raises NotDone."""
        ...

    def forget(self, ours: Authority | None) -> int:
        """Take out whatever `trust` put in, now or earlier; returns how many. Raises NotDone."""
        ...


def stores(home: Path, root: Path, only: str | None = None) -> list[Store]:
    """Every store there is: the system's below `root`, NSS databases below `home`; `only` one kind of them."""
    found: list[Store] = [SystemStore(root), *nss_databases(home)]
    return [store for store in found if only in (None, store.kind)]


# --- the system's store --------------------------------------------------------------------------------------


class SystemStore:
    """Debian's: files in /usr/local/share/ca-certificates, put together by update-ca-certificates(8)."""

    kind = "system"
    name = "the system"

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._anchors = root / "usr/local/share/ca-certificates"
        self._links = root / "etc/ssl/certs"
        self.place = self._links / "ca-certificates.crt"

    def trusts(self, ours: Authority) -> bool:
        try:
            bundle = self.place.read_text("ascii", "replace")
        except OSError:
            return False
        return "".join(ours.pem.split()) in "".join(bundle.split())

    def trust(self, ours: Authority) -> None:
        target = self._anchors / ours.file_name
        older = [each for each in self._ours() if each != target]
        by_hand = lines.debian_install(ours.file, target, older, shlex.join(self._update(fresh=bool(older))))
        self._ready(by_hand, lines.p11_install(ours.file))
        try:
            for each in older:
                each.unlink()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(ours.pem)
            target.chmod(0o644)
        except OSError as error:
            raise NotDone(f"{error.filename} cannot be written: {error.strerror}", by_hand) from None
        _done(self._update(fresh=bool(older)), by_hand)
        if not self.trusts(ours):
            raise NotDone(f"update-ca-certificates did not put it into {self.place}", by_hand)

    def forget(self, ours: Authority | None) -> int:
        there = self._ours()
        if not there:
            return 0
        update = self._update(fresh=True)  # without this it leaves its links behind
        by_hand = lines.debian_remove(there, shlex.join(update))
        self._ready(by_hand, lines.p11_remove(ours.file) if ours else "")
        try:
            for each in there:
                each.unlink()
        except OSError as error:
            raise NotDone(f"{error.filename} cannot be removed: {error.strerror}", by_hand) from None
        _done(update, by_hand)
        return len(there)

    def _ours(self) -> list[Path]:
        return sorted(each for each in self._anchors.glob("proxyd-*.crt") if _OUR_FILE.fullmatch(each.name))

    def _update(self, *, fresh: bool) -> list[str]:
        command = ["update-ca-certificates", *(["--fresh"] if fresh else [])]
        if self._root == Path("/"):
            return command
        below = {
            "--certsconf": "etc/ca-certificates.conf",
            "--certsdir": "usr/share/ca-certificates",
            "--localcertsdir": "usr/local/share/ca-certificates",
            "--etccertsdir": "etc/ssl/certs",
            "--hooksdir": "etc/ca-certificates/update.d",
        }
        return command + [word for option, path in below.items() for word in (option, str(self._root / path))]

    def _ready(self, by_hand: str, elsewhere: str) -> None:
        if _program("update-ca-certificates") is None:
            raise NotDone("this system has no update-ca-certificates; with p11-kit type", elsewhere)
        first = next(each for each in (self._anchors, *self._anchors.parents) if each.exists())
        if not (_writable(first) and _writable(self._links)):
            raise NotDone("the system's store needs root", by_hand)


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK)


# --- NSS databases -------------------------------------------------------------------------------------------


def nss_databases(home: Path) -> Iterator[NssStore]:
    for program, pattern in NSS_PLACES:
        for found in sorted(home.glob(f"{pattern}/cert9.db")):
            folder = found.parent
            yield NssStore(folder, f"{program} {folder.name}" if pattern.endswith("*") else program)


class NssStore:
    """One database, changed by certutil(1) of NSS."""

    kind = "nss"

    def __init__(self, folder: Path, name: str) -> None:
        self.place = folder
        self.name = name

    def trusts(self, ours: Authority) -> bool:
        listed = self._listed()
        if ours.nickname in listed:
            return _for_servers(listed[ours.nickname])
        # Imported by hand it has another name.
        return any(_for_servers(trust) and self._holds(nickname, ours) for nickname, trust in listed.items())

    def trust(self, ours: Authority) -> None:
        by_hand = lines.nss_install(self.place, ours.nickname, ours.file)
        older = [nickname for nickname in self._ours() if nickname != ours.nickname]
        self._delete(older)  # first: authorities made on one day have one subject, which NSS takes for one nickname
        was_there = ours.nickname in self._listed()
        added = ["-A", "-n", ours.nickname, "-t", TRUSTED_FOR_SERVERS, "-a"]
        try:
            self._certutil(*added, given=ours.pem, by_hand=by_hand)
        except NotDone:
            if not was_there:
                self._delete([nickname for nickname in self._ours() if nickname == ours.nickname])
            raise
        if not self.trusts(ours):
            raise NotDone(f"certutil did not put it into {self.place}", by_hand)

    def forget(self, ours: Authority | None) -> int:
        there = self._ours()
        self._delete(there)
        return len(there)

    def _ours(self) -> list[str]:
        return [nickname for nickname in self._listed() if _OUR_NICKNAME.fullmatch(nickname)]

    def _delete(self, nicknames: list[str]) -> None:
        for nickname in nicknames:
            self._certutil("-D", "-n", nickname)

    def _listed(self) -> dict[str, str]:
        """Nickname to trust, as `C,,`."""
        rows = map(_LISTED.fullmatch, self._certutil("-L").splitlines())
        return {row["nickname"]: row["trust"] for row in rows if row}

    def _holds(self, nickname: str, ours: Authority) -> bool:
        return "".join(ours.pem.split()) in "".join(self._certutil("-L", "-n", nickname, "-a").split())

    def _certutil(self, *words: str, given: str = "", by_hand: str = "") -> str:
        return _done(["certutil", *words, "-d", f"sql:{self.place}"], by_hand, given)


def _for_servers(trust: str) -> bool:
    return "C" in trust.partition(",")[0]


# --- programs ------------------------------------------------------------------------------------------------


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{ADMINISTRATORS}")


def _done(command: list[str], by_hand: str = "", given: str = "") -> str:
    """What the program printed. Raises NotDone where it is missing or fails."""
    program = _program(command[0])
    if program is None:
        raise NotDone("certutil is missing", "sudo apt install libnss3-tools")
    environment = os.environ | {"LC_ALL": "C.UTF-8", "PATH": f"{os.environ.get('PATH', os.defpath)}:{ADMINISTRATORS}"}
    try:
        # Without a terminal: a database with a password must not wait for a person who reads something else.
        done = subprocess.run(
            [program, *command[1:]],
            input=given.encode(),
            capture_output=True,
            timeout=TIMEOUT,
            env=environment,
            start_new_session=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotDone(f"{command[0]} cannot be run: {error}", by_hand) from None
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        if any("SEC_ERROR_BAD_PASSWORD" in word or "SEC_ERROR_TOKEN_NOT_LOGGED_IN" in word for word in words):
            raise NotDone("it has a primary password, which certutil asks for if you type", by_hand)
        raise NotDone(f"{command[0]}: {words[-1] if words else f'exit status {done.returncode}'}", by_hand)
    return done.stdout.decode("utf-8", "replace")
