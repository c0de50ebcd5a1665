"""The table of the HTTP API's routes: each handler's own signature says what it takes and answers.

Why this way: one table gives klein its routes, pydantic its checks and OpenAPI its document; there is no second place
in which a parameter could be described otherwise than it is read.

A handler is a coroutine method. `request` and `viewer` are given to it where it names them, and `asking`, which tells
who the viewer is by now, for an answer that goes on; `query` and `body` are read into the pydantic models of their
annotations; every other parameter is a part of the path, `str` or `int`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar, get_type_hints

import structlog
from klein import Klein
from pydantic import BaseModel, ValidationError
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException

from proxyd.errors import ProxydError, TryLater
from proxyd.web.answers import Document, Unacceptable
from proxyd.web.problems import Problem, Request, unacceptable, write_problem
from proxyd.web.viewer import May, Viewer

PREFIX = "/api/v1"
_GIVEN = ("self", "request", "viewer", "asking")

M = TypeVar("M", bound=BaseModel)
F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, Any]])

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Route:
    """`path` is written as OpenAPI does (`contacts/{email}/timeline`); `answer` is the model of a JSON answer or the
    media type of any other; `takes` are the media types of a body that the handler reads, `takes_model` the model
    of a JSON document that it takes as well; `headers` are fields of the request that say something here."""

    method: str
    path: str
    name: str
    summary: str
    may: May
    answer: type[BaseModel] | str
    status: tuple[HTTPStatus, ...]
    problems: tuple[HTTPStatus, ...]
    parts: dict[str, type]
    query: type[BaseModel] | None
    body: type[BaseModel] | None
    takes: tuple[str, ...]
    takes_model: type[BaseModel] | None
    headers: tuple[str, ...]

    @property
    def rule(self) -> str:
        """The path as klein has it. A text may hold slashes where it stands alone between two of them: addresses do."""

        def converter(found: re.Match[str]) -> str:
            name = found[1]
            if self.parts[name] is int:
                return f"<int:{name}>"
            return f"<path:{name}>" if name in ("email", "address") else f"<{name}>"

        return self.url(re.sub(r"\{(\w+)\}", converter, self.path))

    def url(self, path: str) -> str:
        return path if path.startswith("/") else f"{PREFIX}/{path}"


def route(
    method: str,
    path: str,
    *,
    answer: type[BaseModel] | str,
    may: May = May.READ,
    status: Sequence[HTTPStatus] = (HTTPStatus.OK,),
    problems: Sequence[HTTPStatus] = (),
    takes: Sequence[str] = (),
    takes_model: type[BaseModel] | None = None,
    headers: Sequence[str] = (),
) -> Callable[[F], F]:
    """Marks a coroutine method as the handler of a route; its docstring's first sentence is the summary."""

    def mark(handler: F) -> F:
        hints = get_type_hints(handler)
        named = [each for each in inspect.signature(handler).parameters if each not in _GIVEN]
        made = Route(
            method=method,
            path=path,
            name=handler.__name__,
            summary=" ".join((handler.__doc__ or "").strip().partition("\n\n")[0].split()),
            may=may,
            answer=answer,
            status=tuple(status),
            problems=tuple(problems),
            parts={each: hints[each] for each in named if each not in ("query", "body")},
            query=hints.get("query"),
            body=hints.get("body"),
            takes=tuple(takes),
            takes_model=takes_model,
            headers=tuple(headers),
        )
        assert set(made.parts) == set(re.findall(r"\{(\w+)\}", path)), path
        handler.route = made  # type: ignore[attr-defined]
        return handler

    return mark


def table(of: object) -> list[Route]:
    """Every route of a class or of an object of it, in the order in which they stand."""
    kind = of if isinstance(of, type) else type(of)
    there = (each for base in reversed(kind.__mro__) for each in vars(base).values())
    return [each.route for each in there if hasattr(each, "route")]


def serve(routes: object, app: Klein, viewer: Callable[[Request], Viewer]) -> None:
    """Give `app` every route of `routes`. `viewer` tells who asks and raises Problem for who must not."""
    for each in table(routes):
        handler = getattr(routes, each.name)
        app.route(each.rule, methods=[each.method], endpoint=each.name)(_answering(each, handler, viewer))
    answer_faults(app)


