"""The incident page: what, since when, how bad, by when, what next? And its forms, which work without script."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from aiohttp import web

from detector.charts.series import unit
from detector.charts.specs import alt_text, telling
from detector.notify.messages import sentence, title
from detector.notify.messages.invite import invitation
from detector.notify.messages.story import leading
from detector.nouns import Resolution, Symptom, Ticket, TimelineEntry
from detector.tickets.clocks import held
from detector.tickets.lifecycle import ENDED, TIERS, handover
from detector.tickets.prevention import effect, filled, proposed, runbook
from detector.tickets.talk import proposes_bridge, questions
from detector.web.api.incidents import ACTIONS, act, changes_before, find, seen_of
from detector.web.auth import VIEWER
from detector.web.body import checked, form
from detector.web.deps import Deps, Theme
from detector.web.pages.layout import Layout
from detector.web.pages.process import WAITS, Form, process
from detector.web.pages.text import shape
from detector.web.problems import Problem
from detector.web.rights import Person, act_refusal
from detector.words import plain, quantity

LARGE, SMALL = (720, 300), (480, 240)
"""Width and height of a chart on a desk and on a phone, CSS pixels."""

_MACHINES = frozenset({"detector", "rules", "pipeline"})
_MOST_ENTRIES = 200
_NOISY = frozenset({"forecast-changed", "clock-started", "clock-met", "clock-warned"})
_LISTS = frozenset({"questions", "attendees", "components", "symptoms"})
RESOLUTIONS: Mapping[Resolution, str] = {
    "fixed": "somebody repaired it",
    "prevented": "somebody acted before users were hurt",
    "self-recovered": "it went away by itself",
    "false-alarm": "there was nothing",
    "not-worth-waking": "right, but not worth a page",
    "duplicate": "another incident covers it",
    "known-error": "known, with a work-around",
    "declined": "nothing will be done",
    "unknown": "nobody knows",
}


@dataclass(frozen=True, slots=True)
class Sign:
    """A symptom as the page shows it."""

    symptom: Symptom
    value: str
    expected: str
    chart: bool
    alt: str
    limit: str = ""
    """What it must not reach, where nothing says what is expected."""


@dataclass(frozen=True, slots=True)
class Moment:
    """An entry of the timeline as the page shows it."""

    at: int
    who: str
    human: bool
    minor: bool
    lines: tuple[str, ...]


def sign(symptom: Symptom, now: int) -> Sign:
    low, high, measure = symptom.lower, symptom.upper, unit(symptom)
    expected = ""
    if low is not None and high is not None:
        expected = f"{quantity(low, measure)} to {quantity(high, measure)}"
    elif high is not None:
        expected = f"at most {quantity(high, measure)}"
    elif low is not None:
        expected = f"at least {quantity(low, measure)}"
    value = quantity(symptom.value, measure) if symptom.value is not None else ""
    drawn = symptom.evidence is not None and len(symptom.evidence.value) > 1
    limit = ""
    if symptom.evidence is not None and symptom.evidence.limit is not None:
        limit = f"the limit is {quantity(symptom.evidence.limit, measure)}"
    return Sign(symptom, value, expected, drawn, alt_text(symptom, now) if drawn else "", limit)


def moment(entry: TimelineEntry) -> Moment:
    human = entry.who not in _MACHINES
    if entry.what == "noted":
        # A note keeps the lines that its author gave it.
        lines = tuple(str(entry.data.get("text", "")).splitlines()[:200]) or ("",)
    else:
        lines = (sentence(entry),)
    return Moment(entry.at, plain(entry.who, 80), human, not human and entry.what in _NOISY, lines)


def possible(ticket: Ticket, viewer: Person) -> dict[str, bool]:
    """Which acts make sense now and are the viewer's to do; the desk has the last word."""
    alive = ticket.state not in ENDED
    sensible = {
        "ack": alive and not (ticket.acknowledged_at is not None and ticket.assignee == viewer.name),
        "escalate": alive and ticket.tier != TIERS[-1],
        "assign": alive,
        "note": ticket.state != "merged",
        "resolve": alive,
        "close": ticket.state == "resolved",
        "reopen": ticket.state in ("resolved", "closed"),
        "merge": alive,
        "silence": alive and ticket.muted_since is None and any(symptom.active for symptom in ticket.symptoms),
    }
    return {name: sense and act_refusal(viewer, name, ticket.tier) is None for name, sense in sensible.items()}


