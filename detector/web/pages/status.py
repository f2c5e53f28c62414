"""The public status page, its documents and its feed: served to everybody, made anew at most every few seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from detector.clock import Clock
from detector.incidents.mute import Noise, windows
from detector.tickets.options import Communication
from detector.tickets.public import over
from detector.web.deps import Actions, Deps, Desk, ServiceFact
from detector.web.links import PUBLIC
from detector.web.pages.layout import Layout
from detector.web.problems import Problem
from detector.web.statuspage import DAYS, RECENT, Facts, documents, facts, feed
from detector.words import DAY

FRESH_MS = 5_000
"""Whoever asks within it gets what the last one got: a page that the whole world reloads costs one reading."""
PLANNED_MS = 30 * DAY
_WORDS = {
    "operational": "works", "under_maintenance": "in maintenance", "degraded_performance": "degraded",
    "partial_outage": "partly disrupted", "major_outage": "disrupted",
}  # fmt: skip
_SHAPES = {"operational": "over", "under_maintenance": "recovering", "degraded_performance": "predicted"}
_INDICATORS = {"none": "over", "minor": "predicted"}


@dataclass(slots=True)
class _Kept:
    at: int
    facts: Facts


class StatusPage:
    """Reads what was published, and keeps it for a moment; ``url``: where it is served."""

    def __init__(
        self, desk: Desk, actions: Actions, clock: Clock, url: Callable[[], str],
        services: Callable[[], Sequence[ServiceFact]],
    ) -> None:  # fmt: skip
        self._desk = desk
        self._actions = actions
        self._clock = clock
        self._url = url
        self._services = services
        self._kept: _Kept | None = None

    @property
    def options(self) -> Communication:
        return self._actions.policy.tickets.communication

    @property
    def noise(self) -> Noise:
        return self._actions.noise

    async def facts(self, since: int = 0) -> Facts:
        """As they were after ``since`` (ms) at the earliest. 404 where no status page is served."""
        options, now = self.options, self._clock.now()
        if not options.status_page:
            raise Problem(404, "No status page is served here.")
        kept = self._kept
        if kept is not None and 0 <= now - kept.at < FRESH_MS and kept.at > since:
            return kept.facts
        tickets = await self._desk.public(now - DAYS * DAY)
        names = options.components or [service.name for service in self._services()]
        planned = [w for w in windows(self.noise.options, now - DAY, now + PLANNED_MS) if w[0].public]
        found = facts(options.name, self._url(), names, tickets, planned, now)
        self._kept = _Kept(now, found)
        return found


def of(deps: Deps) -> StatusPage:
    return StatusPage(deps.desk, deps.actions, deps.clock, lambda: deps.options.url, deps.services)


def routes(deps: Deps, layout: Layout, page: StatusPage) -> list[web.RouteDef]:

    async def show(request: web.Request) -> web.Response:
        found = await page.facts()
        recent = [t for t in found.incidents if (ended := over(t)) is not None and ended >= found.now - RECENT]
        response = await layout.render(
            request, "status.html", layout.here, facts=found, now=found.now, recent=recent, words=_WORDS,
            shapes=_SHAPES, overall=_INDICATORS.get(found.indicator[0], "disrupting"),
            kinds=deps.desk.subscribed, given=None,
            planned=[(w, low, high) for w, low, high in found.maintenance if high > found.now],
        )  # fmt: skip
        response.headers["Cache-Control"] = "public, max-age=15"
        return response

    async def document(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        made = documents(await page.facts()).get(name)
        if made is None:
            raise Problem(404, "The status page has no such document.")
        return web.Response(text=json.dumps(made), content_type="application/json", headers=_OPEN)

    async def atom(request: web.Request) -> web.Response:
        made = feed(await page.facts())
        return web.Response(body=made, content_type="application/atom+xml", charset="utf-8", headers=_OPEN)

    return [
        web.get(PUBLIC, show),
        web.get(PUBLIC + "/api/v2/{name:.+}", document),
        web.get(PUBLIC + "/feed.atom", atom),
    ]


_OPEN = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=15"}
"""Read by other sites' pages, as a Statuspage's."""
