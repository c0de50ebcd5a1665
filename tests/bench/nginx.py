"""nginx's mail proxy on loopback: what others achieve who do nothing but carry octets.

It asks an HTTP server where each user's mailbox is; that server is here. It speaks no TLS towards the mailbox.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from tests.servers.processes import Server, ServerProcess, free_port, listens, need_program
from tests.servers.tls import Leaf

MODULE = Path("/usr/lib/nginx/modules/ngx_mail_module.so")


class Directory(threading.Thread):
    """Sends everybody to the one IMAP server on `imap_port`."""

    def __init__(self, imap_port: int) -> None:
        super().__init__(daemon=True)
        self._answer = (
            f"HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\nAuth-Port: {imap_port}\r\n\r\n".encode()
        )
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.port = self._listener.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                asking, _ = self._listener.accept()
            except OSError:
                return
            with asking:
                asked = b""
                while not asked.endswith(b"\r\n\r\n") and (more := asking.recv(4096)):
                    asked += more
                asking.sendall(self._answer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class NginxMail(Server):
    """`imap_port` is the server behind it; clients come to `plain` and `tls`."""

    def __init__(self, folder: Path, leaf: Leaf, imap_port: int) -> None:
        self.folder = folder
        self.leaf = leaf
        self.imap_port = imap_port
        self.plain, self.tls = free_port(), free_port()
        self._process: ServerProcess | None = None
        self._directory: Directory | None = None

    def start(self) -> None:
        program = need_program("/usr/sbin/nginx", "nginx libnginx-mod-mail")
        self.folder.mkdir()
        self._directory = Directory(self.imap_port)
        self._directory.start()
        config = self.folder / "nginx.conf"
        config.write_text(
            TEMPLATE.format(
                module=MODULE,
                folder=self.folder,
                directory=self._directory.port,
                plain=self.plain,
                tls=self.tls,
                chain=self.leaf.chain,
                key=self.leaf.key,
            )
        )
        argv = [program, "-p", str(self.folder), "-c", str(config), "-e", str(self.folder / "error.log")]
        self._process = ServerProcess(argv, log=self.folder / "nginx.out")
        self._process.wait_until(lambda: listens(self.plain) and listens(self.tls), "nginx")

    def stop(self) -> None:
        if self._directory is not None:
            self._directory.close()
        if self._process is not None:
            self._process.stop()
            self._process = None

    @property
    def pid(self) -> int:
        """Of its one worker."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])


TEMPLATE = """\
load_module {module};
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 8192;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{
  worker_connections 4096;
}}
mail {{
  auth_http 127.0.0.1:{directory}/;
  proxy_pass_error_message on;
  imap_capabilities IMAP4rev1 LITERAL+ SASL-IR ID IDLE;
  ssl_certificate {chain};
  ssl_certificate_key {key};
  proxy_timeout 1h;
  timeout 1h;
  server {{
    listen 127.0.0.1:{plain};
    protocol imap;
  }}
  server {{
    listen 127.0.0.1:{tls} ssl;
    protocol imap;
  }}
}}
"""
