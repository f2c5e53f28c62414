"""Logging in, with and without script, on a desk and on a phone; and what happens when a session ends under a page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from detector.tickets.people import People
from tests.browser.conftest import ARTEFACTS
from tests.rows import NOW
from tests.web.crew import options, staffed
from tests.web.house import House, filling

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest_asyncio.fixture(loop_scope="module")
async def home(chromium: Browser) -> AsyncIterator[House]:
    async with staffed(options()) as served:
        await served.pipeline.step([filling()], [], NOW)
        yield served
        for context in chromium.contexts:
            await context.close()


async def open_at(chromium: Browser, home: House, path: str, **how: Any) -> Page:
    context = await chromium.new_context(**how)
    page = await context.new_page()
    page.set_default_timeout(10_000)
    await page.goto(home.url + path)
    return page


async def enter(page: Page, name: str, password: str) -> None:
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Log in").click()


async def looked_at(page: Page, name: str) -> None:
    """A picture to be looked at; axe finds nothing serious, and nothing scrolls sideways."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)
    found = (await Axe().run(page)).response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
    assert await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize("how", [{}, {"java_script_enabled": False}, PHONE], ids=["desk", "no script", "phone"])
async def test_a_login_leads_back_to_where_one_wanted(chromium: Browser, home: House, how: dict[str, Any]) -> None:
    page = await open_at(chromium, home, "/incidents/INC-1", **how)
    await enter(page, "leo", "wrong")
    await expect(page.get_by_role("alert")).to_contain_text("The name or the password is wrong.")
    await enter(page, "leo", "leo-pass")
    assert page.url == f"{home.url}/incidents/INC-1"
    await page.get_by_role("link", name="leo").click()
    await expect(page.get_by_text("this one")).to_be_visible()
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("Password")).to_be_visible()
    assert page.url == f"{home.url}/login"
    # Chromium now and then never closes a page that is still loading.
    await page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_pages_of_people_can_be_read(chromium: Browser, home: House, scheme: str) -> None:
    for name, how in (("desk", {"viewport": {"width": 1440, "height": 900}}), ("phone", PHONE)):
        page = await open_at(chromium, home, "/login", color_scheme=scheme, **how)  # type: ignore[arg-type]
        await looked_at(page, f"login-{name}-{scheme}")
        await enter(page, "ada", "ada-pass")
        await page.request.post(f"{home.url}/api/tokens", data={"name": "deploys", "scopes": ["act"]})
        for path in ("account", "audit"):
            await page.goto(f"{home.url}/{path}")
            await looked_at(page, f"{path}-{name}-{scheme}")


async def test_a_page_whose_session_has_ended_goes_to_the_login(chromium: Browser, home: House) -> None:
    page = await open_at(chromium, home, "/")
    async with page.expect_response(lambda answer: "/api/events" in answer.url):
        await enter(page, "leo", "leo-pass")
    await expect(page.locator("#rows > li")).to_have_count(1)
    people = People(home.pipeline.desk, home.clock)
    for session in await people.sessions("leo"):
        await people.end(session.id)
    await home.pipeline.step([filling("/other", service="other")], [], NOW)
    await page.wait_for_url("**/login?next=/")
    await page.wait_for_load_state("networkidle")
