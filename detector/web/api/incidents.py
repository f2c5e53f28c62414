"""The desk as JSON: list, show, act; services and who is on call."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, get_args

from aiohttp import web

from detector.clock import parse_rfc3339
from detector.nouns import ChangeEvent, Mode, Phase, State, Ticket, Viewer
from detector.tickets.acts import NotAllowed
from detector.tickets.desk import Conflict, TicketQuery
from detector.web.api import models
from detector.web.auth import VIEWER
from detector.web.body import Body, json_body
from detector.web.deps import Deps
from detector.web.openapi import Parameter, operation
from detector.web.problems import Problem
from detector.web.record import change_json, json_answer, json_bytes, ticket_json
from detector.web.rights import Person, act_refusal
from detector.web.shared import Made, Shared
from detector.words import DAY, MINUTE, plain

MOST = 500
ACTIONS: Mapping[str, tuple[str, type[Body]]] = {
    "ack": ("Acknowledge: the asker holds it, paging stops", models.Ack),
    "not-mine": ("Give it back: the next one is called at once", models.NotMine),
    "help": ("Call a person as well; it stays with whoever has it", models.Help),
    "assign": ("Give it to somebody, or to nobody", models.Assign),
    "escalate": ("Hand it to a higher tier", models.Escalate),
    "note": ("Write into its timeline", models.Note),
    "resolve": ("The service is restored", models.Resolve),
    "close": ("Done with it", models.Close),
    "reopen": ("It was not over", models.Reopen),
    "merge": ("It goes on in another incident", models.Merge),
    "decide": ("An incident or a request", models.Decide),
    "categorise": ("Its category, by hand", models.Categorise),
    "prioritise": ("Its priority, by hand", models.Prioritise),
    "wait": ("Somebody else has the next word; the resolution clock stands still", models.Wait),
    "resume": ("Nobody is waited for any more", models.Resume),
    "reply": ("To the reporter; the first one stops the response clock", models.Reply),
    "inform": ("Tell a tier; it stays where it is", models.Inform),
    "hypothesis": ("What may be the cause", models.Hypothesise),
    "settle": ("A hypothesis is confirmed or rejected", models.Settle),
    "fix": ("A fix was applied", models.Fix),
    "restore": ("The service works again", models.Restore),
    "record": ("Cause, fix and prevention", models.Record),
    "link": ("It stands in a relation to another incident, or is a case of a problem", models.LinkTo),
    "split": ("Some of its symptoms have another cause: they go on in a ticket of their own", models.Split),
    "ask": ("Ask the reporter: the basic questions of its category, or others; it waits", models.Ask),
    "use": ("A past solution was tried", models.Use),
    "bridge": ("A call about it, by link or telephone", models.OpenBridge),
    "end-bridge": ("What came of the call", models.EndBridge),
    "run": ("Run a proposed action, confirmed", models.Run),
    "prevent": ("What a prediction asked for was done by hand", models.Prevent),
    "decline": ("A proposed preventive action is not taken", models.Decline),
    "draft": ("A word to the public that waits to be published", models.Draft),
    "publish": ("Tell the public: on the status page, and those who subscribed", models.Publish),
    "judge": ("A suspected data breach is confirmed or dismissed", models.Judge),
    "check": ("An item of the data breach's checklist is done", models.Check),
}
CHANGED_MS = 2 * 3_600_000
"""How long before the first sign a change is shown beside it."""
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9]{0,15}-[0-9]{1,12}")

_KEY_PARAMETER = Parameter("key", "Such as INC-42.", {"type": "string"}, "path")
_LIST_PARAMETERS = (
    Parameter("state", "Only this state.", {"enum": list(get_args(State))}),
    Parameter("phase", "Only this phase.", {"enum": list(get_args(Phase))}),
    Parameter("service", "Exactly this service.", {"type": "string"}),
    Parameter("mode", "Only this mode; shadows are listed only when asked for.", {"enum": list(get_args(Mode))}),
    Parameter("limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": MOST, "default": 50}),
    Parameter("cursor", "Where the last page ended: its `next`.", {"type": "string"}),
)

_CHANGES_PARAMETERS = (
    Parameter("service", "Of this service and of none in particular.", {"type": "string"}),
    Parameter("start", "From here on, RFC 3339 or Unix seconds; default: a day ago.", {"type": "string"}),
    Parameter("end", "Up to here; default: now.", {"type": "string"}),
    _LIST_PARAMETERS[-2],
)


def parse_query(params: Mapping[str, str]) -> TicketQuery:
    """The query string as a question to the desk; 400 names the parameter and what it may be."""
    return TicketQuery(
        state=_one_of(params, "state", get_args(State)),
        phase=_one_of(params, "phase", get_args(Phase)),
        service=params.get("service") or None,
        mode=_one_of(params, "mode", get_args(Mode)),
        limit=limit(params.get("limit", "")),
        cursor=params.get("cursor") or None,
    )


def _one_of(params: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str | None:
    value = params.get(name, "")
    if value and value not in allowed:
        raise Problem(400, f"{name}={plain(value, 60)} is not known; allowed: {', '.join(allowed)}.")
    return value or None


def limit(text: str) -> int:
    """How many a page of a list has; 400 says what may be asked for."""
    if not text:
        return 50
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MOST):
        raise Problem(400, f"limit={plain(text, 40)}: write a number from 1 to {MOST}.")
    return int(text)


def at_time(params: Mapping[str, str], name: str, default: int) -> int:
    """A time of the query string, RFC 3339 or Unix seconds."""
    text = params.get(name, "")
    if not text:
        return default
    try:
        return parse_rfc3339(text) if "T" in text else round(float(text) * 1000)
    except (ValueError, OverflowError):
        raise Problem(400, f"{name}={plain(text, 40)}: write RFC 3339 or Unix seconds.") from None


async def find(deps: Deps, key: str, viewer: Viewer) -> Ticket:
    """The ticket, or 404: also for one that the viewer may not see."""
    ticket = await deps.desk.ticket(key, viewer) if _KEY.fullmatch(key) else None
    if ticket is None:
        raise Problem(404, f"There is no incident {plain(key, 60)}.")
    return ticket


async def changes_before(deps: Deps, ticket: Ticket) -> list[ChangeEvent]:
    """What was changed on the ticket's services and on what they need, in the two hours before its first sign."""
    first = ticket.first_symptom_at or ticket.reported_at or ticket.opened_at
    services = {ticket.service, *(affected.service for affected in ticket.affected if affected.how == "origin")}
    needed = {name for service in services for name in deps.needs(service)}
    return list(await deps.changes.between(first - CHANGED_MS, first, services | needed))


