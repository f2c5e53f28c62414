"""OpenAPI 3.1 from a small decorator over pydantic models: what a handler takes and answers stands above it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web
from apispec import APISpec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__operation__"
_REF = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the path or in the query, with its JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, Any]
    place: str = "query"

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name, "in": self.place, "required": self.place == "path", "description": self.description,
            "schema": dict(self.schema),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operation:
    """What one handler takes and answers."""

    summary: str
    answers: type[BaseModel] | None
    body: type[BaseModel] | None = None
    parameters: Sequence[Parameter] = ()
    errors: Sequence[int] = ()
    tag: str = "desk"
    status: int = 200
    name: str = ""
    """The operation's id; empty: the handler's name."""


def operation(
    summary: str,
    answers: type[BaseModel] | None,
    *,
    body: type[BaseModel] | None = None,
    parameters: Sequence[Parameter] = (),
    errors: Sequence[int] = (),
    tag: str = "desk",
    status: int = 200,
) -> Callable[[F], F]:
    """Describe a handler; the description is found by :func:`document` through the route."""

    def mark(handler: F) -> F:
        setattr(handler, _MARK, Operation(summary, answers, body, parameters, errors, tag, status))
        return handler

    return mark


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = []


def document(
    routes: Sequence[web.RouteDef], version: str, url: str, others: Mapping[str, Operation] | None = None
) -> dict[str, Any]:
    """The OpenAPI document of every described route. ``others`` describes POSTs of other rooms by their path."""
    described = [(route, getattr(route.handler, _MARK)) for route in routes if hasattr(route.handler, _MARK)]
    described += [(r, others[r.path]) for r in routes if others and r.method == "POST" and r.path in others]
    models: dict[type[BaseModel], None] = {ProblemDocument: None}
    for _, op in described:
        models |= {model: None for model in (op.answers, op.body) if model is not None}
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    spec = APISpec(
        title="Proactive incident detector",
        version=version,
        openapi_version="3.1.0",
        info={"description": "Incidents, and what people do with them. Errors are RFC 9457 problem documents."},
        servers=[{"url": url}],
    )
    spec.components.security_scheme("basic", {"type": "http", "scheme": "basic"})
    spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
    for name, schema in schemas.get("$defs", {}).items():
        spec.components.schema(name, schema)
    paths: dict[str, dict[str, Any]] = {}
    for route, op in described:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(op, route)
    for path, operations in paths.items():
        spec.path(path=path, operations=operations)
    built: dict[str, Any] = spec.to_dict()
    built["security"] = [{}, {"basic": []}, {"token": []}]
    return built


def _operation(op: Operation, route: web.RouteDef) -> dict[str, Any]:
    answers: dict[str, Any] = {str(op.status): {"description": "Done."}}
    if op.answers is not None:
        answers[str(op.status)]["content"] = {"application/json": {"schema": _ref(op.answers)}}
    for status in sorted({400, 401, 403, 421, 503, *op.errors}):
        content = {"application/problem+json": {"schema": _ref(ProblemDocument)}}
        answers[str(status)] = {"description": "A problem document says why.", "content": content}
    name = op.name or getattr(route.handler, "__name__", "operation")
    built: dict[str, Any] = {
        "operationId": name, "summary": op.summary, "tags": [op.tag], "responses": answers,
        "parameters": [parameter.document() for parameter in op.parameters],
    }  # fmt: skip
    if op.body is not None:
        built["requestBody"] = {"required": False, "content": {"application/json": {"schema": _ref(op.body)}}}
    return built


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
