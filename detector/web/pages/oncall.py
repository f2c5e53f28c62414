"""On call for people: who now, who the next two weeks, what a shift has seen, and whether anybody would be paged."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from detector.oncall.schedule import Shift, shifts
from detector.web.api.incidents import at_time
from detector.web.api.oncall import in_reach, tested
from detector.web.auth import VIEWER
from detector.web.body import form
from detector.web.deps import Deps
from detector.web.pages.layout import Layout
from detector.web.problems import Problem
from detector.words import DAY

AHEAD = 14 * DAY
_MOST = 200


def routes(deps: Deps, layout: Layout) -> list[web.RouteDef]:
    async def draw(request: web.Request, sent: Any = None, who: str = "", trouble: str = "") -> web.Response:
        now, options, viewer = deps.clock.now(), deps.duty.options, request[VIEWER]
        at = in_reach(at_time(request.query, "at", now))
        coming = {schedule.name: shifts(schedule, now, now + AHEAD) for schedule in options.schedules}
        reports = [await deps.duty.report(schedule.name, at, viewer) for schedule in options.schedules]
        return await layout.render(
            request, "oncall.html", layout.here, now=now, code=409 if trouble else 200,
            schedules=[(schedule, coming[schedule.name][0], coming[schedule.name][:_MOST])
                       for schedule in options.schedules],
            reports=[report for report in reports if report is not None], at=at, people=options.people,
            policies=options.policies, hours=options.working_hours, problems=await deps.duty.findings(),
            sent=sent, who=who, trouble=trouble, told=deps.oncall(), long=_long,
        )  # fmt: skip

    async def show(request: web.Request) -> web.Response:
        return await draw(request)

    async def test(request: web.Request) -> web.Response:
        who = (await form(request, deps.options.limits.body)).get("person", "").strip()
        try:
            sent = await tested(deps, who, request[VIEWER].name)
        except Problem as problem:
            if problem.status not in (404, 409):
                raise
            return await draw(request, trouble=problem.detail)
        return await draw(request, sent, who)

    return [web.get("/oncall", show), web.post("/oncall/test", test)]


def _long(shift: Shift) -> str:
    hours = (shift.end - shift.start) / 3_600_000
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.3g} h"
