"""What people do across pages: on a desk, on a phone, and without script."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, expect

from detector.nouns import Report, Reporter
from tests.browser.conftest import DESK, PHONE, Stage
from tests.browser.furniture import ANN, furnish

PLAIN = {"java_script_enabled": False}
HOWS = {"desk": DESK, "phone": PHONE, "no script": DESK | PLAIN}
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
every_way = pytest.mark.parametrize("how", HOWS.values(), ids=list(HOWS))


async def unfold(page: Page, *names: str) -> None:
    for name in names:
        await page.locator(f"#open-{name}").click()


@every_way
async def test_an_incident_is_silenced_from_its_page_and_the_silence_ends(stage: Stage, how: dict[str, Any]) -> None:
    await furnish(stage.pipeline, stage.now)
    page = await stage.page("/incidents/INC-4", **how)
    await page.get_by_role("link", name="Silence it").click()
    await expect(page.get_by_label("Matchers")).to_have_value('service="mailer"\nalertname="QueueSlow"')
    await page.get_by_label("For").select_option("1h")
    await page.get_by_label("Why").fill("the new queue is rolled out")
    await page.get_by_role("button", name="Silence: nobody is told").click()
    silence = page.locator("tbody tr", has_text="the new queue is rolled out")
    await expect(silence).to_contain_text("active")
    await silence.get_by_role("link", name="INC-4").click()
    await expect(page.locator(".muted-note")).to_contain_text("nobody is told of it")
    await page.goto(stage.url + "/?tab=muted")
    await expect(page.locator(".row")).to_contain_text(["mailer"])
    await page.goto(stage.url + "/silences")
    await silence.get_by_role("button", name="End it now").click()
    await expect(silence).to_contain_text("expired")
    await page.goto(stage.url + "/incidents/INC-4")
    await expect(page.locator("h1")).to_contain_text("mailer")
    await expect(page.locator(".muted-note")).to_have_count(0)
    assert not stage.complaints


@every_way
async def test_a_draft_is_published_and_everybody_reads_it(stage: Stage, how: dict[str, Any]) -> None:
    await furnish(stage.pipeline, stage.now)
    page = await stage.page("/incidents/INC-3", **how)
    await expect(page.get_by_text("A draft waits to be published")).to_be_visible()
    await unfold(page, "steps", "publish")
    said = page.get_by_label("What everybody may read").locator("visible=true")
    await expect(said).to_have_value("We are looking into a disruption of checkout.")
    await said.fill("We are looking into it.\nOrders are safe.")
    await page.get_by_role("button", name="Publish: everybody can read it").click()
    await expect(page.get_by_text("A draft waits to be published")).to_have_count(0)
    visitor = await stage.page("/status", **how)
    now = visitor.get_by_role("region", name="Now")
    await expect(now.get_by_role("heading", name="checkout is disrupted")).to_be_visible()
    await expect(now).to_contain_text("Orders are safe.")
    await expect(visitor.locator("li", has_text="checkout").first).to_contain_text("disrupted")
    await expect(visitor.get_by_role("link", name="Board")).to_have_count(0)
    assert not stage.complaints


@every_way
async def test_a_reporter_is_asked_and_answers(stage: Stage, how: dict[str, Any]) -> None:
    words = "Nothing can be bought"
    await stage.pipeline.report(Report(words, stage.now, Reporter("Kim", "kim@example.org"), service="shop"))
    desk = await stage.page("/incidents/INC-1", **how)
    await unfold(desk, "steps", "ask")
    await desk.get_by_label("Questions, one a line").fill("Which browser is it?\nSince when?")
    await desk.get_by_role("button", name="Ask the reporter").click()
    await expect(desk.locator(".asked")).to_contain_text("no answer yet")
    reporter = await stage.page(stage.links.path("INC-1"), **how)
    await expect(reporter.get_by_text("We wait for your answer.")).to_be_visible()
    await reporter.get_by_label("Which browser is it?").fill("Firefox")
    await reporter.get_by_label("Since when?").fill("This morning")
    await reporter.get_by_role("button", name="Send it").click()
    await expect(reporter.locator(".talk .you").last).to_contain_text("This morning")
    await expect(reporter.get_by_label("Which browser is it?")).to_have_count(0)
    if "java_script_enabled" in how:
        await desk.reload()
    await expect(desk.locator(".asked")).to_contain_text("Firefox")
    await expect(desk.locator(".asked")).not_to_contain_text("no answer yet")
    assert not stage.complaints


@pytest.mark.parametrize("how", [DESK, DESK | PLAIN], ids=["desk", "no script"])
async def test_several_are_acknowledged_by_keyboard_alone(stage: Stage, how: dict[str, Any]) -> None:
    await furnish(stage.pipeline, stage.now)
    page = await stage.page("/?tab=open", **how)

    async def tab_to(role: Any, name: str) -> None:
        wanted = page.get_by_role(role, name=name, exact=True)
        for _ in range(60):
            await page.keyboard.press("Tab")
            if await wanted.evaluate("e => e === document.activeElement"):
                return
        raise AssertionError(f"{name} is not reached")

    for key in ("INC-3", "INC-1"):
        await tab_to("checkbox", f"Choose {key}")
        await page.keyboard.press("Space")
    await tab_to("button", "Acknowledge")
    await page.keyboard.press("Enter")
    for service in ("checkout", "storage"):
        row = page.locator(".row", has=page.locator(".service", has_text=service))
        await expect(row.locator(".held")).to_contain_text("held by you")
    assert not stage.complaints


async def test_rows_are_chosen_by_mouse_and_by_key_and_stay_chosen(stage: Stage) -> None:
    await furnish(stage.pipeline, stage.now)
    page = await stage.page("/?tab=open", **DESK)
    await page.get_by_label("Choose INC-3").click()
    await expect(page.get_by_label("Choose INC-3")).to_be_checked()
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("x")
    second = page.locator(".row.here")
    await expect(second.get_by_role("checkbox")).to_be_checked()
    # A row that changes meanwhile stays chosen.
    await stage.pipeline.act("INC-3", "prioritise", ANN, now=stage.now, priority="P2", reason="smaller")
    changed = page.locator('.row[data-key="INC-3"]')
    await expect(changed.locator(".priority")).to_have_text("P2")
    await expect(changed.get_by_role("checkbox")).to_be_checked()
    chosen = "[...new FormData(document.getElementById('bulk')).getAll('key')].sort()"
    assert await page.evaluate(chosen) == sorted(["INC-3", str(await second.get_attribute("data-key"))])
    await page.get_by_role("button", name="Assign to me").click()
    await page.wait_for_url(stage.url + "/")
    await expect(page.locator(".held", has_text="held by you")).to_have_count(2)
    assert not stage.complaints


async def test_on_a_phone_a_finger_on_a_row_opens_it(stage: Stage) -> None:
    await furnish(stage.pipeline, stage.now)
    page = await stage.page("/?tab=open", **PHONE)
    await expect(page.get_by_role("checkbox")).to_have_count(0)
    await expect(page.get_by_role("button", name="Assign to me")).to_have_count(0)
    box = await page.locator(".row", has_text="mailer").bounding_box()
    assert box is not None
    await page.touchscreen.tap(box["x"] + 40, box["y"] + 12)
    await page.wait_for_url("**/incidents/INC-4")


@every_way
async def test_a_view_is_kept_used_and_forgotten(stage: Stage, how: dict[str, Any]) -> None:
    await furnish(stage.pipeline, stage.now)
    page = await stage.page("/?tab=open", **how)
    await page.get_by_label("Filter by service").fill("storage")
    await page.get_by_role("button", name="Filter").click()
    await page.get_by_label("Name of the view").fill("Disks")
    await page.get_by_role("button", name="Keep this view").click()
    await page.goto(stage.url + "/")
    await page.get_by_role("link", name="Disks").click()
    await expect(page.get_by_label("Filter by service")).to_have_value("storage")
    await expect(page.locator(".row")).to_have_count(1)
    await expect(page.locator(".tabs [aria-current]")).to_contain_text("all open")
    await page.get_by_role("button", name="forget the view Disks").click()
    await expect(page.get_by_role("link", name="Disks")).to_have_count(0)
    assert not stage.complaints


async def test_the_status_line_lives_on_pages_that_do_not(stage: Stage) -> None:
    page = await stage.page("/problems", **DESK)
    evaluated = page.locator("[data-evaluated] time")
    await evaluated.evaluate("time => { time.dateTime = '2026-01-01T00:00:00Z'; }")
    await expect(evaluated).not_to_have_attribute("datetime", "2026-01-01T00:00:00Z", timeout=15_000)
    await expect(page.locator("[data-connection]")).to_be_hidden()
    assert not stage.complaints


async def test_what_somebody_writes_survives_what_others_do_first(stage: Stage) -> None:
    """The first hypothesis, the first word to the public, the first link: parts that the page did not have before."""
    await furnish(stage.pipeline, stage.now)
    page = await stage.page("/incidents/INC-4", **DESK)
    await unfold(page, "note")
    await page.get_by_label("What you saw or did").fill("half a sentence")
    act = stage.pipeline.act
    await act("INC-4", "hypothesis", ANN, now=stage.now, text="a full queue")
    await act("INC-4", "link", ANN, now=stage.now, to="INC-1", how="caused-by")
    await act("INC-4", "escalate", ANN, now=stage.now, tier="L3", summary="see the queue")
    await expect(page.locator(".hypotheses")).to_contain_text("a full queue")
    await expect(page.get_by_text("caused by INC-1", exact=True)).to_be_visible()
    await expect(page.get_by_label("What you saw or did")).to_have_value("half a sentence")
    assert not stage.complaints
