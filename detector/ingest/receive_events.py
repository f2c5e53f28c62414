"""Events over HTTP as others send them: PagerDuty's ``/v2/enqueue`` and ``/v2/change/enqueue``, Grafana's annotations.

Answers are theirs, so that their clients retry what is to be retried: 202 (200 for an annotation) only once durable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from aiohttp import web

from detector.ingest.events_v2 import MOST_BYTES, Event, Invalid, annotation, change, event
from detector.ingest.receive import BadEncoding, TooLarge, Unavailable, damaged, problem, read, unavailable
from detector.nouns import ChangeEvent


class EventIntake(Protocol):
    """Where events go. Every method returns when the arrival is durable, or raises :class:`Unavailable`."""

    def now(self) -> int: ...
    def services(self) -> Sequence[str]: ...
    async def event(self, event: Event) -> None: ...
    async def changed(self, change: ChangeEvent) -> None: ...


def routes(intake: EventIntake) -> list[web.RouteDef]:
    async def alert(request: web.Request) -> web.StreamResponse:
        async def take(body: bytes) -> web.Response:
            sent = event(body, intake.now())
            await intake.event(sent)
            return _accepted("Event processed", dedup_key=sent.dedup_key)

        return await _taken(request, take)

    async def changed(request: web.Request) -> web.StreamResponse:
        async def take(body: bytes) -> web.Response:
            await intake.changed(change(body, intake.now()))
            return _accepted("Change event processed")

        return await _taken(request, take)

    async def annotated(request: web.Request) -> web.StreamResponse:
        async def take(body: bytes) -> web.Response:
            sent = annotation(body, intake.now(), intake.services())
            await intake.changed(sent)
            return web.json_response({"message": "Annotation added", "id": int(sent.dedup_key[:12], 16)})

        return await _taken(request, take)

    return [
        web.post("/v2/enqueue", alert),
        web.post("/v2/change/enqueue", changed),
        web.post("/api/annotations", annotated),
    ]


async def _taken(request: web.Request, take: Callable[[bytes], Awaitable[web.Response]]) -> web.StreamResponse:
    try:
        return await take(await read(request, MOST_BYTES))
    except TooLarge as error:
        return problem(413, str(error), request)
    except BadEncoding as error:
        return damaged(error, request)
    except Unavailable as error:
        return unavailable(error, request)
    except Invalid as error:
        body = {"status": "invalid event", "message": "Event object is invalid", "errors": error.errors[:20]}
        return web.json_response(body, status=400)


def _accepted(message: str, **more: str) -> web.Response:
    return web.json_response({"status": "success", "message": message, **more}, status=202)
