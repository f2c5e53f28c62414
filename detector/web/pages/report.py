"""For those who report: the form, and the page on which they read and answer, by a signed link and without a login."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web
from pydantic import Field

from detector.nouns import Report, Reporter, Ticket, TimelineEntry, Viewer
from detector.tickets.acts import REPORTER, NotAllowed
from detector.web.auth import ANONYMOUS, VIEWER
from detector.web.body import Body, Line, Text, checked, form
from detector.web.deps import Deps
from detector.web.links import PREFIX, Links
from detector.web.pages.incident import invitation_response
from detector.web.pages.layout import Layout
from detector.web.problems import Problem
from detector.words import plain

STATES: Mapping[str, str] = {
    "logged": "We have it and will look at it.", "triaged": "We have it and will look at it.",
    "diagnosing": "Somebody is working on it.", "reopened": "We look at it again.",
    "resolved": "We think that it is solved. Is it?", "closed": "It is closed.",
    "merged": "Others reported the same; it is handled together with theirs.",
}  # fmt: skip
WAITING: Mapping[str, str] = {
    "user": "We wait for your answer.", "supplier": "We wait for a supplier.", "change": "A change is on its way.",
}  # fmt: skip
_SHOWN = {"opened": "you", "replied": "us", "answered": "you", "reopened": "you", "asked": "us"}


class Told(Body):
    """What the form takes."""

    description: Text = Field(min_length=1)
    name: Line
    contact: str = Field("", max_length=320)
    service: str = Field("", max_length=200)
    security: bool = False
    call: bool = False


def routes(deps: Deps, layout: Layout, links: Links) -> list[web.RouteDef]:
    async def blank(request: web.Request) -> web.Response:
        return await draw(request, {}, None)

    async def draw(
        request: web.Request, given: Mapping[str, str], trouble: Problem | None, logged: str = ""
    ) -> web.Response:
        names = sorted({fact.name for fact in deps.services()})
        return await layout.render(
            request, "report.html", layout.here, code=trouble.status if trouble else 200, services=names, given=given,
            trouble=trouble, now=deps.clock.now(), operator=operates(request), logged=logged,
        )  # fmt: skip

    def operates(request: web.Request) -> bool:
        """Whether somebody of the desk asks: whoever logged in, or everybody where nobody has to."""
        return request[VIEWER].name != ANONYMOUS or not deps.access.users

    async def send(request: web.Request) -> web.Response:
        fields = await form(request, deps.options.limits.body)
        known: dict[str, str | None] = {k: v for k, v in fields.items() if k in Told.model_fields and v.strip()}
        try:
            told = checked(Told, known)
        except Problem as problem:
            return await draw(request, fields, problem)
        called = told.call and operates(request)
        report = Report(
            told.description, deps.clock.now(), Reporter(told.name, told.contact.strip()),
            service=told.service.strip(), security=told.security, channel="call" if called else "page",
        )  # fmt: skip
        ticket = await deps.actions.report(report, request[VIEWER].name if called else REPORTER)
        if called and ticket.restricted:
            # Whoever wrote it down gets its number for the caller, and no way in.
            return await draw(request, {}, None, ticket.key)
        if called:
            raise web.HTTPSeeOther(f"/incidents/{ticket.key}")
        raise web.HTTPSeeOther(links.path(ticket.key))

    async def opened(request: web.Request) -> Ticket:
        """The link's ticket; the signature is the right to see it, a confidential one too."""
        key = links.key(request.match_info["token"])
        ticket = await deps.desk.ticket(key, _reader(REPORTER)) if key is not None else None
        if ticket is None or ticket.reporter is None:
            raise Problem(404, "This link opens nothing. Perhaps a part of it is missing.")
        return ticket

    async def show(request: web.Request, trouble: Problem | None = None) -> web.Response:
        ticket = await opened(request)
        timeline = await deps.desk.timeline(ticket.key, _reader(REPORTER))
        state = WAITING.get(ticket.waiting or "", STATES.get(ticket.state, "We are working on it."))
        return await layout.render(
            request, "reporter.html", layout.here, code=trouble.status if trouble else 200, ticket=ticket, state=state,
            said=_said(ticket, timeline), trouble=trouble, token=request.match_info["token"], now=deps.clock.now(),
        )  # fmt: skip

    async def read(request: web.Request) -> web.Response:
        return await show(request)

    async def answer(request: web.Request) -> web.Response:
        ticket, fields = await opened(request), await form(request, deps.options.limits.body)
        verdict, text = fields.get("solved", ""), fields.get("text", "")
        arguments: dict[str, Any] = {"text": text} | ({"solved": verdict == "yes"} if verdict else {})
        action = "confirm" if verdict else "answer"
        if not verdict:
            numbers = {q.number: fields.get(f"answer-{q.number}", "") for q in ticket.questions}
            arguments["answers"] = {number: said for number, said in numbers.items() if said.strip()}
        try:
            await deps.actions.act(ticket.key, action, _reader(REPORTER), now=deps.clock.now(), **arguments)
        except NotAllowed as error:
            return await show(request, Problem(409, f"{error}."))
        raise web.HTTPSeeOther(PREFIX + request.match_info["token"])

    async def calendar(request: web.Request) -> web.Response:
        return invitation_response(await opened(request), deps)

    return [
        web.get("/report", blank),
        web.post("/report", send),
        web.get(PREFIX + "{token}", read),
        web.post(PREFIX + "{token}", answer),
        web.get(PREFIX + "{token}/bridge.ics", calendar),
    ]


def _words(entry: TimelineEntry) -> str:
    """What an entry says, with the answers to questions below it."""
    said = str(entry.data.get("text") or entry.data.get("reason") or "")
    answers, asked = entry.data.get("answers"), entry.data.get("questions")
    lines = [*answers.values()] if isinstance(answers, Mapping) else asked if isinstance(asked, list) else []
    return "\n".join(part for part in (said, *map(str, lines)) if part)


def _reader(name: str) -> Viewer:
    return Viewer(name, restricted=True)


def _said(ticket: Ticket, timeline: Sequence[TimelineEntry]) -> list[tuple[int, str, str]]:
    """(when, who, text) of what was said between the reporter and the desk; nothing else of the timeline."""
    out = []
    for entry in timeline:
        who = _SHOWN.get(entry.what)
        if who is None or (entry.what == "reopened" and entry.who != REPORTER):
            continue
        text = ticket.description if entry.what == "opened" else _words(entry)
        if text:
            out.append((entry.at, who, "\n".join(plain(line, 2000) for line in str(text).splitlines()[:200])))
    return out
