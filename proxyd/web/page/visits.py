"""Somebody who is signed in, and the pages that are for them alone."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred

from proxyd.errors import ProxydError
from proxyd.web.answers import Unacceptable
from proxyd.web.page import guard
from proxyd.web.problems import Problem, Request, unacceptable
from proxyd.web.viewer import Viewer

app = Klein()  # every page's routes, in whichever module they stand

MOST_POSTED = 40 * 1024 * 1024  # octets: a message with its attachments

Handler = Callable[..., Coroutine[Any, Any, str | bytes]]


@dataclass(frozen=True, slots=True)
class Visit:
    """What they may see, and the token of what they post."""

    viewer: Viewer
    token: str

    @property
    def person(self) -> str:
        """Whose drafts and keys: an account's address, "" = the owner."""
        return self.viewer.person or ""


def page(handler: Handler) -> Callable[..., Deferred[bytes]]:
    """For whoever is signed in: the handler is given the visit. What goes wrong becomes a page that says so."""

    @functools.wraps(handler)
    def respond(self: Any, request: Request, **parts: str) -> Deferred[bytes]:
        async def written() -> bytes:
            guard.harden(request)
            visit: Visit | None = None
            try:
                if guard.from_elsewhere(request):
                    raise Problem(HTTPStatus.FORBIDDEN, "another page asked for this; open proxyd's page by itself")
                visit = self.visit(request)
                if visit is None:
                    return bytes(self.sign_in_page(request))
                if request.too_long:
                    raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MOST_POSTED >> 20} MB are taken")
                result = await handler(self, request, visit, **parts)
            except Problem as error:
                return bytes(self.problem_page(request, error, visit))
            except Unacceptable as error:
                return bytes(self.problem_page(request, unacceptable(str(error)), visit))
            except ProxydError as error:
                return bytes(self.problem_page(request, Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)), visit))
            if isinstance(result, bytes):
                return result
            request.setHeader("content-type", "text/html; charset=utf-8")
            return result.encode("utf-8", "replace")

        return Deferred.fromFuture(asyncio.ensure_future(written()))

    return respond


def posted_here(handler: Handler) -> Handler:
    """Of a page that changes something: only what our own page posted, in this session, comes to the handler."""

    @functools.wraps(handler)
    async def checked(self: Any, request: Request, visit: Visit, **parts: str) -> str | bytes:
        guard.posted_by_us(request, visit.token, argument(request, "token"))
        return await handler(self, request, visit, **parts)

    return checked


def go(request: Request, path: str) -> bytes:
    """See other: what was posted is not posted again by a reload."""
    request.setResponseCode(HTTPStatus.SEE_OTHER)
    request.setHeader("location", path)
    return b""


def argument(request: Request, name: str) -> str:
    values = request.args.get(name.encode()) or [b""]
    return str(values[0].decode("utf-8", "replace"))
