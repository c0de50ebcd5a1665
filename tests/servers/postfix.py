"""Postfix 3.7 on loopback: submission with AUTH over implicit TLS and over STARTTLS, delivering into a Dovecot.

The users and their domains are Dovecot's; a recipient of those domains that is no user is refused at RCPT with
550 5.1.1. Mail for any other domain is taken and comes back to its sender as a bounce, as from a provider that knows
no such domain. Sign-ins are asked of Dovecot by its socket.
"""

from __future__ import annotations

import grp
import os
import pwd
import smtplib
import ssl
import time
from collections.abc import Mapping
from pathlib import Path

from tests.servers.dovecot import Dovecot
from tests.servers.processes import Server, ServerProcess, check_open, free_port, listens, need_program, need_root

DAEMONS = "/usr/lib/postfix/sbin"
QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace")


class Postfix(Server):
    """A submission server in front of `dovecot`."""

    def __init__(
        self,
        folder: Path,
        dovecot: Dovecot,
        *,
        files_sent: bool = False,
        message_size_limit: int = 60_000_000,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`files_sent`: it files a copy of what a user submits into the user's Sent, with `\\Seen`, by itself.
        `message_size_limit` in octets, offered as SIZE. `settings` are further lines of main.cf."""
        self.folder = folder
        self.dovecot = dovecot
        self.files_sent = files_sent
        self.message_size_limit = message_size_limit
        self.settings = dict(settings or {})
        self.smtps_port, self.submission_port = free_port(), free_port()
        self._process: ServerProcess | None = None

    # --- running ------------------------------------------------------------------------------------------

    def start(self) -> None:
        need_root("Postfix")
        master = need_program(f"{DAEMONS}/master", "postfix")
        self.folder.mkdir(parents=True, exist_ok=True)
        check_open(self.folder)
        self._make_queues()
        self._configure()
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "MAIL_CONFIG": str(self.folder), "LANG": "C.UTF-8"}
        self._process = ServerProcess(
            [master, "-c", str(self.folder), "-d"], log=self.folder / "postfix.out", env=environment
        )
        self._process.wait_until(self._greets, "Postfix")

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.stop()
        self._process = None

    @property
    def process(self) -> ServerProcess:
        assert self._process is not None, "Postfix is not running"
        return self._process

    def _greets(self) -> bool:
        if not (listens(self.smtps_port) and listens(self.submission_port)):
            return False
        try:
            self.connect().quit()
        except (OSError, smtplib.SMTPException):
            return False
        return True

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    # --- use ----------------------------------------------------------------------------------------------

    def connect(self) -> smtplib.SMTP_SSL:
        """Over implicit TLS, not signed in; the certificate is not looked at."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return smtplib.SMTP_SSL("127.0.0.1", self.smtps_port, local_hostname="[127.0.0.1]", context=context, timeout=60)

    def submit(self, user: str, recipients: list[str], octets: bytes) -> None:
        """As this user's client does; raises smtplib's errors."""
        with self.connect() as smtp:
            smtp.login(user, self.dovecot.users[user])
            smtp.sendmail(user, recipients, octets)

    # --- configuration ------------------------------------------------------------------------------------

    def _make_queues(self) -> None:
        owner = pwd.getpwnam("postfix").pw_uid
        postdrop = grp.getgrnam("postdrop").gr_gid
        spool = self.folder / "spool"
        for path, mode, group in (
            *((spool / name, 0o700, 0) for name in QUEUES),
            (spool / "maildrop", 0o1730, postdrop),
            (spool / "public", 0o2710, postdrop),
            (self.folder / "data", 0o700, 0),
        ):
            path.mkdir(parents=True, exist_ok=True)
            os.chown(path, owner, group)
            path.chmod(mode)
        (spool / "pid").mkdir(exist_ok=True)
        (spool / "pid" / "master.pid").unlink(missing_ok=True)

    def _configure(self) -> None:
        addresses = sorted(self.dovecot.users)
        domains = sorted({address.partition("@")[2] for address in addresses})
        (self.folder / "users").write_text("".join(f"{address} here\n" for address in addresses))
        (self.folder / "filed").write_text("".join(f"{a} {a.replace('@', '+filed@')}\n" for a in addresses))
        settings = MAIN | {
            "queue_directory": f"{self.folder}/spool",
            "data_directory": f"{self.folder}/data",
            "maillog_file": f"{self.folder}/log",
            "maillog_file_prefixes": str(self.folder),
            "virtual_mailbox_domains": " ".join(domains),
            "virtual_mailbox_maps": f"texthash:{self.folder}/users",
            "virtual_transport": f"lmtp:inet:127.0.0.1:{self.dovecot.lmtp_port}",
            "default_transport": f"lmtp:inet:127.0.0.1:{self.dovecot.lmtp_port}",  # knows no such user: a bounce
            "smtpd_tls_chain_files": str(self.dovecot.leaf.both),
            "smtpd_sasl_path": str(self.dovecot.auth_socket),
            "message_size_limit": str(self.message_size_limit),
        }
        if self.files_sent:
            settings["sender_bcc_maps"] = f"texthash:{self.folder}/filed"
        lines = [f"{name} = {value}\n" for name, value in (settings | self.settings).items()]
        (self.folder / "main.cf").write_text("".join(lines))
        (self.folder / "master.cf").write_text(
            MASTER.format(smtps_port=self.smtps_port, submission_port=self.submission_port)
        )
        past = time.time() - 60  # Postfix waits until what it reads is two seconds old
        for name in ("main.cf", "master.cf", "users", "filed"):
            os.utime(self.folder / name, (past, past))


MAIN = {
    "compatibility_level": "3.6",
    "daemon_directory": DAEMONS,
    "command_directory": "/usr/sbin",
    "mail_owner": "postfix",
    "setgid_group": "postdrop",
    "myhostname": "mail.example.test",
    "mydestination": "",
    "mynetworks": "127.0.0.0/8 [::1]/128",
    "inet_interfaces": "loopback-only",
    "inet_protocols": "all",
    "alias_maps": "",
    "local_transport": "error:5.1.1 no local users",
    "local_recipient_maps": "",
    "disable_dns_lookups": "yes",
    "smtp_dns_support_level": "disabled",
    "smtpd_peername_lookup": "no",
    "recipient_delimiter": "+",
    "biff": "no",
    "append_dot_mydomain": "no",
    "mailbox_size_limit": "0",
    "virtual_mailbox_limit": "0",
    "smtputf8_enable": "yes",
    "smtpd_tls_auth_only": "yes",
    "smtpd_tls_loglevel": "1",
    "smtpd_sasl_type": "dovecot",
    "smtpd_sasl_auth_enable": "yes",
    "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
    "smtpd_recipient_restrictions": "",
    "smtpd_error_sleep_time": "0",
    "smtpd_client_connection_count_limit": "0",
    "in_flow_delay": "0",
    "bounce_queue_lifetime": "1h",
    "minimal_backoff_time": "5s",
    "queue_run_delay": "5s",
}

MASTER = """\
127.0.0.1:{smtps_port} inet n - n - 200 smtpd -o smtpd_tls_wrappermode=yes
[::1]:{smtps_port} inet n - n - 200 smtpd -o smtpd_tls_wrappermode=yes
127.0.0.1:{submission_port} inet n - n - 200 smtpd -o smtpd_tls_security_level=encrypt
[::1]:{submission_port} inet n - n - 200 smtpd -o smtpd_tls_security_level=encrypt
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 5 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
