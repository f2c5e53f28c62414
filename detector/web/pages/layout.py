"""What every page shares: the template environment, the header's facts, the page of an error."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

from detector.nouns import Tier
from detector.web.auth import ANONYMOUS, VIEWER
from detector.web.deps import Deps
from detector.web.pages import text
from detector.web.problems import Problem
from detector.web.rights import Person, act_refusal, at_least
from detector.web.sse import Hub
from detector.words import span

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"


class Layout:
    """Renders templates; every string passes :func:`text.visible`, then autoescape."""

    def __init__(self, deps: Deps, hub: Hub) -> None:
        self._deps = deps
        self._hub = hub
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
            finalize=text.visible, trim_blocks=True, lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip
        self._environment.globals |= {
            "time": text.time_tag, "since": text.since_tag, "clock": text.clock_tag, "impact": text.impact_tag,
            "link": text.safe_link, "span": span,
        }  # fmt: skip

    @property
    def here(self) -> str:
        """The newest event. A page takes it *before* it reads tickets: what is committed meanwhile is told again."""
        return self._hub.here

    async def render(
        self, request: web.Request, template: str, here: str, code: int = 200, **context: Any
    ) -> web.Response:
        """``template`` with the header's facts around it."""
        return _html(await self.text(request, template, here, **context), code)

    async def text(self, request: web.Request, template: str, here: str, **context: Any) -> str:
        """The page; made in a thread, since a full board takes 50 ms."""
        facts = self._facts(request) | {"here": here}
        return await asyncio.to_thread(self._environment.get_template(template).render, facts, **context)

    def problem(self, request: web.Request, problem: Problem) -> web.Response:
        """An error as a page: what, why, what next."""
        facts = self._facts(request) | {"problem": problem, "now": self._deps.clock.now()}
        return _html(self._environment.get_template("problem.html").render(facts), problem.status)

    def _facts(self, request: web.Request) -> dict[str, Any]:
        # Whoever was not let in sees nothing of the house, not even in the words of an error.
        viewer = request.get(VIEWER, Person(ANONYMOUS, role="viewer", way="public"))

        def may(action: str, tier: Tier | None) -> bool:
            return act_refusal(viewer, action, tier) is None

        return {
            "status": self._deps.status(), "on_call": self._deps.oncall(), "viewer": viewer, "here": self._hub.here,
            "anonymous": viewer.way == "open", "stranger": viewer.way == "public", "path": request.rel_url.path,
            "may": may, "manages": at_least(viewer, "manager"),
            "acts": at_least(viewer, "agent"),
        }  # fmt: skip


def _html(text: str, code: int) -> web.Response:
    response = web.Response(text=text, status=code, content_type="text/html", charset="utf-8")
    response.enable_compression()
    return response
