"""The register of data breaches as JSON, for those who may see restricted tickets."""

from __future__ import annotations

from typing import Literal

from aiohttp import web
from pydantic import BaseModel, Field

from detector.nouns import State
from detector.tickets.register import register
from detector.web.api.models import Time
from detector.web.auth import VIEWER
from detector.web.deps import Deps
from detector.web.openapi import operation
from detector.web.problems import Problem
from detector.web.record import json_answer


class Suspicion(BaseModel):
    at: Time
    who: str


class Judgement(BaseModel):
    verdict: Literal["confirmed", "dismissed"]
    at: Time
    who: str
    text: str


class Remedy(BaseModel):
    item: str
    done_at: Time | None
    who: str | None
    text: str


class Measure(BaseModel):
    at: Time
    who: str
    text: str


class AffectedService(BaseModel):
    service: str
    items: list[str]


class Regulator(BaseModel):
    due_at: Time | None
    clock: Literal["running", "paused", "met", "breached"] | None
    notified_at: Time | None
    notified_by: str | None


class Breach(BaseModel):
    """One entry of the register (GDPR Art. 33(5)): the facts, the effects, the remedies."""

    key: str
    title: str
    description: str | None
    service: str
    state: State
    verdict: Literal["suspected", "confirmed", "dismissed"]
    suspected: Suspicion
    judgements: list[Judgement]
    effects: str = Field(description="What the assessment found.")
    affected: list[AffectedService]
    remedies: list[Remedy] = Field(description="The checklist, with what is not done yet.")
    measures: list[Measure] = Field(description="Fixes, as they were applied.")
    cause: str
    fix: str
    prevention: str
    regulator: Regulator
    opened_at: Time
    resolved_at: Time | None
    closed_at: Time | None


class Breaches(BaseModel):
    items: list[Breach]


def routes(deps: Deps) -> list[web.RouteDef]:
    """The routes, each with its description."""

    @operation("The register of data breaches, oldest first", Breaches)
    async def list_breaches(request: web.Request) -> web.Response:
        viewer = request[VIEWER]
        if not viewer.restricted:
            raise Problem(403, "The register of data breaches is shown to those who may see restricted incidents.")
        tickets = await deps.desk.breaches(viewer)
        timelines = await deps.desk.timelines(tickets, viewer)
        return json_answer({"items": register((ticket, timelines[ticket.key]) for ticket in tickets)})

    return [web.get("/api/breaches", list_breaches)]
