"""Silences as Alertmanager's API v2 has them, so that amtool, karma and Grafana set and end them here.

Its own OpenAPI document describes them; ``covers`` is ours: a silence on predictions does not keep a disruption quiet.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from detector.clock import parse_rfc3339, rfc3339
from detector.incidents.matchers import Matcher, parse
from detector.incidents.mute import Noise, compiled, covers_too_much
from detector.nouns import Silence, Viewer
from detector.web.auth import ANONYMOUS, VIEWER
from detector.web.body import read
from detector.web.deps import Deps
from detector.web.problems import Problem
from detector.words import plain

MOST = 10_000
MOST_MATCHERS = 50
LONGEST = 1000
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class MatcherModel(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str = Field(min_length=1, max_length=LONGEST)
    value: str = Field(max_length=LONGEST)
    isRegex: bool
    isEqual: bool = True


class SilenceBody(BaseModel):
    """Alertmanager's ``postableSilence``."""

    model_config = ConfigDict(extra="ignore")

    id: str = Field("", max_length=64)
    matchers: list[MatcherModel] = Field(min_length=1, max_length=MOST_MATCHERS)
    startsAt: str
    endsAt: str
    createdBy: str = Field("", max_length=200)
    comment: str = Field("", max_length=2000)


class Unfit(ValueError):
    """No such silence can be made; the message says why."""


def state(silence: Silence, now: int) -> str:
    """As Alertmanager names it: pending, active or expired."""
    return "expired" if now >= silence.ends_at else "pending" if now < silence.starts_at else "active"


def silence_json(silence: Silence, now: int) -> dict[str, Any]:
    return {
        "id": silence.id,
        "status": {"state": state(silence, now)},
        "matchers": [
            {"name": name, "value": value, "isRegex": op.endswith("~"), "isEqual": not op.startswith("!")}
            for name, op, value in silence.matchers
        ],
        "startsAt": rfc3339(silence.starts_at), "endsAt": rfc3339(silence.ends_at),
        "updatedAt": rfc3339(silence.updated_at), "createdBy": silence.created_by, "comment": silence.comment,
        "covers": silence.covers,
    }  # fmt: skip


def made(
    matchers: Sequence[tuple[str, str, str]], starts_at: int, ends_at: int, who: str, comment: str, now: int
) -> Silence:
    """A new one, or Unfit. What would have begun in the past begins now."""
    starts_at = max(starts_at, now)
    if ends_at <= now:
        raise Unfit("end time can't be in the past")
    if ends_at <= starts_at:
        raise Unfit("start time must be before end time")
    silence = Silence(str(uuid.uuid4()), tuple(matchers), starts_at, ends_at, now, who, comment)
    try:
        asked = compiled(silence).matchers
    except ValueError as error:
        raise Unfit(str(error)) from None
    if any(not _NAME.fullmatch(name) for name, _, _ in matchers):
        raise Unfit("a label's name is letters, digits and _")
    if all(matcher({}) for matcher in asked):
        raise Unfit("at least one matcher must not match the empty string")
    return silence


def ended(silence: Silence, now: int) -> Silence:
    """The same, over now; one that had not begun never will."""
    return replace(silence, starts_at=min(silence.starts_at, now), ends_at=now, updated_at=now)


async def say(deps: Deps, silence: Silence, now: int, *replaced: Silence) -> Silence:
    """Set it; what it would mute now decides whether it is a word on predictions only."""
    if sum(s.ends_at > now for s in deps.actions.noise.silences) >= MOST:
        raise Unfit(f"there are {MOST} silences already")
    if silence.starts_at <= now and deps.actions.is_about_predictions(silence):
        silence = replace(silence, covers="predictions")
    await deps.actions.silence([silence, *replaced], now)
    return silence


def shown(noise: Noise, filters: Sequence[Matcher]) -> list[Silence]:
    """Those that have, for each filter, a matcher on the same label which the filter fits."""
    return [
        silence
        for silence in noise.silences
        if all(any(name == f.name and f({name: value}) for name, _, value in silence.matchers) for f in filters)
    ]


def routes(deps: Deps) -> list[web.RouteDef]:
    async def list_silences(request: web.Request) -> web.Response:
        try:
            filters = [parse(text) for text in request.query.getall("filter", [])[:MOST_MATCHERS]]
        except ValueError as error:
            return _refused(400, f"bad matcher format: {error}")
        now = deps.clock.now()
        return web.json_response([silence_json(s, now) for s in shown(deps.actions.noise, filters)])

    async def show_silence(request: web.Request) -> web.Response:
        silence = await _known(deps, request.match_info["id"])
        return web.json_response(silence_json(silence, deps.clock.now()))

    async def post_silence(request: web.Request) -> web.Response:
        now = deps.clock.now()
        try:
            body = SilenceBody.model_validate_json(await read(request, deps.options.limits.body))
            silence, replaced = await _asked(deps, body, request[VIEWER], now)
            done = await say(deps, silence, now, *replaced)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            return _refused(400, f"{plain(place, 200)}: {first['msg']}")
        except Unfit as error:
            return _refused(400, f"invalid silence: {error}")
        return web.json_response({"silenceID": done.id})

    async def delete_silence(request: web.Request) -> web.Response:
        now = deps.clock.now()
        silence = await _known(deps, request.match_info["id"])
        if state(silence, now) == "expired":
            return _refused(500, f"silence {silence.id} already expired")
        await deps.actions.silence([ended(silence, now)], now)
        return web.Response(status=200)

    return [
        web.get("/api/v2/silences", list_silences),
        web.post("/api/v2/silences", post_silence),
        web.get("/api/v2/silence/{id}", show_silence),
        web.delete("/api/v2/silence/{id}", delete_silence),
    ]


async def _known(deps: Deps, id: str) -> Silence:
    found = await deps.actions.silences.one(id) if len(id) <= 64 else None
    if found is None:
        raise Problem(404, f"There is no silence {plain(id, 60)}.")
    return found


async def _asked(deps: Deps, body: SilenceBody, viewer: Viewer, now: int) -> tuple[Silence, list[Silence]]:
    """What the body asks for, and what becomes of the silence that it changes: as in Alertmanager, one that keeps its
    matchers keeps its id, else it ends and a new one begins."""
    try:
        starts, ends = parse_rfc3339(body.startsAt), parse_rfc3339(body.endsAt)
    except ValueError as error:
        raise Unfit(str(error)) from None
    matchers = [(m.name, ("" if m.isEqual else "!") + ("=~" if m.isRegex else "="), m.value) for m in body.matchers]
    matchers = [(name, {"!=~": "!~"}.get(op, op), value) for name, op, value in matchers]
    who = body.createdBy if viewer.name == ANONYMOUS and body.createdBy else viewer.name
    silence = made(matchers, starts, ends, plain(who, 200), plain(body.comment, 2000), now)
    if not body.id:
        return silence, []
    known = await _known(deps, body.id)
    if state(known, now) != "expired" and known.matchers == silence.matchers:
        begun = state(known, now) == "active"
        return replace(silence, id=known.id, starts_at=known.starts_at if begun else silence.starts_at), []
    return silence, [ended(known, now)] if state(known, now) != "expired" else []


def _refused(status: int, text: str) -> web.Response:
    """Alertmanager's errors are JSON strings."""
    return web.Response(status=status, text=json.dumps(text), content_type="application/json")


__all__ = ["Unfit", "covers_too_much", "ended", "made", "routes", "say", "silence_json", "state"]
