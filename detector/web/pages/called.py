"""For whoever was called: the incident by a signed link, without a login, and the buttons that take it or give it back.

A link never acts: scanners of mail and previews of chats fetch it. What acts is a POST, in the name of the person to
whom the message went. Of what is restricted the page says that it exists, and nothing else.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from detector.charts.specs import telling
from detector.notify.messages import sentence, title
from detector.nouns import Ticket, Viewer
from detector.pipeline import NoSuchTicket
from detector.tickets.acts import NotAllowed
from detector.tickets.desk import Conflict
from detector.tickets.lifecycle import ENDED
from detector.web.body import form
from detector.web.deps import Deps
from detector.web.links import CALLED, PROOF, Called, Proof
from detector.web.pages.incident import SMALL, sign
from detector.web.pages.layout import Layout
from detector.web.pages.text import shape
from detector.web.problems import Problem

_NOTHING = "This link opens nothing. Perhaps a part of it is missing."
_MOST_ENTRIES = 50


@dataclass(frozen=True, slots=True)
class Line:
    """A ticket of several, and what became of taking it."""

    ticket: Ticket
    shape: str
    word: str
    title: str
    said: str = ""


def routes(deps: Deps, layout: Layout) -> list[web.RouteDef]:
    def opened(request: web.Request) -> Called:
        link = deps.links.read_called(request.match_info["token"])
        if link is None:
            raise Problem(404, _NOTHING)
        gone = link.who not in {person.name for person in deps.duty.options.people}
        if gone or deps.clock.now() >= link.until:
            raise Problem(410, "This link has expired: log in, or wait for the next message.")
        return link

    async def tickets(link: Called) -> list[Ticket]:
        reader = Viewer(link.who, restricted=True)
        found = [await deps.desk.ticket(key, reader) for key in link.keys]
        if missing := [key for key, ticket in zip(link.keys, found, strict=True) if ticket is None]:
            raise Problem(404, f"There is no {missing[0]} any more.")
        return [ticket for ticket in found if ticket is not None]

    async def draw(request: web.Request, link: Called, trouble: str = "", done: str = "") -> web.Response:
        (ticket,) = await tickets(link)
        now = deps.clock.now()
        facts: dict[str, Any] = {
            "ticket": ticket, "who": link.who, "until": link.until, "now": now, "trouble": trouble, "done": done,
            "token": request.match_info["token"], "hidden": ticket.restricted,
        }  # fmt: skip
        if not ticket.restricted:
            facts |= await details(ticket, link, now)
        return await layout.render(request, "called.html", layout.here, code=409 if trouble else 200, **facts)

    async def details(ticket: Ticket, link: Called, now: int) -> dict[str, Any]:
        symptoms = sorted(ticket.symptoms, key=lambda s: (s.first_at, s.id))
        lead = telling(symptoms)
        chart = await deps.chart(lead, "light", *SMALL) if lead is not None else None
        timeline = await deps.desk.timeline(ticket.key, Viewer(link.who))
        word = shape(ticket)
        alive = ticket.state not in ENDED
        others = [person.name for person in deps.duty.options.people if person.name not in (link.who, ticket.assignee)]
        return {
            "shape": word[0], "word": word[1], "title": title(ticket), "signs": [sign(s, now) for s in symptoms[:20]],
            "chart": "data:image/svg+xml;base64," + base64.b64encode(chart).decode() if chart is not None else "",
            "alt": sign(lead, now).alt if lead is not None else "",
            "timeline": [(entry.at, entry.who, sentence(entry)) for entry in timeline[-_MOST_ENTRIES:]][::-1],
            "mine": ticket.assignee == link.who and ticket.acknowledged_at is not None, "alive": alive,
            "can_return": alive and ticket.assignee in (None, link.who), "others": others if alive else [],
        }  # fmt: skip

    async def list_all(request: web.Request, link: Called, said: Mapping[str, str] | None = None) -> web.Response:
        lines = []
        for ticket in await tickets(link):
            word, name = shape(ticket), "A restricted incident" if ticket.restricted else title(ticket)
            lines.append(Line(ticket, word[0], word[1], name, (said or {}).get(ticket.key, "")))
        return await layout.render(
            request, "called_all.html", layout.here, lines=lines, who=link.who, until=link.until,
            now=deps.clock.now(), token=request.match_info["token"], done=said is not None,
            left=sum(line.ticket.state not in ENDED and line.ticket.assignee is None and not line.ticket.restricted
                     for line in lines),
        )  # fmt: skip

    async def show(request: web.Request) -> web.Response:
        link = opened(request)
        return await list_all(request, link) if len(link.keys) > 1 else await draw(request, link)

    async def act(link: Called, key: str, action: str, arguments: Mapping[str, Any]) -> str:
        """Do it in the person's name; empty, or why it was not done."""
        try:
            # A viewer without rights of their own: what is restricted cannot be acted on by a link.
            await deps.actions.act(key, action, Viewer(link.who), now=deps.clock.now(), **arguments)
        except NotAllowed as error:
            return f"{error}."
        except NoSuchTicket:
            return f"{key} is restricted: log in to act on it."
        except Conflict:
            return f"{key} was changed by somebody else at the same moment; look again."
        return ""

    async def do(request: web.Request) -> web.Response:
        link = opened(request)
        fields = await form(request, deps.options.limits.body)
        await tickets(link)
        if len(link.keys) > 1:
            return await list_all(request, link, {key: await act(link, key, "ack", {}) or "Yours" for key in link.keys})
        action, wanted = fields.get("act", "ack"), {"ack": (), "not-mine": ("reason",), "help": ("person", "text")}
        if action not in wanted:
            raise Problem(422, "act: ack, not-mine or help.")
        trouble = await act(link, link.keys[0], action, {name: fields.get(name, "") for name in wanted[action]})
        if trouble:
            return await draw(request, link, trouble)
        raise web.HTTPSeeOther(CALLED + request.match_info["token"])

    def proof(request: web.Request) -> Proof:
        link = deps.links.read_proof(request.match_info["token"])
        if link is None:
            raise Problem(404, _NOTHING)
        if deps.clock.now() >= link.until:
            raise Problem(410, "This link has expired: send another test message.")
        return link

    async def ask(request: web.Request) -> web.Response:
        return await layout.render(request, "proof.html", layout.here, link=proof(request), proven=False)

    async def confirm(request: web.Request) -> web.Response:
        link = proof(request)
        try:
            await deps.duty.prove(link.who, link.channel)
        except LookupError as error:
            raise Problem(410, f"{error.args[0]}.") from None
        return await layout.render(request, "proof.html", layout.here, link=link, proven=True)

    return [
        web.get(CALLED + "{token}", show),
        web.post(CALLED + "{token}", do),
        web.get(PROOF + "{token}", ask),
        web.post(PROOF + "{token}", confirm),
    ]