def seen_of(text: str) -> int | None:
    """What an ETag of an incident says: when a person last did something. None where it says nothing."""
    digits = text.strip().removeprefix("W/").strip('"')
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 17 else None


async def act(
    deps: Deps, key: str, action: str, viewer: Person, args: Mapping[str, Any], seen: int | None = None
) -> Ticket:
    """Do it through the pipeline; what role or desk refuse is a problem with its reason."""
    ticket = await find(deps, key, viewer)
    if reason := act_refusal(viewer, action, ticket.tier):
        target = "a restricted ticket" if ticket.restricted else ticket.key
        await deps.people.audit(viewer.name, "refused", f"{action} {target}", {"reason": reason}, every=MINUTE)
        raise Problem(403, reason)
    try:
        return await deps.actions.act(key, action, viewer, now=deps.clock.now(), seen=seen, **_for_desk(action, args))
    except NotAllowed as error:
        raise Problem(409, f"{error}.") from None
    except Conflict:
        raise Problem(409, f"{key} was changed by somebody else at the same moment; look again.") from None


def _for_desk(action: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """The body's fields under the names and in the units of the act."""
    given = {name: value for name, value in args.items() if value is not None or name == "assignee"}
    if action == "ask" and "questions" in given:
        given["asked"] = given.pop("questions")
    if action == "bridge" and "at" in given:
        try:
            given["at"] = parse_rfc3339(given["at"])
        except ValueError as error:
            raise Problem(422, f"at: {error}") from None
    return given


def routes(deps: Deps, shared: Shared) -> list[web.RouteDef]:
    """The routes, each with its description."""

    async def listed(query: TicketQuery, viewer: Viewer) -> Made:
        try:
            page = await deps.desk.tickets(query, viewer)
        except ValueError as error:
            raise Problem(400, f"cursor: {error}.") from None
        timelines, now = await deps.desk.timelines(page.items, viewer), deps.clock.now()
        items = [ticket_json(ticket, timelines[ticket.key], now) for ticket in page.items]
        return Made(json_bytes({"items": items, "next": page.next}), "application/json")

    @operation("Incidents, newest first", models.IncidentPage, parameters=_LIST_PARAMETERS)
    async def list_incidents(request: web.Request) -> web.Response:
        viewer, query = request[VIEWER], parse_query(request.query)
        # Whoever may see the same is answered the same, whoever they are.
        key = ("incidents", query, viewer.restricted)
        return await shared.answer(request, key, lambda: listed(query, viewer))

    @operation("One incident", models.Incident, parameters=(_KEY_PARAMETER,), errors=(404,))
    async def show_incident(request: web.Request) -> web.Response:
        ticket = await find(deps, request.match_info["key"], request[VIEWER])
        ticket = await deps.desk.similar(ticket, request[VIEWER])
        timeline = await deps.desk.timeline(ticket.key, request[VIEWER])
        changes = await changes_before(deps, ticket)
        answer = json_answer(ticket_json(ticket, timeline, deps.clock.now(), changes))
        answer.headers["ETag"] = f'"{ticket.last_step_at or 0}"'
        return answer

    @operation("What was changed, newest first", models.Changes, parameters=_CHANGES_PARAMETERS)
    async def list_changes(request: web.Request) -> web.Response:
        now = deps.clock.now()
        start, end = at_time(request.query, "start", now - DAY), at_time(request.query, "end", now)
        service = request.query.get("service", "")
        found = await deps.changes.between(
            start, end, [service] if service else None, limit(request.query.get("limit", ""))
        )
        return json_answer({"items": [change_json(change) for change in found]})

    @operation("Services of the catalogue, and those seen on open incidents", models.Services)
    async def list_services(request: web.Request) -> web.Response:
        return web.json_response({"items": await services(deps, request[VIEWER])})

    actions = [web.post(f"/api/incidents/{{key}}/{name}", _action(deps, name)) for name in ACTIONS]
    return [
        web.get("/api/incidents", list_incidents),
        web.get("/api/incidents/{key}", show_incident),
        *actions,
        web.get("/api/changes", list_changes),
        web.get("/api/services", list_services),
    ]


def _action(deps: Deps, name: str) -> Callable[[web.Request], Any]:
    summary, model = ACTIONS[name]

    errors = (404, 408, 409, 413, 415, 422)

    @operation(summary, models.Incident, body=model, parameters=(_KEY_PARAMETER,), errors=errors)
    async def handler(request: web.Request) -> web.Response:
        body = await json_body(request, model, deps.options.limits.body)
        viewer = request[VIEWER]
        seen = seen_of(request.headers.get("If-Match", ""))
        given = body.model_dump(exclude_unset=True)
        ticket = await act(deps, request.match_info["key"], name, viewer, given, seen)
        timeline = await deps.desk.timeline(ticket.key, viewer)
        return json_answer(ticket_json(ticket, timeline, deps.clock.now()))

    handler.__name__ = f"{name}_incident"
    return handler


async def services(deps: Deps, viewer: Viewer) -> list[dict[str, Any]]:
    """What ``/api/services`` answers: the catalogue by name, then what is known from open incidents only."""
    count = Counter(ticket.service for ticket in await deps.desk.every_open(viewer))
    known = {fact.name: fact for fact in deps.services()}
    items: list[dict[str, Any]] = [
        {"name": fact.name, "team": fact.team, "criticality": fact.criticality, "depends_on": list(fact.depends_on),
         "runbook": fact.runbook, "catalogued": True, "open": count[fact.name]}
        for fact in known.values()
    ]  # fmt: skip
    seen: list[dict[str, Any]] = [
        {"name": name, "team": None, "criticality": "medium", "depends_on": [], "runbook": "", "catalogued": False,
         "open": number}
        for name, number in count.items() if name and name not in known
    ]  # fmt: skip
    return sorted(items, key=lambda s: str(s["name"])) + sorted(seen, key=lambda s: str(s["name"]))
