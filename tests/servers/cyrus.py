"""Cyrus IMAP 3.6 on loopback: SPECIAL-USE attributes in lower case (`\\sent`), IDLE told at once, its own mail store.

Debian's package conflicts with Dovecot's, so nothing is installed: see `unpacked`. Mail comes in by LMTP.
"""

from __future__ import annotations

import contextlib
import imaplib
import os
import re
import smtplib
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.servers.dovecot import Stored, fetch_all
from tests.servers.processes import Server, ServerFailed, ServerProcess, free_port, listens, need_program, need_root
from tests.servers.tls import ThrowAwayCa
from tests.servers.unpacked import make_root, unpacked, write

# Cyrus and every library it loads: the chroot takes nothing from the machine outside.
PACKAGES = (
    "cyrus-common",
    "cyrus-imapd",
    "libc6",
    "libcom-err2",
    "libcrypt1",
    "libdb5.3",
    "libffi8",
    "libgcc-s1",
    "libgmp10",
    "libgnutls30",
    "libgssapi-krb5-2",
    "libhogweed6",
    "libical3",
    "libicu72",
    "libidn2-0",
    "libjansson4",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "libldap-2.5-0",
    "liblzma5",
    "libnettle8",
    "libnsl2",
    "libp11-kit0",
    "libpcre3",
    "libpq5",
    "libsasl2-2",
    "libsasl2-modules",
    "libsasl2-modules-db",
    "libsqlite3-0",
    "libssl3",
    "libstdc++6",
    "libtasn1-6",
    "libtirpc3",
    "libunistring2",
    "libuuid1",
    "libwrap0",
    "libxapian30",
    "libxml2",
    "sasl2-bin",
    "zlib1g",
)
CYRUS_USER = 8  # any user that is in the chroot's passwd under the name that Debian built into Cyrus
BIN = "/usr/lib/cyrus/bin"
FOLDERS = {"Sent": "sent", "Trash": "trash"}


