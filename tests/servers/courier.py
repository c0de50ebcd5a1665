"""Courier IMAP 5.0 on loopback: no SPECIAL-USE, no CONDSTORE, and every folder lies under `INBOX.`.

Debian's package conflicts with Dovecot's, so nothing is installed: see `unpacked`.

IDLE polls once a second here. Each sign-in takes 1.2 s, in which Courier tries to reach a file monitor daemon that is
not there; `folders` and `messages` therefore keep their connection.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import imaplib
import itertools
import os
import re
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.servers.dovecot import MAIL_USER, Stored, fetch_all
from tests.servers.processes import Server, ServerFailed, ServerProcess, free_port, listens, need_program, need_root
from tests.servers.tls import ThrowAwayCa
from tests.servers.unpacked import make_root, unpacked, write

# Courier and every library it loads: the chroot takes nothing from the machine outside.
PACKAGES = (
    "courier-base",
    "courier-imap",
    "courier-authlib",
    "courier-authlib-userdb",
    "libcourier-unicode4",
    "libgamin0",
    "libgdbm6",
    "libidn12",
    "libltdl7",
    "libpcre3",
    "libgnutls30",
    "libp11-kit0",
    "libidn2-0",
    "libunistring2",
    "libtasn1-6",
    "libnettle8",
    "libhogweed6",
    "libgmp10",
    "libffi8",
    "libpam0g",
    "libaudit1",
    "libcap-ng0",
    "libcrypt1",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
)
COURIER_USER = 8  # any user that is in the chroot's passwd


class Courier(Server):
    """An IMAP server whose `users` sign in with their address and password."""

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str],
        ca: ThrowAwayCa | None = None,
        folders: tuple[str, ...] = ("Sent", "Trash"),
    ) -> None:
        """`folders` are those that every user has beside INBOX; a client sees them as `INBOX.Sent`."""
        self.folder = folder
        self.users = dict(users)
        self.ca = ca or ThrowAwayCa(folder / "ca")
        self.folders_made = folders
        self.imaps_port, self.imap_port = free_port(), free_port()
        self._root = folder / "root"
        self._count = itertools.count(1)
        self._processes: list[ServerProcess] = []
        self._looking: dict[str, imaplib.IMAP4_SSL] = {}

    # --- running ------------------------------------------------------------------------------------------

    def start(self) -> None:
        need_root("Courier")
        if not self._root.exists():
            self._make_root()
        self._write_users()
        socket = self._root / "run/courier/authdaemon/socket"
        sign_in = self._spawn("authdaemon", ["/usr/lib/courier/courier-authlib/authdaemond"], {})
        sign_in.wait_until(socket.exists, "Courier's sign-in daemon")
        login = ["/usr/lib/courier/courier/imaplogin", "/usr/bin/imapd", "Maildir"]
        listen = ["/usr/sbin/couriertcpd", "-address=127.0.0.1", "-maxprocs=100", "-maxperip=100"]
        listen += ["-nodnslookup", "-noidentlookup"]
        plain = self._spawn("imapd", [*listen, str(self.imap_port), *login], ENVIRONMENT)
        tls = ["/usr/bin/couriertls", "-server", "-tcpd", "-user=courier"]
        secure = self._spawn(
            "imapd-ssl", [*listen, str(self.imaps_port), *tls, *login], ENVIRONMENT | {"IMAP_TLS": "1"}
        )
        plain.wait_until(lambda: listens(self.imap_port), "Courier")
        secure.wait_until(self._greets, "Courier over TLS")

    def stop(self) -> None:
        for connection in self._looking.values():
            connection.shutdown()
        self._looking.clear()
        while self._processes:
            self._processes.pop().stop()
        (self._root / "run/courier/authdaemon/socket").unlink(missing_ok=True)

    def _spawn(self, name: str, command: list[str], environment: Mapping[str, str]) -> ServerProcess:
        process = ServerProcess(
            [need_program("/usr/sbin/chroot", "coreutils"), str(self._root), *command],
            log=self.folder / f"{name}.out",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} | dict(environment),
        )
        self._processes.append(process)
        return process

    def _greets(self) -> bool:
        try:
            self._connect().logout()
        except (OSError, imaplib.IMAP4.error):
            return False
        return True

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.out")))

    # --- mail ---------------------------------------------------------------------------------------------

    def deliver(self, user: str, octets: bytes) -> None:
        """Into the user's INBOX as Maildir deliveries are made: written beside, then renamed into `new`."""
        maildir = self._maildir(user)
        name = f"{next(self._count)}.{os.getpid()}.here"
        fresh = maildir / "tmp" / name
        fresh.write_bytes(octets.replace(b"\r\n", b"\n"))
        os.chown(fresh, MAIL_USER, MAIL_USER)
        fresh.rename(maildir / "new" / name)

    @contextlib.contextmanager
    def imap(self, user: str) -> Iterator[imaplib.IMAP4_SSL]:
        """A signed-in connection for looking."""
        connection = self._connect()
        try:
            connection.login(user, self.users[user])
            yield connection
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                connection.logout()

    def folders(self, user: str) -> list[str]:
        """The lines of LIST, e.g. `(\\HasNoChildren) "." "INBOX.Sent"`."""
        return [line.decode() for line in self._look(user).list()[1] if isinstance(line, bytes)]

    def messages(self, user: str, folder: str = "INBOX") -> list[Stored]:
        """What lies in a folder (`INBOX.Sent`), in order of UID; no such folder is an empty one."""
        imap = self._look(user)
        if imap.select(f'"{folder}"', readonly=True)[0] != "OK":
            return []
        return fetch_all(imap)

    def _look(self, user: str) -> imaplib.IMAP4_SSL:
        if user not in self._looking:
            connection = self._connect()
            connection.login(user, self.users[user])
            self._looking[user] = connection
        return self._looking[user]

    def append(self, user: str, folder: str, octets: bytes, flags: str = "\\Seen") -> int:
        with self.imap(user) as imap:
            kind, data = imap.append(f'"{folder}"', flags, "", octets)
            assert kind == "OK", data
            found = re.search(rb"APPENDUID \d+ (\d+)", data[0])
            assert found is not None, data
            return int(found[1])

    def _connect(self) -> imaplib.IMAP4_SSL:
        context = ssl.create_default_context(cafile=str(self.ca.ca))
        return imaplib.IMAP4_SSL("127.0.0.1", self.imaps_port, ssl_context=context, timeout=60)

    def _maildir(self, user: str) -> Path:
        return self._root / "mail" / user / "Maildir"

    # --- the chroot ---------------------------------------------------------------------------------------

    def _make_root(self) -> None:
        folders = ("etc/courier", "run/courier/authdaemon", "var/lib/courier", "tmp", "mail")
        source = unpacked("courier-5.0", PACKAGES)
        make_root(source, self._root, folders=folders, people=[("courier", COURIER_USER)])
        write(
            self._root,
            "etc/courier/authdaemonrc",
            'authmodulelist="authuserdb"\nauthmodulelistorig="authuserdb"\ndaemons=2\n'
            "authdaemonvar=/run/courier/authdaemon\nDEBUG_LOGIN=0\nDEFAULTOPTIONS=\nLOGGEROPTS=\n",
        )
        certificate = write(self._root, "etc/courier/imapd.pem", self.ca.leaf.both.read_text())
        os.chown(certificate, COURIER_USER, COURIER_USER)
        certificate.chmod(0o600)
        for user in self.users:
            self._make_maildirs(user)

    def _make_maildirs(self, user: str) -> None:
        maildir = self._maildir(user)
        for folder in (maildir, *(maildir / f".{name}" for name in self.folders_made)):
            for name in ("cur", "new", "tmp"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            if folder != maildir:
                (folder / "maildirfolder").touch()
        names = "".join(f"INBOX.{name}\n" for name in self.folders_made)
        (maildir / "courierimapsubscribed").write_text(names)
        for path in (maildir.parent, *maildir.parent.rglob("*")):
            os.chown(path, MAIL_USER, MAIL_USER)

    def _write_users(self) -> None:
        """userdb and its shadow as Courier's makeuserdb makes them."""
        plain, shadow = [], []
        for user, password in self.users.items():
            digest = base64.b64encode(hashlib.sha256(password.encode()).digest()).decode()
            plain.append(f"{user}\tuid={MAIL_USER}|gid={MAIL_USER}|home=/mail/{user}|_=")
            shadow.append(f"{user}\timappw={{SHA256}}{digest}")
        for name, lines in (("userdb", plain), ("userdbshadow", shadow)):
            done = subprocess.run(
                [
                    need_program("/usr/sbin/chroot", "coreutils"),
                    str(self._root),
                    "/usr/lib/courier/courier-authlib/makedatprog",
                    "-",
                    f"/etc/courier/{name}.tmp",
                    f"/etc/courier/{name}.dat",
                ],
                input="\n".join([*lines, "."]) + "\n",
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise ServerFailed(f"Courier's makedatprog: {done.stdout}{done.stderr}")


CAPABILITY = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE"

# /etc/courier/imapd and imapd-ssl as Debian ships them, in the form in which their start script hands them on.
ENVIRONMENT = {
    "IMAP_CAPABILITY": CAPABILITY,
    "IMAP_CAPABILITY_TLS": f"{CAPABILITY} AUTH=PLAIN",
    "IMAP_KEYWORDS": "1",
    "IMAP_ACL": "1",
    "IMAP_IDLE_TIMEOUT": "1",
    "IMAP_MAILBOX_SANITY_CHECK": "1",
    "IMAP_CHECK_ALL_FOLDERS": "0",
    "IMAP_OBSOLETE_CLIENT": "0",
    "IMAP_USELOCKS": "0",  # its dot-locks wait 3 s for a file monitor daemon that is not there
    "IMAP_ENHANCEDIDLE": "0",
    "IMAP_TRASHFOLDERNAME": "Trash",
    "IMAP_STARTTLS": "YES",
    "IMAP_TLS_REQUIRED": "0",
    "IMAPLOGINTAG": "/imap",
    "COURIERTLS": "/usr/bin/couriertls",
    "TLS_CERTFILE": "/etc/courier/imapd.pem",
    "TLS_VERIFYPEER": "NONE",
}
