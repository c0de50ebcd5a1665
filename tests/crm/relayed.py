"""A real CRM behind everything that can fail on the way to it."""

from __future__ import annotations

import http.client

from tests.crm.fake import FakeCrm, Reply, Request


class Relayed(FakeCrm):
    """Hands every request on to the server at `port`, and its answer back; `fault` as with any fake."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._upstream = port

    def answer_in_turn(self, request: Request) -> Reply:
        """A real CRM has its own ideas of turns; who went away must hold up nobody."""
        return self.answer(request)

    def answer(self, request: Request) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self._upstream, timeout=60)
        try:
            headers = {name: value for name, value in request.headers.items() if name not in ("host", "connection")}
            connection.request(request.method, request.path, request.body, headers)
            answer = connection.getresponse()
            return Reply(answer.status, answer.read())
        finally:
            connection.close()
