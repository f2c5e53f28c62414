"""``why``: everything that was done with an alert or an incident, in order, at any time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from detector.clock import rfc3339
from detector.nouns import Viewer
from detector.web.api.incidents import at_time
from detector.web.auth import VIEWER
from detector.web.chain import Step, of_episode, of_ticket
from detector.web.deps import Deps
from detector.web.openapi import Parameter, operation
from detector.web.problems import Problem
from detector.words import in_calendar, plain

MOST = 20
_KEY = re.compile(r"INC-[0-9]{1,12}", re.IGNORECASE)
_PARAMETERS = (
    Parameter("subject", "An incident's key, an alert's name, or its fingerprint.", {"type": "string"}),
    Parameter("at", "What was known then, RFC 3339 or Unix seconds; default: now.", {"type": "string"}),
)


class StepModel(BaseModel):
    at: str
    step: str = Field(description="received, deduplicated, rejected, grouped, silenced, inhibited, routed, sent, ...")
    said: str


class EpisodeModel(BaseModel):
    subject: str
    chain: list[StepModel]


class Why(BaseModel):
    subject: str
    at: str
    episodes: list[EpisodeModel]


class LedgerLine(BaseModel):
    episodes: int
    received: int
    stored: int
    deduplicated: int
    rejected: int


class LedgerModel(BaseModel):
    received: int
    stored: int
    deduplicated: int
    rejected: int
    by_result: dict[str, LedgerLine]


async def chains(deps: Deps, subject: str, at: int, viewer: Viewer) -> list[tuple[str, list[Step]]]:
    """Each episode's (or the incident's) name and chain; 404 where nothing is known of the subject."""
    if _KEY.fullmatch(subject):
        return [(subject.upper(), await _of_ticket(deps, subject.upper(), at, viewer))]
    found = []
    for episode in await deps.trace.episodes(subject):
        if episode.first_at > at:
            continue
        steps = of_episode(episode, at)
        if episode.ticket_key is not None:
            steps += await _of_ticket(deps, episode.ticket_key, at, viewer, missing=())
        labels = ", ".join(f'{k}="{v}"' for k, v in sorted(episode.alert.labels.items()))
        name = f"{{{plain(labels, 400)}}} since {rfc3339(in_calendar(episode.alert.starts_at))}"
        found.append((name, sorted(steps, key=lambda step: step.at)))
        if len(found) >= MOST:
            break
    if not found:
        when = "" if at >= deps.clock.now() else f" by {rfc3339(in_calendar(at))}"
        raise Problem(
            404, f"Nothing named {plain(subject, 100)} was received{when}: no alert of that name or fingerprint."
        )
    return found


async def _of_ticket(
    deps: Deps, key: str, at: int, viewer: Viewer, missing: Sequence[Step] | None = None
) -> list[Step]:
    ticket = await deps.desk.ticket(key, viewer)
    if ticket is None or ticket.opened_at > at:
        if missing is None:
            raise Problem(404, f"There is no incident {plain(key, 60)}.")
        return list(missing)
    return of_ticket(ticket, await deps.desk.timeline(key, viewer), await deps.trace.messages(key), at)


def routes(deps: Deps) -> list[web.RouteDef]:
    @operation("What was done with an alert or an incident", Why, parameters=_PARAMETERS, errors=(404,))
    async def why(request: web.Request) -> web.Response:
        subject = request.query.get("subject", "").strip()
        if not subject:
            raise Problem(400, "subject: name an incident such as INC-42, an alert, or a fingerprint.")
        at = at_time(request.query, "at", deps.clock.now())
        found = await chains(deps, subject, at, request[VIEWER])
        return web.json_response({
            "subject": subject, "at": rfc3339(in_calendar(at)),
            "episodes": [{"subject": name, "chain": [_json(step) for step in steps]} for name, steps in found],
        })  # fmt: skip

    @operation("Received = stored + deduplicated + rejected, over all alerts", LedgerModel)
    async def ledger(request: web.Request) -> web.Response:
        lines = {name: _line(name, sums) for name, sums in (await deps.trace.ledger()).items()}
        totals = {
            what: sum(line[what] for line in lines.values())
            for what in ("received", "stored", "deduplicated", "rejected")
        }
        return web.json_response(totals | {"by_result": lines})

    return [web.get("/api/why", why), web.get("/api/ledger", ledger)]


def _line(name: str, sums: Any) -> dict[str, int]:
    kept = name == "ticket"
    return {
        "episodes": sums["episodes"], "received": sums["received"], "stored": sums["stored"] if kept else 0,
        "deduplicated": sums["received"] - sums["stored"] if kept else 0,
        "rejected": 0 if kept else sums["received"],
    }  # fmt: skip


def _json(step: Step) -> dict[str, str]:
    return {"at": rfc3339(in_calendar(step.at)), "step": step.step, "said": step.said}
