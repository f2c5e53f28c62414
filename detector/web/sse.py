"""Live events for pages: every commit as one small event, the facts of the status line now and then.

In: the pipeline's word of each commit. Out: ``text/event-stream``. An event says *that* a ticket changed and how it
stands; a page then reads anew what it shows. Restricted tickets and shadows leave no trace, not even a number.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp_sse import EventSourceResponse

from detector.clock import rfc3339
from detector.nouns import Ticket
from detector.tickets.desk import Committed
from detector.web.deps import Deps, StatusFacts
from detector.web.problems import Problem

_KEPT = 512
_STATUS_S = 5.0
_PING_S = 15.0
_LOOK_MS = 30_000
"""How often it is asked whether the page's session still holds."""


class Hub:
    """Fans commits out to the pages that listen, each with a bounded queue: a slow one loses its place, not the daemon.

    Event ids are ``epoch-number``; the epoch is the start of the process, so that a page from before a restart is told
    to read anew.
    """

    def __init__(self, since: int, clients: int, queue: int) -> None:
        self._epoch = since
        self._number = 0
        self._kept: deque[tuple[int, str]] = deque(maxlen=_KEPT)
        self._clients: set[asyncio.Queue[tuple[int, str] | None]] = set()
        self._most, self._queue = clients, queue
        self.closing = False

    def committed(self, committed: Committed) -> None:
        """Take note of a commit; on the event loop, never blocks, never raises for a slow page."""
        ticket = committed.ticket
        if ticket.restricted or ticket.mode == "shadow":
            return
        self._number += 1
        event = (self._number, json.dumps(_event(ticket)))
        self._kept.append(event)
        for client in tuple(self._clients):
            self._offer(client, event)

    def _offer(self, client: asyncio.Queue[tuple[int, str] | None], event: tuple[int, str] | None) -> None:
        if client.full():
            # The page is told to read anew, which shows it all that it has missed.
            while not client.empty():
                client.get_nowait()
            event = None
        client.put_nowait(event)

    def join(self, last: str | None) -> asyncio.Queue[tuple[int, str] | None]:
        """A queue of what happened after the event ``last`` (None: from now on); 503 when too many listen."""
        if len(self._clients) >= self._most:
            raise Problem(503, "Too many pages listen; this one is not live.", headers={"Retry-After": "30"})
        client: asyncio.Queue[tuple[int, str] | None] = asyncio.Queue(self._queue)
        if last is not None:
            missed = self._missed(last)
            if missed is None or len(missed) >= self._queue:
                missed = [None]
            for event in missed:
                client.put_nowait(event)
        self._clients.add(client)
        return client

    def leave(self, client: asyncio.Queue[tuple[int, str] | None]) -> None:
        self._clients.discard(client)

    def _missed(self, last: str) -> list[tuple[int, str] | None] | None:
        epoch, _, number = last.partition("-")
        if epoch != str(self._epoch) or not number.isascii() or not number.isdigit() or len(number) > 18:
            return None
        seen = int(number)
        if seen > self._number or (self._kept and seen + 1 < self._kept[0][0]):
            return None
        return [event for event in self._kept if event[0] > seen]

    def close(self) -> None:
        """Let every stream end, so that a shutdown does not wait for browsers."""
        self.closing = True
        for client in tuple(self._clients):
            self._offer(client, None)

    def name(self, number: int) -> str:
        """The id of event ``number`` on the wire."""
        return f"{self._epoch}-{number}"

    @property
    def here(self) -> str:
        """The id of the newest event: a page that is rendered now has seen all up to it."""
        return self.name(self._number)


def _event(ticket: Ticket) -> dict[str, Any]:
    return {
        "key": ticket.key, "version": ticket.version, "state": ticket.state, "phase": ticket.phase,
        "priority": ticket.priority, "service": ticket.service, "assignee": ticket.assignee,
    }  # fmt: skip


def _status(facts: StatusFacts) -> str:
    evaluated = rfc3339(facts.evaluated_at) if facts.evaluated_at is not None else None
    told = {"series": facts.series, "rules": facts.rules, "evaluated_at": evaluated, "problems": len(facts.problems)}
    return json.dumps(told)


Still = Callable[[], Awaitable[bool]]
"""Whether whoever listens may still come in."""


async def stream(request: web.Request, deps: Deps, hub: Hub, still: Still) -> web.StreamResponse:
    """``GET /api/events``: events ``ticket``, ``status`` and ``reset`` (read anew), until the page goes away or may not
    listen any more."""
    # The header is what a browser sends when it comes back; the query is a page's first word.
    last = request.headers.get("Last-Event-ID") or request.query.get("last")
    client = hub.join(last)
    response = EventSourceResponse(ping_interval=_PING_S, send_timeout=30)
    try:
        with contextlib.suppress(ConnectionResetError, TimeoutError, asyncio.CancelledError):
            await response.prepare(request)
            async with response:
                await _pump(response, client, deps, hub, still)
    finally:
        hub.leave(client)
    return response


async def _pump(
    response: EventSourceResponse, client: asyncio.Queue[tuple[int, str] | None], deps: Deps, hub: Hub, still: Still
) -> None:
    await response.send(_status(deps.status()), event="status", retry=3000)
    asked = deps.clock.now()
    while not hub.closing and response.is_connected():
        if deps.clock.now() - asked >= _LOOK_MS:
            if not await still():
                return
            asked = deps.clock.now()
        try:
            async with asyncio.timeout(_STATUS_S):
                event = await client.get()
        except TimeoutError:
            await response.send(_status(deps.status()), event="status")
            continue
        if event is None:
            await response.send("{}", event="reset", id=hub.here)
        else:
            await response.send(event[1], event="ticket", id=hub.name(event[0]))
