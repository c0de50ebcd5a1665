"""Marionette, the protocol by which Mozilla's programs are driven from outside.

Why our own: its one client library in Python brings its own process and profile handling for Firefox, and what is
needed of the wire is one message each way: `LENGTH:[0, id, command, parameters]`, answered by
`LENGTH:[1, id, error, result]`.
"""

from __future__ import annotations

import json
import socket
from typing import Any


class MarionetteError(Exception):
    """What the program says of a script that failed: the message and its JavaScript stack."""


class Marionette:
    """A session in the program's own (`chrome`) context. `seconds` is how long one script may take."""

    def __init__(self, port: int, *, seconds: float = 60) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=seconds + 10)
        self._stream = self._socket.makefile("rb")
        self._last = 0
        self._read()  # who it is, and its protocol's version
        self.command("WebDriver:NewSession", {})
        self.command("Marionette:SetContext", {"value": "chrome"})
        self.command("WebDriver:SetTimeouts", {"script": int(seconds * 1000)})

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def command(self, name: str, parameters: dict[str, Any]) -> Any:
        self._last += 1
        octets = json.dumps([0, self._last, name, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(octets), octets))
        kind, number, error, result = self._read()
        assert (kind, number) == (1, self._last)
        if error is not None:
            raise MarionetteError(f"{error['error']}: {error['message']}\n{error['stacktrace']}")
        return result

    def script(self, body: str, *arguments: Any) -> Any:
        """What the body of an async function returns; it finds `arguments` there and may await."""
        wrapped = (
            "const done = arguments[arguments.length - 1];"
            "(async function() {" + body + "}).apply(null, arguments).then("
            "value => done({value}), error => done({error: String(error), stack: error && error.stack}));"
        )
        given = {"script": wrapped, "args": list(arguments), "newSandbox": False, "sandbox": "system"}
        answer = self.command("WebDriver:ExecuteAsyncScript", given)["value"]
        if "error" in answer:
            raise MarionetteError(f"{answer['error']}\n{answer.get('stack')}")
        return answer.get("value")

    def _read(self) -> Any:
        length = b""
        while (octet := self._stream.read(1)) != b":":
            if not octet:
                raise MarionetteError("the program has closed the connection")
            length += octet
        return json.loads(self._stream.read(int(length)))
