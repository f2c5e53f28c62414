"""What a desk needs beside the board: finding past tickets, views that are kept, one act on several tickets."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, urlencode

from aiohttp import web

from detector.web.api.incidents import act, find
from detector.web.auth import VIEWER
from detector.web.body import fields, form, read
from detector.web.deps import Deps
from detector.web.pages.board import BULK, TABS, row
from detector.web.pages.layout import Layout
from detector.web.problems import Problem
from detector.words import plain

MOST_KEYS = 100
_WORDS = 5


def view_query(query: str) -> str:
    """A board's query string with what a view keeps, and nothing else."""
    given = parse_qs(query[:500], max_num_fields=10)
    tab, text = given.get("tab", ["mine"])[0], given.get("q", [""])[0]
    return urlencode({"tab": tab if tab in TABS else "mine", "q": plain(text, 200)})


def routes(deps: Deps, layout: Layout) -> list[web.RouteDef]:
    async def search(request: web.Request) -> web.Response:
        text = plain(request.query.get("q", ""), 200)
        words = text.split()[:_WORDS]
        found = await deps.desk.search(words, request[VIEWER]) if words else []
        rows = [row(ticket, request[VIEWER]) for ticket in found]
        return await layout.render(request, "search.html", layout.here, now=deps.clock.now(), q=text, rows=rows)

    async def keep(request: web.Request) -> web.Response:
        given = await form(request, deps.options.limits.body)
        name = plain(given.get("name", ""), 60)
        if not name:
            raise Problem(422, "name: a view needs one.")
        query = view_query(given.get("query", ""))
        await deps.views.keep(request[VIEWER].name, name, query)
        raise web.HTTPSeeOther(f"/?{query}")

    async def drop(request: web.Request) -> web.Response:
        given = await form(request, deps.options.limits.body)
        await deps.views.drop(request[VIEWER].name, plain(given.get("name", ""), 60))
        raise web.HTTPSeeOther("/")

    async def bulk(request: web.Request) -> web.Response:
        given = fields(await read(request, deps.options.limits.body))
        keys, action = given.get("key", [])[:MOST_KEYS], given.get("action", [""])[-1]
        if action not in BULK or not keys:
            raise Problem(422, f"Choose incidents, and one of: {', '.join(BULK.values())}.")
        outcomes = [(key, await _one(deps, request, key, action)) for key in dict.fromkeys(keys)]
        if all(not trouble for _, trouble in outcomes):
            raise web.HTTPSeeOther("/")
        return await layout.render(
            request, "bulk.html", layout.here, now=deps.clock.now(), outcomes=outcomes, action=BULK[action], code=409
        )

    return [
        web.get("/search", search),
        web.post("/views", keep),
        web.post("/views/drop", drop),
        web.post("/bulk", bulk),
    ]


async def _one(deps: Deps, request: web.Request, key: str, action: str) -> str:
    """Do it to one; why it was not done, or empty. One that is refused does not keep the others from being done."""
    viewer = request[VIEWER]
    arguments: Mapping[str, object] = {
        "ack": {}, "resolve": {"resolution": "false-alarm"}, "assign": {"assignee": viewer.name}
    }[action]  # fmt: skip
    try:
        ticket = await find(deps, key, viewer)
        await act(deps, ticket.key, action, viewer, arguments)
    except Problem as problem:
        return problem.detail
    return ""
