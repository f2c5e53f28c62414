"""Who is on call, what a shift has seen, calendars, and test messages, as JSON and iCalendar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from detector.clock import rfc3339
from detector.notify.messages import title
from detector.nouns import Ticket
from detector.oncall.handover import Report, shift_at
from detector.oncall.ical import calendar, of_person, of_schedule
from detector.oncall.options import Schedule
from detector.oncall.schedule import Shift, on_call
from detector.web.api import models
from detector.web.api.incidents import at_time
from detector.web.auth import VIEWER
from detector.web.body import json_body
from detector.web.deps import Deps
from detector.web.openapi import Parameter, operation
from detector.web.problems import Problem
from detector.words import in_calendar, plain

_SCHEDULE = Parameter("schedule", "The schedule's name.", {"type": "string"})
_AT = Parameter("at", "A moment inside the shift, RFC 3339 or Unix seconds; default: now.", {"type": "string"})


def routes(deps: Deps) -> list[web.RouteDef]:
    @operation("Who is on call, who is told about what, and what would keep a page from arriving", models.OnCall)
    async def show_oncall(request: web.Request) -> web.Response:
        now = deps.clock.now()
        items = [{"team": f.team, "people": list(f.people), "channels": list(f.channels)} for f in deps.oncall()]
        schedules = [schedule_json(schedule, now) for schedule in deps.duty.options.schedules]
        problems = [{"kind": one.kind, "text": one.text} for one in await deps.duty.findings()]
        return web.json_response({"items": items, "schedules": schedules, "problems": problems})

    @operation("What happened in a shift", models.ShiftReport, parameters=(_SCHEDULE, _AT), errors=(404,))
    async def shift_report(request: web.Request) -> web.Response:
        name = request.query.get("schedule", "")
        at = in_reach(at_time(request.query, "at", deps.clock.now()))
        report = await deps.duty.report(name, at, request[VIEWER])
        if report is None:
            raise Problem(404, f"There is no schedule {plain(name, 100)!r}.")
        return web.json_response(report_json(report))

    @operation("The next ninety days of a schedule, as iCalendar", None, parameters=(
        Parameter("schedule", "The schedule's name.", {"type": "string"}, "path"),), errors=(404,))  # fmt: skip
    async def schedule_calendar(request: web.Request) -> web.Response:
        schedule = known(deps, request.match_info["schedule"])
        now = deps.clock.now()
        return _ical(calendar(schedule.name, of_schedule(schedule, now), now))

    @operation("The next ninety days of a person, as iCalendar", None, parameters=(
        Parameter("person", "The person's name.", {"type": "string"}, "path"),), errors=(404,))  # fmt: skip
    async def person_calendar(request: web.Request) -> web.Response:
        who, options = request.match_info["person"], deps.duty.options
        if who not in {person.name for person in options.people}:
            raise Problem(404, f"{plain(who, 100)} is not among people.")
        now = deps.clock.now()
        return _ical(calendar(who, of_person(options, who, now), now))

    @operation("Send a test message to a person, on each of their channels", models.SentTests, body=models.SendTest,
               errors=(404, 409, 422))  # fmt: skip
    async def send_test(request: web.Request) -> web.Response:
        body = await json_body(request, models.SendTest, deps.options.limits.body)
        sent = await tested(deps, body.person, request[VIEWER].name)
        items = [{"channel": channel, "sent": not error, "error": error} for channel, error in sent]
        return web.json_response({"items": items})

    return [
        web.get("/api/oncall", show_oncall),
        web.get("/api/oncall/report", shift_report),
        web.get("/api/oncall/{schedule}.ics", schedule_calendar),
        web.get("/api/oncall/people/{person}.ics", person_calendar),
        web.post("/api/oncall/test", send_test),
    ]


async def tested(deps: Deps, who: str, asker: str) -> Sequence[tuple[str, str]]:
    """Send it, and write down who asked for it; 404 for whom nobody knows, 409 where one was sent just now."""
    try:
        sent = await deps.duty.send_test(who)
        await deps.people.audit(asker, "test-message", who, {"failed": [name for name, error in sent if error]})
        return sent
    except LookupError as error:
        raise Problem(404, f"{error.args[0]}.") from None
    except ValueError as error:
        raise Problem(409, f"{error}.") from None


def known(deps: Deps, name: str) -> Schedule:
    """The schedule, or 404."""
    found = next((schedule for schedule in deps.duty.options.schedules if schedule.name == name), None)
    if found is None:
        raise Problem(404, f"There is no schedule {plain(name, 100)!r}.")
    return found


def in_reach(at: int) -> int:
    """The moment, or 400 where no calendar reaches: a shift is looked for around it."""
    if not 0 <= at <= 32_503_680_000_000:
        raise Problem(400, "at: a moment from 1970 to 2999.")
    return at


def schedule_json(schedule: Schedule, now: int) -> dict[str, Any]:
    shift: Shift = shift_at(schedule, now)
    return {
        "name": schedule.name, "zone": schedule.zone, "people": list(shift.people),
        "since": rfc3339(in_calendar(shift.start)), "until": rfc3339(in_calendar(shift.end)),
        "next": list(on_call(schedule, shift.end)),
    }  # fmt: skip


def report_json(report: Report) -> dict[str, Any]:
    return {
        "schedule": report.schedule, "start": rfc3339(in_calendar(report.start)),
        "end": rfc3339(in_calendar(report.end)), "people": list(report.people),
        "opened": [_brief(ticket) for ticket in report.opened], "ended": [_brief(ticket) for ticket in report.ended],
        "open": [_brief(ticket) for ticket in report.still_open], "pages": report.pages, "wakes": report.wakes,
    }  # fmt: skip


def _brief(ticket: Ticket) -> dict[str, Any]:
    return {
        "key": ticket.key, "title": title(ticket), "service": ticket.service, "priority": ticket.priority,
        "state": ticket.state, "resolution": ticket.resolution, "assignee": ticket.assignee,
        "offered_to": ticket.offered_to,
    }  # fmt: skip


def _ical(raw: bytes) -> web.Response:
    return web.Response(body=raw, content_type="text/calendar", charset="utf-8")
