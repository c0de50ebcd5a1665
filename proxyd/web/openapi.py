"""The OpenAPI 3.1 document of a table of routes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from proxyd.web.documents import ProblemDocument
from proxyd.web.routes import Route
from proxyd.web.viewer import May

_REFERENCE = "#/components/schemas/{model}"
_PROBLEM = "application/problem+json"
_ANYWHERE = (HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """Every route with what it takes, answers and raises."""
    listed = list(routes)
    answers = list(dict.fromkeys([each for each in map(_answer_model, listed) if each] + [ProblemDocument]))
    bodies = list(dict.fromkeys(model for each in listed for model in (each.body, each.takes_model) if model))
    models: list[tuple[type[BaseModel], Any]] = [(each, "serialization") for each in answers]
    models += [(each, "validation") for each in bodies]
    _, schemas = models_json_schema(models, by_alias=True, ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for each in listed:
        paths.setdefault(each.url(each.path), {})[each.method.lower()] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {"title": "proxyd", "version": version, "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _answer_model(route: Route) -> type[BaseModel] | None:
    return None if isinstance(route.answer, str) else route.answer


def _operation(route: Route) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "x-may": str(route.may),
        "responses": {str(int(status)): _answered(route, status) for status in route.status} | _problems(route),
    }
    if parameters := [*_parts(route), *_query(route.query), *_headers(route)]:
        made["parameters"] = parameters
    if body := _body(route):
        made["requestBody"] = {"required": route.body is not None or route.takes_model is not None, "content": body}
    return made


def _body(route: Route) -> dict[str, Any]:
    taken: dict[str, Any] = {each: {"schema": {"type": "string", "format": "binary"}} for each in route.takes}
    if model := route.body or route.takes_model:
        taken = {"application/json": {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}} | taken
    return taken


def _answered(route: Route, status: HTTPStatus) -> dict[str, Any]:
    if status is HTTPStatus.NO_CONTENT:
        return {"description": status.phrase}
    model = _answer_model(route)
    if model is None:
        return {"description": status.phrase, "content": {str(route.answer): {}}}
    schema = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"description": status.phrase, "content": {"application/json": {"schema": schema}}}


def _problems(route: Route) -> dict[str, Any]:
    possible: Sequence[HTTPStatus] = (*_ANYWHERE, *route.problems)
    if route.may is not May.READ:
        possible = (*possible, HTTPStatus.FORBIDDEN)
    if route.body is not None or route.takes:
        possible = (
            *possible,
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )
    content = {_PROBLEM: {"schema": {"$ref": _REFERENCE.format(model=ProblemDocument.__name__)}}}
    return {str(int(each)): {"description": each.phrase, "content": content} for each in sorted(set(possible))}


def _parts(route: Route) -> Iterator[dict[str, Any]]:
    for name, kind in route.parts.items():
        schema = {"type": "integer", "minimum": 0} if kind is int else {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _headers(route: Route) -> Iterator[dict[str, Any]]:
    for name in route.headers:
        yield {"name": name, "in": "header", "required": False, "schema": {"type": "string", "maxLength": 255}}


def _query(model: type[BaseModel] | None) -> Iterator[dict[str, Any]]:
    if model is None:
        return
    schema = model.model_json_schema()
    for name, said in schema.get("properties", {}).items():
        required = name in schema.get("required", ())
        about = {key: value for key, value in said.items() if key not in ("title", "description")}
        described = {"description": said["description"]} if "description" in said else {}
        yield {"name": name, "in": "query", "required": required, "schema": about} | described
