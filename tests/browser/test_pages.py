"""Every page, looked at: on a desk and a phone, light and dark, with everything on it that it can show; printed; and
walked through by keyboard.

A new page is a new line in ``PAGES``; ``furniture.py`` is what there is to show.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.conftest import DESK, SIZES, Stage
from tests.browser.looks import BROKEN, CLIPPED, SMALL, fits, violations, weighs

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
PAGES = {
    "board": "/?tab=open",
    "board-found": "/?tab=open&q=storage",
    "board-mine": "/",
    "board-recent": "/?tab=recent",
    "incident-predicted": "/incidents/INC-1",
    "incident-public": "/incidents/INC-3",
    "incident-muted": "/incidents/INC-4",
    "incident-hostile": "/incidents/INC-5",
    "incident-reported": "/incidents/INC-8",
    "incident-over": "/incidents/INC-7",
    "postmortem": "/incidents/INC-1/postmortem",
    "report": "/report",
    "reporter": "{my:INC-8}",
    "silences": "/silences",
    "silences-new": "/silences?incident=INC-1",
    "oncall": "/oncall",
    "called": "{a:INC-1}",
    "called-several": "{a:INC-1,INC-3,INC-5}",
    "proof": "{proof}",
    "services": "/services",
    "problems": "/problems",
    "statistics": "/statistics",
    "why": "/why?subject=INC-4",
    "search": "/search?q=storage",
    "settings": "/settings",
    "status": "/status",
    "not-found": "/nowhere",
}
"""Name of its picture: where it is. ``{my:KEY}`` is the page of whoever reported it, ``{a:KEYS}`` of whoever was
called, ``{proof}`` of whoever got a test message. Pages behind a login are in ``test_login.py``."""
MOST_BYTES = 150_000
"""Of a page and of all that it loads, unpacked."""
WALKED = ("board-found", "incident-predicted", "incident-reported", "services", "silences-new")
PRINTED = ("incident-predicted", "postmortem", "status", "board")
CONTROLS = """() => {
  const all = [...document.querySelectorAll(
    "a[href], button, input:not([type=hidden], [type=radio]:not(:checked)), select, textarea, summary, [tabindex='0']"
  )];
  const shown = all.filter(e => e.checkVisibility({ visibilityProperty: true }) && !e.disabled && !e.closest("dialog"));
  shown.forEach((e, i) => { e.dataset.stop = i; });
  return shown.map(e => e.outerHTML.slice(0, 160));
}"""
"""Numbers everything that can be acted on and is shown."""
HERE = """() => {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  const rings = [getComputedStyle(e), getComputedStyle(e, "::after")];
  const ringed = rings.some(s => s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2
    && s.outlineColor !== "rgba(0, 0, 0, 0)");
  const box = e.getBoundingClientRect();
  const seen = box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  return [e.dataset.stop === undefined ? -1 : Number(e.dataset.stop), ringed, seen];
}"""
"""Which of them has the focus, whether a ring is drawn around it, whether it is on the screen."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=list(SIZES))
async def look(request: pytest.FixtureRequest, furnished: Stage) -> AsyncIterator[tuple[str, Stage, Page]]:
    """One tab of one size, which goes from page to page."""
    context = await furnished.contexts(**SIZES[request.param])
    yield request.param, furnished, await furnished.open(context)
    await context.close()


def address(stage: Stage, path: str) -> str:
    kind, _, keys = path.strip("{}").partition(":")
    signed = {
        "my": lambda: stage.links.path(keys),
        "a": lambda: stage.links.called(keys.split(","), "ann", stage.now),
        "proof": lambda: stage.links.proof("ann", "ann", stage.now),
    }
    return stage.url + (signed[kind]() if path.startswith("{") else path)


@pytest.mark.parametrize("name", PAGES)
async def test_a_page_can_be_read_by_everybody(look: tuple[str, Stage, Page], name: str) -> None:
    size, stage, page = look
    stage.complaints.clear()
    await page.emulate_media(color_scheme="light")
    await page.goto(address(stage, PAGES[name]))
    trouble = [f"not drawn: {one}" for one in await page.evaluate(BROKEN)]
    trouble += await violations(page)
    await stage.picture(page, f"{name}-{size}-light", whole=True)
    # Nothing but colours depends on the scheme.
    await page.emulate_media(color_scheme="dark")
    trouble += await violations(page, "color-contrast")
    await stage.picture(page, f"{name}-{size}-dark", whole=True)
    if size == "phone":
        trouble += [f"too small for a finger: {one}" for one in await page.evaluate(SMALL)]
    trouble += [f"wider than its place: {one}" for one in await page.evaluate(CLIPPED)]
    if not await fits(page):
        trouble.append("it scrolls sideways")
    if (weight := await weighs(page)) > MOST_BYTES:
        trouble.append(f"it weighs {weight} bytes")
    if await page.evaluate("window.pwned") is not None or await page.locator("img[src=x]").count():
        trouble.append("hostile text is not text")
    trouble += [c for c in stage.complaints if not (name == "not-found" and "404" in c)]
    assert not trouble, "\n".join(trouble)


async def test_one_screen_answers_what_is_asked_at_night(look: tuple[str, Stage, Page]) -> None:
    """What, since when, seen against expected, forecast, what changed, what next, and the button that takes it."""
    size, stage, page = look
    await page.goto(address(stage, PAGES["incident-predicted"]))
    asked = ("Users will be hurt", "First sign", "Seen", "Changed before", "Next", "Priority")
    places = [page.locator("h1"), *(page.locator("dt", has_text=text).first for text in asked), page.locator("#do-ack")]
    for place in places:
        box = await place.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= SIZES[size]["viewport"]["height"], await place.inner_text()
    await page.get_by_role("link", name="Dumps older than a week are removed").click()
    await expect(page.get_by_role("button", name="Run clean")).to_be_in_viewport()


@pytest.mark.parametrize("name", PRINTED)
async def test_a_page_prints_as_a_record(furnished: Stage, name: str) -> None:
    page = await furnished.page(PAGES[name], **DESK)
    await page.emulate_media(media="print")
    shown = "[...document.querySelectorAll('button, input, textarea, summary, nav a')].filter(e => e.checkVisibility())"
    assert await page.evaluate(f"{shown}.map(e => e.outerHTML)") == []
    await furnished.picture(page, f"{name}-print", whole=True)
    await page.context.close()


@pytest.mark.parametrize("name", WALKED)
async def test_every_control_is_reached_by_keyboard_and_ringed(furnished: Stage, name: str) -> None:
    page = await furnished.page(PAGES[name], **DESK)
    await page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    controls = await page.evaluate(CONTROLS)
    reached = dict[int, tuple[bool, bool]]()
    for _ in range(2 * len(controls)):
        await page.keyboard.press("Tab")
        if (here := await page.evaluate(HERE)) is None or here[0] in reached:
            break
        reached[here[0]] = (here[1], here[2])
    assert [text for i, text in enumerate(controls) if i not in reached] == []
    assert [controls[i] for i, (ringed, _) in reached.items() if not ringed] == [], "a ring is drawn"
    assert [controls[i] for i, (_, seen) in reached.items() if not seen] == [], "it is scrolled to"
    await page.context.close()
