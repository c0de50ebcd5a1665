"""Errors of the HTTP API: problem documents (RFC 9457)."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

Request = Any  # twisted.web.server.Request, which has no types


class Problem(Exception):
    """Answered with this status; `detail` is one sentence for a person."""

    def __init__(self, status: HTTPStatus, detail: str, **more: object) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.more = more


def not_found(detail: str) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, detail)


def unacceptable(detail: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


def write_problem(request: Request, problem: Problem) -> bytes:
    request.setResponseCode(problem.status)
    request.setHeader("content-type", "application/problem+json")
    document = {"title": problem.status.phrase, "status": int(problem.status), "detail": problem.detail}
    return json.dumps(document | problem.more).encode()
