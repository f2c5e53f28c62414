"""A small real shop with two real faults that grow: it leaks file descriptors, and its queue gets slower.

Runs as a process of its own (``python -m detector.demo.shop PORT``), under load that it makes for itself over HTTP. It
is healthy for ``HEALTHY_S``; then one request in a few forgets to close the receipt it opened, until the process's own
limit of open files (``RLIMIT_NOFILE``) is reached and requests fail, and each job takes a little longer than the last,
until the queue is full and orders are refused. Nothing here knows the detector: it is scraped like any other service.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from typing import IO

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

HEALTHY_S = 50.0
OPEN_FILES = 420
LEAK_EVERY = 5
REQUESTS_PER_S = 25.0
QUEUE_LIMIT = 400
JOB_S = 0.020
JOB_GROWTH_S = 0.0006
"""A job takes this much longer for every second since the fault began: the worker falls behind after about 100 s."""


class Shop:
    """The service: pages, orders that are queued for a worker, and its metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        r = self.registry
        self.requests = Counter("http_requests", "Requests by path and code.", ["path", "code"], registry=r)
        self.seconds = Histogram(
            "http_request_duration_seconds", "Duration of requests.", ["path"], registry=r,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
        )  # fmt: skip
        self.job_age = Histogram(
            "shop_job_age_seconds", "From order to done.", registry=r, buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
        )
        depth = Gauge("shop_queue_depth", "Jobs that wait.", registry=r)
        depth.set_function(lambda: self.jobs.qsize())
        Gauge("shop_queue_limit", "Jobs that may wait.", registry=r).set(QUEUE_LIMIT)
        self.jobs: asyncio.Queue[float] = asyncio.Queue(QUEUE_LIMIT)
        self.started = time.monotonic()
        self.leaked: list[IO[bytes]] = []
        self._count = itertools.count(1)
        self._folder = tempfile.TemporaryDirectory(prefix="demo-shop-")

    def fault_age(self) -> float:
        """Seconds since the faults began; 0 while the shop is healthy."""
        return max(0.0, time.monotonic() - self.started - HEALTHY_S)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._measured])
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/receipt", self.receipt)
        app.router.add_post("/order", self.order)
        app.cleanup_ctx.append(self._worker)
        return app

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self.registry), content_type="text/plain")

    async def receipt(self, _request: web.Request) -> web.Response:
        """Writes a receipt; once the fault is on, one in a few is never closed."""
        number = next(self._count)
        receipt = open(os.path.join(self._folder.name, f"{number % 50}"), "wb")  # noqa: ASYNC230, SIM115 - leaked
        receipt.write(b"thank you")
        if self.fault_age() and number % LEAK_EVERY == 0:
            self.leaked.append(receipt)
        else:
            receipt.close()
        return web.Response(text="thank you")

    async def order(self, _request: web.Request) -> web.Response:
        try:
            self.jobs.put_nowait(time.monotonic())
        except asyncio.QueueFull:
            raise web.HTTPServiceUnavailable(text="the queue is full") from None
        return web.Response(status=202, text="accepted")

    @web.middleware
    async def _measured(self, request: web.Request, handler: web.Handler) -> web.StreamResponse:  # type: ignore[name-defined]
        start, code = time.monotonic(), 500
        try:
            response: web.StreamResponse = await handler(request)
            code = response.status
            return response
        except web.HTTPException as error:
            code = error.status
            raise
        finally:
            self.requests.labels(request.path, str(code)).inc()
            self.seconds.labels(request.path).observe(time.monotonic() - start)

    async def _worker(self, _app: web.Application) -> AsyncIterator[None]:
        async def work() -> None:
            while True:
                ordered = await self.jobs.get()
                await asyncio.sleep(JOB_S + JOB_GROWTH_S * self.fault_age())
                self.job_age.observe(time.monotonic() - ordered)

        task = asyncio.create_task(work())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        self._folder.cleanup()


async def customers(url: str) -> None:
    """Requests at a rate that waves a little, as people do; half read a receipt, half order."""
    dice = random.Random(7)
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=20)) as session:

        async def visit() -> None:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                if dice.random() < 0.5:
                    async with session.get(f"{url}/receipt") as answer:
                        await answer.read()
                else:
                    async with session.post(f"{url}/order") as answer:
                        await answer.read()

        visits: set[asyncio.Task[None]] = set()
        while True:
            rate = REQUESTS_PER_S * (1 + 0.2 * math.sin(time.monotonic() / 20))
            await asyncio.sleep(dice.expovariate(rate))
            if len(visits) < 100:
                task = asyncio.create_task(visit())
                visits.add(task)
                task.add_done_callback(visits.discard)


async def main(port: int) -> None:
    """Serve and be used until the process is told to end."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))
    runner = web.AppRunner(Shop().app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        await customers(f"http://127.0.0.1:{port}")
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1])))
