"""The arguments of an act, with what the configuration says to it and with the tickets that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from detector.nouns import Problem, Ticket, Viewer
from detector.tickets.allowed import NoSuchTicket, NotAllowed
from detector.tickets.desk import Desk
from detector.tickets.options import TicketOptions
from detector.tickets.problems import Problems
from detector.tickets.talk import questions


class Arguments:
    """``options`` is asked anew for each act: a reload replaces them."""

    def __init__(self, desk: Desk, problems: Problems, options: Callable[[], TicketOptions]) -> None:
        self._desk = desk
        self._problems = problems
        self._options = options

    async def filled(
        self, ticket: Ticket, action: str, viewer: Viewer, given: Mapping[str, Any], tickets: Iterable[Ticket]
    ) -> dict[str, Any]:
        """What :data:`detector.tickets.acts.ACTIONS` takes for ``action``; ``tickets``: those on the board. Raises
        NoSuchTicket or NotAllowed for a key that opens nothing to this viewer."""
        options = self._options()
        match action:
            case "merge":
                into = str(given.get("into", ""))
                if (found := await self._desk.ticket(into, viewer)) is None:
                    raise NoSuchTicket(into)
                return {**given, "into": found}
            case "link":
                return {**given, "to": await self._linkable(str(given.get("to", "")), viewer)}
            case "split":
                return {**given, "new": "new-1"}
            case "use":
                if key := str(given.get("solution", "")):
                    await self._ticket(key, viewer)
            case "ask":
                return {**given, "basic": questions(ticket.category, options.questions)}
            case "publish":
                return {**given, "another": options.communication.review == "another"}
            case "run":
                role = getattr(viewer, "role", "admin")
                return {**given, "options": options.response, "last_run": _last_run(tickets), "role": role}
        return dict(given)

    async def _linkable(self, key: str, viewer: Viewer) -> Ticket | Problem:
        return await self._problems.one(key) or await self._ticket(key, viewer)

    async def _ticket(self, key: str, viewer: Viewer) -> Ticket:
        found = await self._desk.ticket(key, viewer)
        if found is None:
            raise NotAllowed(f"there is no incident or problem {key[:40]}")
        return found


def _last_run(tickets: Iterable[Ticket]) -> dict[str, int]:
    """When (ms) each action was run last."""
    last: dict[str, int] = {}
    for ticket in tickets:
        for taken in ticket.actions:
            last[taken.name] = max(taken.at, last.get(taken.name, 0))
    return last
