"""How the desk does, for people: one figure a line, each with what it is of."""

from __future__ import annotations

from aiohttp import web

from detector.tickets.statistics import TARGET_MS
from detector.web.api.statistics import figures
from detector.web.deps import Deps
from detector.web.pages.layout import Layout
from detector.words import DAY

SPANS = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "a year"}


def routes(deps: Deps, layout: Layout) -> list[web.RouteDef]:
    async def show(request: web.Request) -> web.Response:
        days = request.query.get("days", "30")
        days = days if days in SPANS else "30"
        now = deps.clock.now()
        found = await figures(deps, now - int(days) * DAY, now)
        return await layout.render(
            request, "statistics.html", layout.here, now=now, found=found, days=days, spans=SPANS, target=TARGET_MS
        )

    return [web.get("/statistics", show)]
