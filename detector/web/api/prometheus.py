"""Prometheus's HTTP API v1, GET and form POST: parameters are gathered, the answer is the engine's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from detector.web.body import fields, read
from detector.web.deps import Deps
from detector.web.problems import Problem

_PATHS = ("query", "query_range", "series", "labels", "metadata", "rules", "alerts", "status/buildinfo")
_FORMS = ("query", "query_range", "series", "labels")


def routes(deps: Deps) -> list[web.RouteDef]:
    """GET everywhere, POST where Prometheus takes one."""

    async def ask(endpoint: str, request: web.Request) -> web.Response:
        status, document = await deps.query(endpoint, await _params(request, deps.options.limits.body))
        body = msgspec.json.encode(document)
        headers = {"Retry-After": "1"} if status == 503 else None
        return web.Response(body=body, status=status, content_type="application/json", charset="utf-8", headers=headers)

    def handler(endpoint: str) -> Any:
        async def answer(request: web.Request) -> web.Response:
            return await ask(endpoint, request)

        return answer

    async def label_values(request: web.Request) -> web.Response:
        return await ask(f"label/{request.match_info['name']}/values", request)

    gets = [web.get(f"/api/v1/{path}", handler(path)) for path in _PATHS]
    posts = [web.post(f"/api/v1/{path}", handler(path)) for path in _FORMS]
    return [*gets, *posts, web.get("/api/v1/label/{name}/values", label_values)]


async def _params(request: web.Request, limit: int) -> Mapping[str, Sequence[str]]:
    """Query string and form together, every value of each name, as in Prometheus."""
    params: dict[str, list[str]] = {}
    for name, value in request.query.items():
        params.setdefault(name, []).append(value)
    if request.method == "POST":
        raw = await read(request, limit)
        if raw and request.content_type != "application/x-www-form-urlencoded":
            raise Problem(415, f"Content-Type is {request.content_type}; send application/x-www-form-urlencoded.")
        for name, values in fields(raw).items():
            params.setdefault(name, []).extend(values)
    if any(_broken(text) for name, values in params.items() for text in (name, *values)):
        raise Problem(400, "A parameter is not UTF-8.")
    return {name: tuple(values) for name, values in params.items()}


def _broken(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)
