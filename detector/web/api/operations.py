"""For those who run the daemon: metrics, health, readiness, reload, the API's own description."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from detector.tickets.database import StorageError
from detector.web.api.models import ReportBody, Reported
from detector.web.auth import VIEWER
from detector.web.deps import Deps, ReloadRefused
from detector.web.openapi import Operation, document
from detector.web.problems import Problem

log = logging.getLogger(__name__)

_INGEST = {
    "/api/reports": Operation(
        "What a person tells, in their words",
        Reported,
        ReportBody,
        errors=(413,),
        tag="ingest",
        status=201,
        name="report",
    )
}


def routes(deps: Deps, described: Sequence[web.RouteDef]) -> list[web.RouteDef]:
    """``described``: the routes that the OpenAPI document is about."""
    openapi = document([*described, *deps.ingest], deps.status().version, deps.options.url, _INGEST)

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        response = web.Response(body=encode(deps.telemetry.registry), headers={"Content-Type": content_type})
        response.enable_compression()
        return response

    async def healthy(request: web.Request) -> web.Response:
        return _state("healthy", deps.healthy())

    async def ready(request: web.Request) -> web.Response:
        return _state("ready", deps.ready())

    async def reload(request: web.Request) -> web.Response:
        try:
            notes = await deps.reload()
        except ReloadRefused as error:
            errors = [{"detail": problem} for problem in error.problems]
            raise Problem(422, f"The configuration was not changed: {error}", errors=errors) from None
        try:
            await deps.people.audit(request[VIEWER].name, "reload", "configuration", {"notes": list(notes)})
        except StorageError as error:
            # It is done: a broken database is mended by reloading, too.
            log.error("the reload could not be written into the audit log: %s", error)
        return web.Response(text="".join(f"{note}\n" for note in notes or ("configuration reloaded",)))

    async def describe(request: web.Request) -> web.Response:
        return web.json_response(openapi)

    return [
        web.get("/metrics", metrics),
        web.get("/-/healthy", healthy),
        web.get("/-/ready", ready),
        web.post("/-/reload", reload),
        web.put("/-/reload", reload),
        web.get("/api/openapi.json", describe),
    ]


def _state(word: str, reasons: Sequence[str]) -> web.Response:
    if not reasons:
        return web.Response(text=f"detector is {word}\n")
    text = "".join(f"not {word}: {reason}\n" for reason in reasons)
    return web.Response(text=text, status=503, headers={"Retry-After": "1"})
