"""Chromium from Debian, driven by Playwright, before the web room with the real desk behind it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest_asyncio
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from prometheus_client import CollectorRegistry

from detector.charts.render import Renderer
from detector.charts.specs import symptom_spec
from detector.clock import SystemClock
from detector.config.compose import Root
from detector.daemon.duty import Duty
from detector.nouns import ChangeEvent, Symptom
from detector.pipeline import Pipeline
from detector.telemetry import Telemetry
from detector.tickets.database import address
from detector.web.app import create_app
from detector.web.deps import Theme
from detector.web.links import Links
from detector.web.options import WebConfig, WebOptions
from tests.browser.furniture import facts, furnish_everything
from tests.conftest import ROOT, binary
from tests.rows import rows
from tests.web.crew import SHM
from tests.web.house import deps

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESK: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
SIZES: dict[str, dict[str, Any]] = {"desk": DESK, "phone": PHONE}
ARTEFACTS = ROOT / "artefacts" / "screenshots"


@dataclass
class Stage:
    """A served web room on the machine's clock, a browser before it, and what the browser complained of."""

    url: str
    pipeline: Pipeline
    clock: SystemClock
    contexts: Callable[..., Awaitable[BrowserContext]]
    complaints: list[str]
    problems: list[str]
    """What the daemon says of itself that does not work."""
    links: Links

    @property
    def now(self) -> int:
        return self.clock.now()

    async def page(self, path: str = "/", **options: Any) -> Page:
        """A page in a context of its own; ``options`` are Playwright's (viewport, color_scheme, ...)."""
        context = await self.contexts(**options)
        page = await self.open(context)
        await page.goto(self.url + path)
        return page

    async def open(self, context: BrowserContext) -> Page:
        """An empty page whose complaints are heard."""
        page = await context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda m: self.complaints.append(f"{m.type}: {m.text}") if m.type != "log" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda r: self.complaints.append(f"{r.url}: {r.failure}") if _matters(r) else None)
        return page

    async def picture(self, page: Page, name: str, whole: bool = False) -> None:
        """Keep a screenshot to be looked at, where DETECTOR_PICTURES asks for it: a hundred cost half a minute."""
        if not os.environ.get("DETECTOR_PICTURES"):
            return
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=whole)


def _matters(request: Any) -> bool:
    # A page that is left ends what it was still loading, its event stream first of all: that is no failure.
    return bool(request.failure != "net::ERR_ABORTED" and "/api/events" not in request.url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    path = binary("chromium", "chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    """Draws for every stage of a module: its process takes seconds to start."""
    made = Renderer(SystemClock(), Telemetry(CollectorRegistry()))
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def stage(chromium: Browser, renderer: Renderer) -> AsyncIterator[Stage]:
    async with staged(chromium, renderer) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def furnished(chromium: Browser, renderer: Renderer) -> AsyncIterator[Stage]:
    """One for a whole module: nobody changes anything on it. Every page has all of its parts."""
    async with staged(chromium, renderer) as made:
        await furnish_everything(made.pipeline, made.now)
        yield made


@asynccontextmanager
async def staged(chromium: Browser, renderer: Renderer) -> AsyncIterator[Stage]:
    """A stage whose contexts, and no others, are closed with it."""
    opened: list[BrowserContext] = []

    async def context(**options: Any) -> BrowserContext:
        opened.append(await chromium.new_context(**options))
        return opened[-1]

    async with _served(context, renderer) as made:
        yield made
        for one in opened:
            await one.close()


@asynccontextmanager
async def _served(
    contexts: Callable[..., Awaitable[BrowserContext]], renderer: Renderer
) -> AsyncIterator[Stage]:  # fmt: skip
    clock, problems = SystemClock(), list[str]()
    # A file: in memory there is one connection, on which a page's readers would end a writer's transaction.
    with TemporaryDirectory(dir=SHM if Path(SHM).is_dir() else None) as folder:
        async with rows(url=address(Path(folder) / "desk.db")) as pipeline:
            async with _room(contexts, renderer, pipeline, clock, problems) as made:
                yield made


@asynccontextmanager
async def _room(
    contexts: Callable[..., Awaitable[BrowserContext]], renderer: Renderer, pipeline: Pipeline, clock: SystemClock,
    problems: list[str],
) -> AsyncIterator[Stage]:  # fmt: skip
    telemetry = pipeline._telemetry

    async def chart(
        symptom: Symptom, theme: Theme, width: int, height: int, changes: Sequence[ChangeEvent] = ()
    ) -> bytes | None:
        marks = [change.at for change in changes]
        spec = symptom_spec(symptom, clock.now(), theme, width=width, height=height, changed=marks)
        return (await renderer.svg(spec)).encode()

    async def send(channel: str, path: str) -> None:
        """Every channel takes every test message."""

    made = deps(pipeline, clock, telemetry, WebOptions(), WebConfig())
    duty = Duty(lambda: pipeline.policy.oncall, lambda: UTC, pipeline, made.links, clock, telemetry, send)
    status = made.status
    made = replace(
        made, chart=chart, status=lambda: replace(status(), problems=tuple(problems)),
        services=lambda: facts(pipeline), needs=lambda service: pipeline.policy.catalogue.needs(service),
        duty=duty, settings=lambda: Root().model_dump(mode="json", by_alias=True),
    )  # fmt: skip
    server = TestServer(create_app(made))
    await server.start_server()
    try:
        url = str(server.make_url("")).rstrip("/")
        yield Stage(url, pipeline, clock, contexts, [], problems, made.links)
    finally:
        await server.close()
