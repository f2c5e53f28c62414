"""Chromium from Debian, driven by Playwright, before the web room with the real desk behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest_asyncio
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from detector.charts.render import Renderer
from detector.charts.specs import symptom_spec
from detector.clock import SystemClock
from detector.nouns import ChangeEvent, Symptom
from detector.pipeline import Pipeline
from detector.web.app import create_app
from detector.web.deps import Theme
from detector.web.options import WebConfig, WebOptions
from tests.conftest import ROOT, binary
from tests.rows import rows
from tests.web.house import deps

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
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

    @property
    def now(self) -> int:
        return self.clock.now()

    async def page(self, path: str = "/", **options: Any) -> Page:
        """A page in a context of its own; ``options`` are Playwright's (viewport, color_scheme, ...)."""
        context = await self.contexts(**options)
        page = await context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda m: self.complaints.append(f"{m.type}: {m.text}") if m.type != "log" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda r: self.complaints.append(f"{r.url}: {r.failure}") if _matters(r) else None)
        await page.goto(self.url + path)
        return page

    async def picture(self, page: Page, name: str, whole: bool = False) -> None:
        """Keep a screenshot to be looked at."""
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


@pytest_asyncio.fixture(loop_scope="module")
async def stage(chromium: Browser) -> AsyncIterator[Stage]:
    problems: list[str] = []
    async with _served(problems) as (url, pipeline, clock):
        yield Stage(url, pipeline, clock, chromium.new_context, [], problems)
        for context in chromium.contexts:
            await context.close()


@asynccontextmanager
async def _served(problems: list[str]) -> AsyncIterator[tuple[str, Pipeline, SystemClock]]:
    clock = SystemClock()
    async with rows() as pipeline:
        telemetry = pipeline._telemetry
        renderer = Renderer(clock, telemetry)

        async def chart(
            symptom: Symptom, theme: Theme, width: int, height: int, changes: Sequence[ChangeEvent] = ()
        ) -> bytes | None:
            marks = [change.at for change in changes]
            spec = symptom_spec(symptom, clock.now(), theme, width=width, height=height, changed=marks)
            return (await renderer.svg(spec)).encode()

        made = deps(pipeline, clock, telemetry, WebOptions(), WebConfig())
        facts = made.status
        made = replace(made, chart=chart, status=lambda: replace(facts(), problems=tuple(problems)))
        server = TestServer(create_app(made))
        await server.start_server()
        try:
            yield str(server.make_url("")).rstrip("/"), pipeline, clock
        finally:
            await server.close()
            await renderer.close()
