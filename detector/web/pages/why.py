"""The chain for people: one field to ask, one line a step."""

from __future__ import annotations

from aiohttp import web

from detector.web.api.incidents import at_time
from detector.web.api.why import chains
from detector.web.auth import VIEWER
from detector.web.deps import Deps
from detector.web.pages.layout import Layout
from detector.web.problems import Problem


def routes(deps: Deps, layout: Layout) -> list[web.RouteDef]:
    async def ask(request: web.Request) -> web.Response:
        subject, text = request.query.get("subject", "").strip(), request.query.get("at", "").strip()
        trouble, found = "", []
        if subject:
            try:
                found = await chains(deps, subject, at_time(request.query, "at", deps.clock.now()), request[VIEWER])
            except Problem as problem:
                trouble = problem.detail
        return await layout.render(
            request, "why.html", layout.here, now=deps.clock.now(), subject=subject, at=text, found=found,
            trouble=trouble, code=404 if trouble else 200,
        )  # fmt: skip

    return [web.get("/why", ask)]
