"""What can be measured of a page as people meet it."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

AXE = Axe().axe_script
SMALL = """() => [...document.querySelectorAll(
  "button, summary, select, textarea, nav a, input:not([type=hidden], [type=checkbox], [type=radio]), "
  + "label:has([type=checkbox], [type=radio]), .row, body > footer a, .asides a"
)].filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 43.5).map(e => e.outerHTML.slice(0, 200))"""
"""What is too small for a finger."""
BROKEN = """() => [...document.querySelectorAll("figure img")].filter(e => !(e.complete && e.naturalWidth))
  .map(e => e.outerHTML)"""
WEIGHT = """() => performance.getEntries().filter(e => e.decodedBodySize)
  .reduce((sum, e) => sum + e.decodedBodySize, 0)"""
CLIPPED = """() => [...document.querySelectorAll("button, summary, .tabs a, nav a, th.short, td.short")]
  .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1).map(e => e.outerHTML.slice(0, 200))"""
"""Words of ours that are wider than their place."""


async def violations(page: Page, *rules: str) -> list[str]:
    """What axe finds that is serious, each with where it is; without ``rules`` by all of them."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE)
    options: dict[str, Any] = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    found = await page.evaluate("options => axe.run(options)", options)
    return [
        f"{one['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:200]}"
        for one in found["violations"] if one["impact"] in ("serious", "critical") for node in one["nodes"][:5]
    ]  # fmt: skip


async def weighs(page: Page) -> int:
    """Bytes of the page and of all that it loaded, unpacked."""
    size: int = await page.evaluate(WEIGHT)
    return size


async def fits(page: Page) -> bool:
    """Whether nothing scrolls sideways."""
    return bool(await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))
