"""The daemon's face: JSON API, Prometheus query API, pages, live events, metrics, health; and the doors before them.

In: :class:`~detector.web.deps.Deps`, Protocols that the daemon fills. Out: an ``aiohttp.web.Application``. Nothing here
decides anything about a ticket: it reads through the desk and acts through the pipeline.
"""
