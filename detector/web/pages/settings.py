"""The configuration as the daemon has it, read-only and without its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from detector.web.deps import Deps
from detector.web.pages.layout import Layout

_MOST = 2000


def lines(value: Any, place: str = "") -> list[tuple[str, str]]:
    """The settings one by one: (path, value as it would be written)."""
    if isinstance(value, Mapping):
        return [
            line for name, inner in value.items() for line in lines(inner, f"{place}.{name}" if place else str(name))
        ]
    if isinstance(value, list | tuple) and any(isinstance(one, Mapping | list | tuple) for one in value):
        return [line for number, inner in enumerate(value) for line in lines(inner, f"{place}[{number}]")]
    if isinstance(value, list | tuple):
        return [(place, ", ".join(map(str, value)) or "none")]
    return [(place, "not set" if value is None else str(value).lower() if isinstance(value, bool) else str(value))]


def routes(deps: Deps, layout: Layout) -> list[web.RouteDef]:
    async def show(request: web.Request) -> web.Response:
        groups = {str(name): lines(value)[:_MOST] for name, value in deps.settings().items()}
        return await layout.render(request, "settings.html", layout.here, now=deps.clock.now(), groups=groups)

    return [web.get("/settings", show)]
