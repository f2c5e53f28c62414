"""Silences for people: what is muted, by whom, why and until when; a new one in four fields; an end in one press."""

from __future__ import annotations

import re
from collections.abc import Mapping

from aiohttp import web

from detector.incidents.matchers import parse
from detector.incidents.mute import windows
from detector.nouns import Ticket
from detector.options import parse_duration
from detector.web.api.incidents import find
from detector.web.api.silences import Unfit, covers_too_much, ended, made, say, state
from detector.web.auth import VIEWER
from detector.web.body import form
from detector.web.deps import Deps
from detector.web.pages.layout import Layout
from detector.web.problems import Problem
from detector.words import DAY, plain

AHEAD = 14 * DAY
LASTS = {"1h": "an hour", "4h": "4 hours", "8h": "8 hours", "1d": "a day", "3d": "3 days", "1w": "a week"}
_MOST = 200


def suggested(ticket: Ticket) -> str:
    """Matchers, one a line, of what holds the ticket open."""
    names = sorted({symptom.name for symptom in ticket.symptoms if symptom.active})[:10]
    lines = [f'service="{_quoted(ticket.service)}"']
    if len(names) == 1:
        lines.append(f'alertname="{_quoted(names[0])}"')
    elif names:
        lines.append(f'alertname=~"{_quoted("|".join(map(re.escape, names)))}"')
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def routes(deps: Deps, layout: Layout) -> list[web.RouteDef]:
    async def draw(request: web.Request, given: Mapping[str, str], trouble: str = "") -> web.Response:
        now, noise = deps.clock.now(), deps.actions.noise
        silences = sorted(noise.silences, key=lambda s: (state(s, now) == "expired", s.ends_at))[:_MOST]
        muted = [t for t in await deps.desk.every_open(request[VIEWER]) if t.muted_since is not None]
        return await layout.render(
            request, "silences.html", layout.here, code=422 if trouble else 200, now=now, trouble=trouble, given=given,
            lasts=LASTS, muted=muted, windows=windows(noise.options, now, now + AHEAD)[:_MOST],
            rules=len(noise.options.inhibit_rules),
            silences=[
                (s, state(s, now), [t for t in muted if s.id in t.muted_by], covers_too_much(s)) for s in silences
            ],
        )  # fmt: skip

    async def show(request: web.Request) -> web.Response:
        given = {"lasts": "4h"}
        if key := request.query.get("incident", ""):
            ticket = await find(deps, key, request[VIEWER])
            given |= {"matchers": suggested(ticket), "incident": ticket.key}
        return await draw(request, given)

    async def add(request: web.Request) -> web.Response:
        fields, now = await form(request, deps.options.limits.body), deps.clock.now()
        try:
            lines = [line for line in fields.get("matchers", "").splitlines() if line.strip()][:50]
            if not lines:
                raise Unfit('matchers: write at least one, such as service="shop"')
            reason = plain(fields.get("reason", ""), 500)
            if not reason:
                raise Unfit("reason: whoever finds this silence needs to know why")
            matchers = [(m.name, m.op, m.value) for m in map(parse, lines)]
            lasts = parse_duration(fields.get("lasts", "").strip())
            silence = made(matchers, now, now + lasts, request[VIEWER].name, reason, now)
            await say(deps, silence, now)
        except ValueError as error:
            return await draw(request, fields, plain(str(error), 300))
        raise web.HTTPSeeOther("/silences")

    async def end(request: web.Request) -> web.Response:
        now, id = deps.clock.now(), request.match_info["id"]
        silence = await deps.actions.silences.one(id) if len(id) <= 64 else None
        if silence is None:
            raise Problem(404, f"There is no silence {plain(id, 60)}.")
        if state(silence, now) != "expired":
            await deps.actions.silence([ended(silence, now)], now)
        raise web.HTTPSeeOther("/silences")

    return [web.get("/silences", show), web.post("/silences", add), web.post("/silences/{id}/end", end)]
