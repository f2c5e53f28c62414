"""The board: what needs me now? One row per incident, what runs out first on top."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from detector.notify.messages import title
from detector.nouns import Ticket, Viewer
from detector.tickets.desk import TicketQuery
from detector.web.api.incidents import services
from detector.web.auth import VIEWER
from detector.web.deps import Deps
from detector.web.graph import picture
from detector.web.pages.layout import Layout
from detector.web.pages.spark import Spark, spark
from detector.web.pages.text import shape
from detector.web.shared import Made, Shared, asker

TABS = {
    "mine": "needs me", "predicted": "predicted", "disrupting": "disrupting", "open": "all open", "muted": "muted",
    "recent": "recent",
}  # fmt: skip
BULK = {"ack": "acknowledge", "resolve": "resolve as false alarm", "assign": "assign to me"}
ROWS = 60
"""Rows of one page: it stays under 150 KB whatever the storm."""
_RECENT = 60
_FAR = 1 << 62


@dataclass(frozen=True, slots=True)
class Row:
    """One incident as the board shows it."""

    ticket: Ticket
    shape: str
    word: str
    title: str
    held: str
    clock: tuple[str, int, bool] | None
    """Which clock runs out first, when (ms), and whether it has."""
    spark: Spark | None


def row(ticket: Ticket, viewer: Viewer) -> Row:
    holder = ticket.assignee
    held = "held by you" if holder == viewer.name else f"held by {holder}" if holder else "unacknowledged"
    if ticket.muted_since is not None:
        held = "muted"
    if ticket.state in ("resolved", "closed", "merged"):
        held = ticket.resolution or ticket.state
    return Row(ticket, *shape(ticket), title(ticket), held, _clock(ticket), spark(ticket.symptoms))


def _clock(ticket: Ticket) -> tuple[str, int, bool] | None:
    running = [clock for clock in ticket.clocks if clock.state in ("running", "breached")]
    if not running or ticket.state in ("resolved", "closed", "merged"):
        return None
    first = min(running, key=lambda clock: clock.due_at)
    return first.name, first.due_at, first.state == "breached"


def urgency(ticket: Ticket) -> tuple[int, int, str, int]:
    """The order of the board: what runs out first; where nothing runs, by priority, then oldest first."""
    dues = [clock.due_at for clock in ticket.clocks if clock.state in ("running", "breached")]
    if ticket.phase == "predicted" and ticket.impact is not None:
        dues.append(ticket.impact.likely)
    over = ticket.phase == "over" or ticket.state in ("resolved", "closed", "merged")
    return int(over), min(dues, default=_FAR), ticket.priority or "P9", ticket.opened_at


def needs(ticket: Ticket, viewer: Viewer) -> bool:
    """Whether somebody has to do something and that is this viewer: nobody holds it, or the viewer does."""
    if ticket.state == "waiting" or ticket.phase == "over" or ticket.muted_since is not None:
        return ticket.assignee == viewer.name
    return ticket.assignee in (None, viewer.name)


def choose(tickets: Sequence[Ticket], viewer: Viewer) -> dict[str, list[Ticket]]:
    """Open tickets by tab, each in the order of the board."""
    tests: Mapping[str, Callable[[Ticket], bool]] = {
        "mine": lambda t: needs(t, viewer),
        "predicted": lambda t: t.phase == "predicted",
        "disrupting": lambda t: t.phase == "disrupting",
        "open": lambda t: True,
        "muted": lambda t: t.muted_since is not None,
    }
    ordered = sorted(tickets, key=urgency)
    return {tab: [ticket for ticket in ordered if test(ticket)] for tab, test in tests.items()}


def matches(ticket: Ticket, words: Sequence[str]) -> bool:
    """Whether every word is somewhere in what a row says."""
    if not words:
        return True
    said = (ticket.key, ticket.service, ticket.tier, ticket.team, ticket.assignee, ticket.priority, ticket.category,
            title(ticket))  # fmt: skip
    text = " ".join(part for part in said if part).lower()
    return all(word in text for word in words)


class Rows:
    """Rows as they were last made: most do not change between two readings of a busy board."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, int, str], Row] = {}

    def of(self, tickets: Sequence[Ticket], viewer: Viewer) -> list[Row]:
        if len(self._made) > 20 * ROWS:
            self._made.clear()
        rows = []
        for ticket in tickets:
            name = (ticket.key, ticket.version, viewer.name)
            if name not in self._made:
                self._made[name] = row(ticket, viewer)
            rows.append(self._made[name])
        return rows


def routes(deps: Deps, layout: Layout, shared: Shared) -> list[web.RouteDef]:
    made = Rows()

    async def board(request: web.Request) -> web.Response:
        # Kept views are no commit of a ticket: they are looked at each time.
        views = await deps.views.of(request[VIEWER].name)
        key = ("board", request.path_qs, request[VIEWER], asker(request), tuple(views))
        return await shared.answer(request, key, lambda: page_of(request, views))

    async def page_of(request: web.Request, views: Sequence[tuple[str, str]]) -> Made:
        viewer, now, here = request[VIEWER], deps.clock.now(), layout.here
        tab = request.query.get("tab", "mine")
        tab = tab if tab in TABS else "mine"
        words = request.query.get("q", "").lower().split()[:8]
        chosen = choose([t for t in await deps.desk.every_open(viewer) if matches(t, words)], viewer)
        counts: dict[str, Any] = {name: len(found) for name, found in chosen.items()}
        shown = chosen.get(tab)
        if shown is None:
            page = await deps.desk.tickets(TicketQuery(limit=500), viewer)
            ended = [t for t in page.items if t.state in ("resolved", "closed", "merged") and matches(t, words)]
            shown = sorted(ended, key=lambda t: -(t.closed_at or t.resolved_at or t.opened_at))[:_RECENT]
        start = (_number(request.query.get("page", "")) - 1) * ROWS
        text = await layout.text(
            request, "board.html", here, tab=tab, tabs=TABS, counts=counts, now=now, q=" ".join(words),
            views=views, bulk=BULK,
            rows=made.of(shown[start : start + ROWS], viewer), total=len(shown), start=start,
            per_page=ROWS,
        )  # fmt: skip
        return Made(text.encode(), "text/html")

    async def service_list(request: web.Request) -> web.Response:
        here = layout.here
        items = await services(deps, request[VIEWER])
        shapes: dict[str, str] = {}
        for ticket in sorted(await deps.desk.every_open(request[VIEWER]), key=lambda t: t.phase == "disrupting"):
            if ticket.phase in ("predicted", "disrupting", "recovering"):
                shapes[ticket.service] = ticket.phase
        drawn = picture({item["name"]: item["depends_on"] for item in items if item["catalogued"]}, shapes)
        return await layout.render(
            request, "services.html", here, items=items, oncall=deps.oncall(), now=deps.clock.now(), shapes=shapes,
            picture=drawn,
        )  # fmt: skip

    return [web.get("/", board), web.get("/services", service_list)]


def _number(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 5 else 1
