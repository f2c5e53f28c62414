"""How the desk does, as JSON and as facts for the page."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from detector.clock import rfc3339
from detector.tickets.statistics import NOISY, TARGET_MS, Against, Summary, summary
from detector.web.api.incidents import at_time
from detector.web.deps import Deps
from detector.web.openapi import Parameter, operation
from detector.web.problems import Problem
from detector.words import DAY, in_calendar

SPAN = 30 * DAY
LONGEST = 400 * DAY
_MOST_FAMILIES = 2000
_PARAMETERS = (
    Parameter("start", "Tickets opened from here on; default: 30 days ago.", {"type": "string"}),
    Parameter("end", "Up to here; default: now.", {"type": "string"}),
)


class AgainstModel(BaseModel):
    count: int
    median_seconds: float | None
    within_target: int


class StatisticsModel(BaseModel):
    start: str
    end: str
    opened: int
    ended: int
    open: int
    response: dict[str, AgainstModel]
    resolution: dict[str, AgainstModel]
    satisfactory: int = Field(description="The reporter said solved; or it was detected and is restored.")
    average_resolution_seconds: float | None
    average_resolution_on_the_clock_seconds: float | None
    target_seconds: int
    first_line_resolved: int
    first_line_of: int
    median_time_to_restore_seconds: float | None
    by_category: dict[str, int]
    by_outcome: dict[str, int]
    disrupted: int
    foreseen: int
    median_lead_seconds: float | None
    false_alarms: int
    reopened: int
    noisy_families: dict[str, int]


async def figures(deps: Deps, start: int, end: int) -> Summary:
    """Of the tickets opened between; 400 for a span that is none."""
    if not 0 < end - start <= LONGEST:
        raise Problem(400, f"start and end: a span of at most {LONGEST // DAY} days, the start before the end.")
    tickets = await deps.desk.opened_between(start, end)
    noisy = [t.key for t in tickets if t.resolution in NOISY][:_MOST_FAMILIES]
    families = await deps.desk.families(noisy)
    return await asyncio.to_thread(summary, tickets, families)


def routes(deps: Deps) -> list[web.RouteDef]:
    @operation("How the desk does: times against targets, what was foreseen, what was noise", StatisticsModel,
               parameters=_PARAMETERS)  # fmt: skip
    async def statistics(request: web.Request) -> web.Response:
        now = deps.clock.now()
        end = at_time(request.query, "end", now)
        start = at_time(request.query, "start", end - SPAN)
        return web.json_response(_json(await figures(deps, start, end), start, end))

    return [web.get("/api/statistics", statistics)]


def _json(found: Summary, start: int, end: int) -> dict[str, Any]:
    return {
        "start": rfc3339(in_calendar(start)), "end": rfc3339(in_calendar(end)), "opened": found.opened,
        "ended": found.ended, "open": found.open,
        "response": {p: _against(a) for p, a in found.response.items()},
        "resolution": {p: _against(a) for p, a in found.resolution.items()},
        "satisfactory": found.satisfactory, "average_resolution_seconds": _seconds(found.average_elapsed),
        "average_resolution_on_the_clock_seconds": _seconds(found.average_clock), "target_seconds": TARGET_MS // 1000,
        "first_line_resolved": found.first_line, "first_line_of": found.first_line_of,
        "median_time_to_restore_seconds": _seconds(found.time_to_restore), "by_category": dict(found.by_category),
        "by_outcome": dict(found.by_outcome), "disrupted": found.disrupted, "foreseen": found.foreseen,
        "median_lead_seconds": _seconds(found.leads), "false_alarms": found.false_alarms, "reopened": found.reopened,
        "noisy_families": dict(found.noisy),
    }  # fmt: skip


def _against(one: Against) -> dict[str, Any]:
    return {"count": one.count, "median_seconds": _seconds(one.median), "within_target": one.within}


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000