class Cyrus(Server):
    """An IMAP server whose `users` sign in with their address and password."""

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str],
        ca: ThrowAwayCa | None = None,
        folders: Mapping[str, str] | None = None,
    ) -> None:
        """`folders` are those that every user has beside INBOX, each with its role: `sent`, `trash` … or none ("")."""
        self.folder = folder
        self.users = dict(users)
        self.ca = ca or ThrowAwayCa(folder / "ca")
        self.folders_made = dict(FOLDERS if folders is None else folders)
        self.imaps_port, self.imap_port, self.lmtp_port = free_port(), free_port(), free_port()
        self._root = folder / "root"
        self._process: ServerProcess | None = None

    # --- running ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Returns when it answers; a second start after a stop uses the same ports and the same mail."""
        need_root("Cyrus")
        if fresh := not self._root.exists():
            self._make_root()
        self._process = ServerProcess(
            [*self._chroot, f"{BIN}/master", "-D", "-C", "/etc/imapd.conf", "-M", "/etc/cyrus.conf"],
            log=self.folder / "cyrus.out",
            env=ENVIRONMENT,
        )
        self._process.wait_until(self._greets, "Cyrus")
        if fresh:
            for user in self.users:  # the first sign-in makes the folders
                with self.imap(user):
                    pass

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    @property
    def _chroot(self) -> list[str]:
        return [need_program("/usr/sbin/chroot", "coreutils"), str(self._root)]

    def _greets(self) -> bool:
        if not all(listens(port) for port in (self.imaps_port, self.imap_port, self.lmtp_port)):
            return False
        try:
            self._connect().logout()
        except (OSError, imaplib.IMAP4.error):
            return False
        return True

    def log(self) -> str:
        """What its processes wrote to their standard error; Cyrus has no log file, and its syslog goes nowhere."""
        return (self.folder / "cyrus.out").read_text(errors="replace")

    # --- mail ---------------------------------------------------------------------------------------------

    def deliver(self, user: str, octets: bytes, sender: str = "somebody@elsewhere.test") -> None:
        """By LMTP into the user's INBOX; Cyrus puts Return-Path and Received on top."""
        with smtplib.LMTP("127.0.0.1", self.lmtp_port) as lmtp:
            refused = lmtp.sendmail(sender, [user], octets)
        assert not refused, refused

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
        """The lines of LIST with their roles, e.g. `(\\HasNoChildren \\sent) "/" Sent`."""
        with self.imap(user) as imap:
            kind, data = imap._simple_command("LIST", '""', '"*"', "RETURN (SPECIAL-USE)")
            lines = imap._untagged_response(kind, data, "LIST")[1]
        return [line.decode() for line in lines if isinstance(line, bytes)]

    def messages(self, user: str, folder: str = "INBOX") -> list[Stored]:
        """What lies in a folder, in order of UID; no such folder is an empty one."""
        with self.imap(user) as imap:
            if imap.select(f'"{folder}"', readonly=True)[0] != "OK":
                return []
            return fetch_all(imap)

    def append(self, user: str, folder: str, octets: bytes, flags: str = "\\Seen") -> int:
        """File a message as a client does; the UID it got."""
        with self.imap(user) as imap:
            kind, data = imap.append(f'"{folder}"', flags, "", octets)
            assert kind == "OK", data
            found = re.search(rb"APPENDUID \d+ (\d+)", data[0])
            assert found is not None, data
            return int(found[1])

    def _connect(self) -> imaplib.IMAP4_SSL:
        return imaplib.IMAP4_SSL("127.0.0.1", self.imaps_port, ssl_context=self.ca.client_context(), timeout=60)

    # --- the chroot ---------------------------------------------------------------------------------------

    def _make_root(self) -> None:
        folders = ["tmp", *(f"run/cyrus/{name}" for name in ("proc", "lock", "socket")), "var/spool/cyrus"]
        folders.append("var/lib/cyrus/socket")  # each imapd binds one there, by which idled wakes it
        make_root(unpacked("cyrus-3.6", PACKAGES), self._root, folders=folders, people=[("cyrus", CYRUS_USER)])
        (self._root / "tmp").chmod(0o1777)
        ports = {"imap_port": self.imap_port, "imaps_port": self.imaps_port, "lmtp_port": self.lmtp_port}
        write(self._root, "etc/imapd.conf", IMAPD_CONF + self._made_folders())
        write(self._root, "etc/cyrus.conf", CYRUS_CONF.format(bin=BIN, **ports))
        # Its master ends at once where libical knows no time zone.
        write(self._root, "usr/share/zoneinfo/zones.tab", "+0513030 -0000731 Europe/London\n")
        for name, path in (("chain", self.ca.leaf.chain), ("key", self.ca.leaf.key)):
            write(self._root, f"etc/{name}.pem", path.read_text()).chmod(0o644)
        for user, password in self.users.items():
            self._add_user(user, password)
        for name in ("run/cyrus", "var/lib/cyrus", "var/spool/cyrus", "etc/sasldb2"):
            for each in (self._root / name, *(self._root / name).rglob("*")):
                os.chown(each, CYRUS_USER, CYRUS_USER)

    def _made_folders(self) -> str:
        names = "|".join(self.folders_made)
        lines = [f"autocreate_inbox_folders: {names}", f"autocreate_subscribe_folders: {names}"] if names else []
        lines += [f"xlist-{role}: {name}" for name, role in self.folders_made.items() if role]
        return "\n".join(lines) + "\n"

    def _add_user(self, user: str, password: str) -> None:
        name, _, domain = user.rpartition("@")
        done = subprocess.run(
            [*self._chroot, "/usr/sbin/saslpasswd2", "-p", "-c", "-f", "/etc/sasldb2", "-u", domain, name],
            input=password,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ServerFailed(f"Cyrus's saslpasswd2: {done.stdout}{done.stderr}")


ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CYRUS_VERBOSE": "1"}

IMAPD_CONF = """\
configdirectory: /var/lib/cyrus
partition-default: /var/spool/cyrus
defaultpartition: default
proc_path: /run/cyrus/proc
mboxname_lockpath: /run/cyrus/lock
idlesocket: /run/cyrus/socket/idle
lmtpsocket: /run/cyrus/socket/lmtp
notifysocket: /run/cyrus/socket/notify
servername: localhost
virtdomains: userid
defaultdomain: localhost
altnamespace: yes
unixhierarchysep: yes
autocreate_quota: 0
autocreate_post: yes
allowplaintext: no
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_mech_list: PLAIN LOGIN
tls_server_cert: /etc/chain.pem
tls_server_key: /etc/key.pem
tls_session_timeout: 0
duplicatesuppression: no
lmtp_downcase_rcpt: yes
imapidlepoll: 60
zoneinfo_dir: /usr/share/zoneinfo
"""

CYRUS_CONF = """\
START {{
  recover cmd="{bin}/ctl_cyrusdb -r"
}}
SERVICES {{
  imap cmd="{bin}/imapd -U 30" listen="127.0.0.1:{imap_port}" prefork=0
  imaps cmd="{bin}/imapd -s -U 30" listen="127.0.0.1:{imaps_port}" prefork=0
  lmtp cmd="{bin}/lmtpd -a" listen="127.0.0.1:{lmtp_port}" prefork=0
}}
DAEMON {{
  idled cmd="{bin}/idled"
}}
EVENTS {{
}}
"""