def routes(deps: Deps, layout: Layout) -> list[web.RouteDef]:
    async def page(request: web.Request, key: str, trouble: Problem | None = None) -> web.Response:
        viewer, now, here = request[VIEWER], deps.clock.now(), layout.here
        ticket = await deps.desk.similar(await find(deps, key, viewer), viewer)
        timeline = await deps.desk.timeline(ticket.key, viewer)
        symptoms = sorted(ticket.symptoms, key=lambda s: (s.first_at, s.id))
        signs = [sign(symptom, now) for symptom in symptoms]
        lead, told = telling(symptoms), leading(ticket)
        word = shape(ticket)
        options = deps.actions.policy.tickets
        basics = questions(ticket.category, options.questions)
        return await layout.render(
            request, "incident.html", here, code=trouble.status if trouble else 200, ticket=ticket, now=now,
            shape=word[0], word=word[1], title=title(ticket), signs=signs,
            lead=next((s for s in signs if lead is not None and s.symptom.id == lead.id), None),
            seen=next((s for s in signs if told is not None and s.symptom.id == told.id and s.value), None),
            runbook=_runbook(ticket, deps), can=possible(ticket, viewer), tiers=_tiers(ticket), resolutions=RESOLUTIONS,
            suggested=_suggested(ticket, timeline), active=sum(s.active for s in symptoms), trouble=trouble,
            timeline=[moment(entry) for entry in timeline[-_MOST_ENTRIES:]][::-1],
            process=_offered(ticket, viewer, deps, basics), handover=handover(ticket), waits=WAITS,
            reporter_link=deps.links.path(ticket.key),
            changes=await changes_before(deps, ticket), held=held(timeline, now),
            earlier=max(0, len(timeline) - _MOST_ENTRIES),
            known_errors=await deps.actions.problems.known_errors(ticket.service),
            book=runbook(ticket, options.response), proposed=proposed(ticket, options.response),
            filled=lambda action: filled(action, ticket), effect=effect(ticket, now), call=proposes_bridge(ticket),
            description=(ticket.description or "").splitlines()[:200],
        )  # fmt: skip

    async def show(request: web.Request) -> web.Response:
        return await page(request, request.match_info["key"])

    async def do(request: web.Request) -> web.Response:
        viewer, key, action = request[VIEWER], request.match_info["key"], request.match_info["action"]
        if action not in ACTIONS:
            raise Problem(404, f"Nothing is at {plain(request.rel_url.path, 200)}.")
        fields = await form(request, deps.options.limits.body)
        ticket = await find(deps, key, viewer)
        try:
            await act(deps, key, action, viewer, _arguments(action, fields), seen_of(fields.get("seen", "")))
        except Problem as problem:
            if problem.status not in (403, 404, 409, 422):
                raise
            return await page(request, ticket.key, problem)
        back = "/" if fields.get("from") == "board" else f"/incidents/{ticket.key}"
        raise web.HTTPSeeOther(back)

    async def chart(request: web.Request) -> web.Response:
        ticket = await find(deps, request.match_info["key"], request[VIEWER])
        wanted = request.match_info["symptom"]
        symptom = next((s for s in ticket.symptoms if s.id == wanted), None)
        theme: Theme = "dark" if request.query.get("theme") == "dark" else "light"
        size = SMALL if request.query.get("size") == "small" else LARGE
        drawn = None
        if symptom is not None:
            seen = symptom.evidence.at[0] if symptom.evidence is not None and symptom.evidence.at else symptom.first_at
            services = [ticket.service, *deps.needs(ticket.service)]
            changes = await deps.changes.between(seen, deps.clock.now(), services)
            drawn = await deps.chart(symptom, theme, *size, changes)
        if drawn is None:
            raise Problem(404, f"{ticket.key} has no such chart.")
        headers = {
            "Cache-Control": "private, max-age=300",
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        }
        return web.Response(body=drawn, content_type="image/svg+xml", charset="utf-8", headers=headers)

    async def calendar(request: web.Request) -> web.Response:
        ticket = await find(deps, request.match_info["key"], request[VIEWER])
        return invitation_response(ticket, deps)

    return [
        web.get("/incidents/{key}", show),
        web.get("/incidents/{key}/bridge.ics", calendar),
        web.post("/incidents/{key}/{action}", do),
        web.get("/incidents/{key}/chart/{symptom}.svg", chart),
    ]


def invitation_response(ticket: Ticket, deps: Deps) -> web.Response:
    """The ticket's call for a calendar; 404 where there is none."""
    made = invitation(ticket, deps.options.url, deps.clock.now())
    if made is None:
        raise Problem(404, f"{ticket.key} has no call.")
    headers = {"Content-Disposition": f'attachment; filename="{ticket.key}.ics"'}
    return web.Response(body=made, content_type="text/calendar", charset="utf-8", headers=headers)


def _offered(ticket: Ticket, viewer: Person, deps: Deps, basics: Sequence[str]) -> list[Form]:
    called = [person.name for person in deps.duty.options.people]
    forms = process(ticket, sorted(deps.actions.categories()), basics, called)
    return [offer for offer in forms if act_refusal(viewer, offer.action, ticket.tier) is None]


def _arguments(action: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """A form's fields as the API's body: an empty field is one that was not filled in."""
    model = ACTIONS[action][1]
    given: dict[str, Any] = {name: fields[name] for name in model.model_fields if fields.get(name, "").strip()}
    for name in _LISTS & given.keys():
        given[name] = [part.strip() for part in re.split(r"[;\n]", given[name]) if part.strip()]
    if action == "assign":
        given.setdefault("assignee", None)
    return checked(model, given).model_dump(exclude_unset=True)


def _runbook(ticket: Ticket, deps: Deps) -> str:
    """An address or a sentence: the ticket's, what the leading symptom's rule says, the service's; or empty."""
    lead = leading(ticket)
    said = lead.annotations if lead is not None else {}
    service = next((fact.runbook for fact in deps.services() if fact.name == ticket.service), "")
    return ticket.runbook or said.get("runbook_url", "") or said.get("runbook", "") or service


def _tiers(ticket: Ticket) -> Sequence[str]:
    return TIERS[TIERS.index(ticket.tier) + 1 :] if ticket.tier in TIERS else TIERS


def _suggested(ticket: Ticket, timeline: Sequence[TimelineEntry]) -> str:
    """The resolution that the machine proposed, else what the phase makes likely."""
    for entry in reversed(timeline):
        if entry.what == "resolution-proposed" and entry.data.get("resolution") in get_args(Resolution):
            return str(entry.data["resolution"])
    return "prevented" if ticket.phase == "predicted" or ticket.disrupted_at is None else "fixed"
