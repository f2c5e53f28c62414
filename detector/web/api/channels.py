"""Channels that follow the desk: what they were handed can be handed to them once more."""

from __future__ import annotations

from aiohttp import web

from detector.clock import parse_rfc3339
from detector.web.api import models
from detector.web.body import json_body
from detector.web.deps import Deps
from detector.web.openapi import Parameter, operation
from detector.web.problems import Problem
from detector.words import plain

_CHANNEL = Parameter("channel", "The name of a channel with `changes: true`.", {"type": "string"}, "path")


def routes(deps: Deps) -> list[web.RouteDef]:
    @operation("Hand the changes since a time to a channel that follows the desk once more", models.Replayed,
               body=models.Replay, parameters=(_CHANNEL,), errors=(404, 408, 413, 415, 422))  # fmt: skip
    async def replay_channel(request: web.Request) -> web.Response:
        channel, body = request.match_info["channel"], await json_body(request, models.Replay, deps.options.limits.body)
        if channel not in deps.followers():
            known = ", ".join(deps.followers()) or "none (set `changes: true` on a webhook)"
            raise Problem(404, f"{plain(channel, 60)} follows no changes; those that do: {known}.")
        try:
            since = parse_rfc3339(body.since)
        except ValueError as error:
            raise Problem(422, f"since: {error}") from None
        count = await deps.outbox.replay(channel, since, deps.clock.now())
        deps.wake((channel,))
        return web.json_response({"messages": count})

    return [web.post("/api/channels/{channel}/replay", replay_channel)]