def _answering(
    made: Route, handler: Callable[..., Coroutine[Any, Any, Any]], viewer: Callable[[Request], Viewer]
) -> Callable[..., Deferred[bytes]]:
    async def answered(request: Request, **parts: Any) -> Document | bytes:
        who = viewer(request)
        if not who.may.includes(made.may):
            raise Problem(HTTPStatus.FORBIDDEN, _NOT_ALLOWED[made.may])
        given: dict[str, Any] = {
            "request": request,
            "viewer": who,
            "asking": functools.partial(_still, viewer, request),
        }
        wanted = inspect.signature(handler).parameters
        taken = {name: value for name, value in given.items() if name in wanted} | parts
        arguments = _arguments(request)
        if made.query is not None:
            taken["query"] = _read(made.query, arguments, "query")
        elif arguments:
            raise unacceptable(f"nothing is known by the name {next(iter(arguments))!r} here")
        if made.body is not None:
            taken["body"] = _read(made.body, json_object(request), "body")
        result: Document | bytes = await handler(**taken)
        return result

    def respond(request: Request, **parts: Any) -> Deferred[bytes]:
        return Deferred.fromFuture(asyncio.ensure_future(written(request, answered(request, **parts))))

    return respond


def _still(viewer: Callable[[Request], Viewer], request: Request) -> Viewer | None:
    """Who is asking; None where they may ask no more: their token was revoked, or their account is gone."""
    if request.channel is None:  # they have left
        return None
    try:
        return viewer(request)
    except Problem:
        return None


_NOT_ALLOWED = {
    May.READ: "this token may not read",
    May.SEND: "this token may read only",
    May.OWNER: "only the daemon's own user may do this, on the control socket",
}


async def written(request: Request, answer: Coroutine[Any, Any, Document | bytes]) -> bytes:
    """The document as JSON, or the problem document of what was raised."""
    try:
        result = await answer
    except Problem as problem:
        return write_problem(request, problem)
    except Unacceptable as error:
        return write_problem(request, unacceptable(str(error)))
    except TryLater as error:
        return write_problem(request, Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)))
    except ProxydError as error:
        return write_problem(request, Problem(HTTPStatus.CONFLICT, str(error)))
    if isinstance(result, bytes):
        return result
    request.setHeader("content-type", "application/json")
    return json.dumps(result, ensure_ascii=False).encode("utf-8", "replace")


# --- reading a request ---------------------------------------------------------------------------------------


def _arguments(request: Request) -> dict[str, str]:
    return {
        name.decode("utf-8", "replace"): values[0].decode("utf-8", "replace") for name, values in request.args.items()
    }


def _read(model: type[BaseModel], said: Document, where: str) -> BaseModel:
    """Raises Problem, each error with the place it is about. What was given is not repeated: it may be a secret."""
    try:
        return model.model_validate(said)
    except ValidationError as error:
        errors = [
            {"where": ".".join(map(str, (where, *each["loc"]))), "why": each["msg"]}
            for each in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        first = errors[0]
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"{first['where']}: {first['why']}", errors=errors[:_MOST_ERRORS]
        ) from None


_MOST_ERRORS = 20


def posted(request: Request) -> bytes:
    """The request's body. Raises Problem where it was longer than is taken."""
    if getattr(request, "too_long", False):
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request's body is longer than is taken")
    octets: bytes = request.content.read()
    return octets


def media_type(request: Request) -> str:
    """In lower case, without parameters; "" where none is said."""
    said = (request.getHeader(b"content-type") or b"").decode("latin-1")
    return str(said.partition(";")[0].strip().lower())


def json_model(request: Request, model: type[M]) -> M:
    """The request's JSON document as `model`; raises Problem."""
    read: Any = _read(model, json_object(request), "body")
    made: M = read
    return made


def json_object(request: Request) -> Document:
    octets = posted(request)
    if media_type(request) not in ("", "application/json"):
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a body of type application/json is taken here")
    try:
        document = json.loads(octets)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, "the request's body is no JSON object")
    return document


# --- what went wrong -----------------------------------------------------------------------------------------


def answer_faults(app: Klein) -> None:
    """Give `app` problem documents for what no route answers and for what a route fails at."""
    routes: Any = app
    routes.handle_errors(HTTPException)(_no_such_route)
    routes.handle_errors(Exception)(_our_fault)


def _no_such_route(*said: Any) -> bytes:
    request, failure = _of_failure(said)
    error: Any = failure.value
    status = HTTPStatus(error.code or 500)
    if allowed := getattr(error, "valid_methods", None):
        request.setHeader("allow", ", ".join(sorted(allowed)))
    return write_problem(request, Problem(status, error.description or status.phrase))


def _our_fault(*said: Any) -> bytes:
    request, failure = _of_failure(said)
    log.error("a request failed", path=request.path.decode("ascii", "replace"), exc_info=failure.value)
    return write_problem(request, Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of proxyd; see its log"))


def _of_failure(said: Sequence[Any]) -> tuple[Request, Failure]:
    """klein names the object too whose method failed, where it is one's."""
    request, failure = said[-2:]
    return request, failure
