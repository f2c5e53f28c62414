"""The draft of a postmortem: as a page that prints, and as Markdown to take along."""

from __future__ import annotations

from aiohttp import web

from detector.notify.messages import title
from detector.web.api.incidents import changes_before, find
from detector.web.auth import VIEWER
from detector.web.deps import Deps
from detector.web.pages.incident import sign
from detector.web.pages.layout import Layout
from detector.web.postmortem import as_markdown, sections

_MOST_CHARTS = 6


def routes(deps: Deps, layout: Layout) -> list[web.RouteDef]:
    async def draft(request: web.Request, as_text: bool) -> web.Response:
        viewer, now = request[VIEWER], deps.clock.now()
        ticket = await find(deps, request.match_info["key"], viewer)
        timeline = await deps.desk.timeline(ticket.key, viewer)
        parts = sections(ticket, timeline, await changes_before(deps, ticket), now)
        if as_text:
            text = as_markdown(ticket, parts, f"{deps.options.url}/incidents/{ticket.key}")
            headers = {"Content-Disposition": f'attachment; filename="{ticket.key}-postmortem.md"'}
            return web.Response(text=text, content_type="text/markdown", charset="utf-8", headers=headers)
        signs = [one for one in (sign(s, now) for s in ticket.symptoms) if one.chart][:_MOST_CHARTS]
        return await layout.render(
            request, "postmortem.html", layout.here, now=now, ticket=ticket, title=title(ticket), paper=parts,
            signs=signs,
        )  # fmt: skip

    async def page(request: web.Request) -> web.Response:
        return await draft(request, False)

    async def text(request: web.Request) -> web.Response:
        return await draft(request, True)

    return [web.get("/incidents/{key}/postmortem", page), web.get("/incidents/{key}/postmortem.md", text)]
