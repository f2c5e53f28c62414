"""The application: routes, and the doors that every request passes, outermost first: errors, Host and origin, login."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from detector.web import doors, problems
from detector.web.api import breaches, channels, incidents, operations, people, prometheus
from detector.web.api import oncall as oncall_api
from detector.web.api import problems as problems_api
from detector.web.api import silences as silences_api
from detector.web.api import statistics as statistics_api
from detector.web.api import why as why_api
from detector.web.deps import Deps
from detector.web.guard import Guard
from detector.web.pages import (
    account,
    board,
    called,
    incident,
    oncall,
    postmortem,
    report,
    settings,
    silences,
    static,
    statistics,
    status,
    subscribe,
    tools,
    why,
)
from detector.web.pages import problems as problems_page
from detector.web.pages.layout import Layout
from detector.web.shared import Shared
from detector.web.sse import Hub, stream


def create_app(deps: Deps, response_headers: dict[str, str] | None = None) -> web.Application:
    """Everything that is served on the one port.

    ``response_headers``: ``http_server_config.headers`` of the web configuration file. ``client_max_size`` is off:
    every handler reads its body with the limit of its own, ingest while streaming.
    """
    hub = Hub(deps.clock.now(), deps.options.limits.events_clients, deps.options.limits.events_queue)
    layout, shared, page = Layout(deps, hub), Shared(deps.desk), status.of(deps)
    sending = frozenset(route.path for route in deps.ingest if route.method in ("POST", "PUT", "*"))
    guard = Guard(deps, sending)
    app = web.Application(
        middlewares=[problems.middleware(layout.problem), doors.middleware(deps.options), guard.middleware],
        client_max_size=0,
    )
    apis = (oncall_api, why_api, statistics_api, problems_api, channels, breaches, people)
    desk = [*incidents.routes(deps, shared), *(route for api in apis for route in api.routes(deps))]
    app.add_routes(deps.ingest)
    app.add_routes(
        [
            *desk,
            *silences_api.routes(deps),
            *prometheus.routes(deps),
            *operations.routes(deps, desk),
            *board.routes(deps, layout, shared),
            *incident.routes(deps, layout),
            *report.routes(deps, layout, deps.links),
            *silences.routes(deps, layout),
            *why.routes(deps, layout),
            *oncall.routes(deps, layout),
            *called.routes(deps, layout),
            *status.routes(deps, layout, page),
            *subscribe.routes(deps, layout, page),
            *postmortem.routes(deps, layout),
            *tools.routes(deps, layout),
            *settings.routes(deps, layout),
            *problems_page.routes(deps, layout),
            *statistics.routes(deps, layout),
            *account.routes(deps, layout, guard),
            *static.routes(),
        ]
    )

    async def events(request: web.Request) -> web.StreamResponse:
        return await stream(request, deps, hub, lambda: guard.still(request))

    async def harden(request: web.Request, response: web.StreamResponse) -> None:
        await doors.harden(response_headers or {}, response)

    async def listen(_: web.Application) -> AsyncIterator[None]:
        leave = [deps.actions.subscribe(told) for told in (hub.committed, shared.committed)]
        yield
        for each in leave:
            each()

    async def end_streams(_: web.Application) -> None:
        hub.close()

    app.router.add_get("/api/events", events)
    app.on_response_prepare.append(harden)
    app.cleanup_ctx.append(listen)
    app.on_shutdown.append(end_streams)
    return app
