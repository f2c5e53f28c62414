"""What people see and do: board and incident page in a real browser, live, by mouse and by keys."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from detector import words
from detector.nouns import Impact, Report, Reporter, Viewer
from tests.browser.conftest import DESK, PHONE, Stage
from tests.browser.furniture import furnish
from tests.browser.looks import fits, violations, weighs
from tests.rows import alert

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
LENGTHS = (0, 400, 1_400, 59_300, 91_000, 6_000_000, 7_300_000, 36_100_000, 90_000_000, 200_000_000, 9_000_000_000)
"""ms between a moment and now, for the wording of times."""


async def test_an_incident_appears_and_is_led_to_its_end_without_a_reload(stage: Stage) -> None:
    page = await stage.page("/", **DESK)
    await expect(page.get_by_role("heading", name="Nothing needs anybody")).to_be_visible()
    await page.evaluate("window.kept = true")
    now = stage.now
    slow = {"summary": "p99 latency 2.4 s, 0.8 s is usual"}
    await stage.pipeline.step([], [alert("QueueSlow", at=now, labels={"service": "mailer"}, annotations=slow)], now)
    row = page.locator(".row", has_text="mailer")
    await expect(row).to_be_visible()
    await expect(row).to_have_class("row predicted fresh")
    await expect(page.get_by_role("heading", name="Nothing needs anybody")).to_have_count(0)
    assert await page.evaluate("window.kept"), "the page was not loaded anew"
    await row.get_by_role("link").click()
    await page.get_by_role("button", name="Acknowledge").click()
    await expect(page.locator(".holder")).to_contain_text("You hold it")
    await page.evaluate("window.kept = true")
    await page.get_by_text("a higher tier takes over").click()
    await page.get_by_label("Tried, excluded, next").fill("restarted it twice")
    await page.get_by_role("button", name="Escalate: they are told at once").click()
    await expect(page.get_by_text("Escalated from L1 to L2: restarted it twice")).to_be_visible()
    await page.get_by_text("the service is restored").click()
    await page.locator("#resolve-text").fill("grew the pool")
    await page.get_by_role("button", name="Resolve INC-1").click()
    await expect(page.get_by_role("alert")).to_contain_text("active symptoms")
    await page.get_by_text("the service is restored").click()
    await page.get_by_label("Resolve although symptoms are active").check()
    await page.get_by_role("button", name="Resolve INC-1").click()
    await expect(page.locator("h1 .word")).to_have_text("Resolved")
    await page.get_by_role("button", name="Close").first.click()
    await expect(page.locator("h1 .word")).to_have_text("Closed")
    await expect(page.get_by_text("it was not over")).to_be_visible()
    refused = [complaint for complaint in stage.complaints if "409" not in complaint]
    assert not refused


@pytest.mark.parametrize(("size", "options"), [("desk", DESK), ("phone", PHONE)], ids=["desk", "phone"])
async def test_a_report_is_decided_investigated_and_answered(
    stage: Stage, size: str, options: dict[str, object]
) -> None:
    words = "Nothing can be bought.\nThe page stays white."
    report = Report(words, stage.now, Reporter("Kim", "kim@example.org"), service="shop", title="White page")
    await stage.pipeline.report(report)
    page = await stage.page("/incidents/INC-1", **options)

    async def step(effect: str, button: str, **fields: str) -> None:
        if not await page.get_by_text("investigate, wait, inform, set by hand").locator("xpath=../..").evaluate(
            "details => details.open"
        ):  # fmt: skip
            await page.get_by_text("investigate, wait, inform, set by hand").click()
        await page.get_by_text(effect, exact=True).click()
        for label, text in fields.items():
            field = page.get_by_label(label.replace("_", " "), exact=True).locator("visible=true")
            if await field.evaluate("field => field.tagName") == "SELECT":
                await field.select_option(text)
            else:
                await field.fill(text)
        await page.get_by_role("button", name=button, exact=True).click()

    await step("the reporter can read it", "Send it to the reporter", What_the_reporter_should_know="We are on it")
    await expect(page.locator(".timeline")).to_contain_text("To the reporter: We are on it")
    await step("an incident or a request", "Decide", It_is="incident")
    await expect(page.locator(".timeline")).to_contain_text("It is an incident")
    await step("what may be the cause", "State it", It_may_be_that="the new release")
    await expect(page.locator(".hypotheses")).to_contain_text("the new release stated")
    await step("the resolution clock stands still", "Wait", For="supplier", What_for="their answer")
    await expect(page.locator(".clocks").first).to_contain_text("stands still, waiting for a supplier")
    await page.get_by_text("investigate, wait, inform, set by hand").click()
    assert await fits(page)
    await stage.picture(page, f"steps-{size}", whole=True)
    assert await weighs(page) < 150_000
    assert not stage.complaints


@pytest.mark.parametrize(("size", "options"), [("desk", DESK), ("phone", PHONE)], ids=["desk", "phone"])
async def test_a_reporter_reports_reads_and_answers(stage: Stage, size: str, options: dict[str, object]) -> None:
    page = await stage.page("/report", **options)
    await page.get_by_label("What is wrong").fill("Nothing can be bought.\nThe page stays white.")
    await page.get_by_label("Your name").fill("Kim")
    assert await fits(page)
    await stage.picture(page, f"report-{size}", whole=True)
    await page.get_by_role("button", name="Send it").click()
    await expect(page.get_by_text("We have it and will look at it.")).to_be_visible()
    await stage.pipeline.act("INC-1", "reply", Viewer("ben"), now=stage.now, text="Which browser is it?")
    await stage.pipeline.act("INC-1", "wait", Viewer("ben"), now=stage.now, reason="user")
    await page.reload()
    await page.get_by_label("Your answer").fill("Firefox, since this morning")
    await page.get_by_role("button", name="Send it").click()
    await expect(page.get_by_text("Firefox, since this morning")).to_be_visible()
    await stage.pipeline.act("INC-1", "resolve", Viewer("ben"), now=stage.now, text="rolled back")
    await page.reload()
    assert await fits(page)
    await stage.picture(page, f"reporter-{size}", whole=True)
    await page.get_by_role("button", name="Yes, it is solved").click()
    await expect(page.get_by_text("It is closed.")).to_be_visible()
    assert not stage.complaints


async def test_what_others_do_shows_while_somebody_writes_and_nothing_written_is_lost(stage: Stage) -> None:
    await furnish(stage.pipeline, stage.now)
    page = await stage.page("/incidents/INC-1", **DESK)
    await page.get_by_text("write into the timeline").click()
    await page.get_by_label("What you saw or did").fill("half a sentence")
    await stage.pipeline.act("INC-1", "note", Viewer("cy"), now=stage.now, text="from somebody else")
    await expect(page.locator(".timeline")).to_contain_text("from somebody else")
    await expect(page.get_by_label("What you saw or did")).to_have_value("half a sentence")
    await page.get_by_role("button", name="Write it down").click()
    await expect(page.locator(".timeline .human").first).to_contain_text("half a sentence")
    await page.get_by_label("people").check()
    await expect(page.locator(".timeline .machine").first).to_be_hidden()
    assert not stage.complaints


async def test_new_rows_wait_while_hands_are_on_the_list(stage: Stage) -> None:
    await furnish(stage.pipeline, stage.now)
    page = await stage.page("/?tab=open", **DESK)
    first = page.locator(".row").first
    await first.hover()
    await page.mouse.move(600, 200)
    before = await page.locator(".row").evaluate_all("rows => rows.map(row => row.dataset.key)")
    await stage.pipeline.step([], [alert("Fresh", at=stage.now, labels={"service": "fresh"})], stage.now)
    waiting = page.get_by_role("button", name="1 new")
    await expect(waiting).to_be_visible()
    assert await page.locator(".row").evaluate_all("rows => rows.map(row => row.dataset.key)") == before
    await waiting.click()
    await expect(page.locator(".row", has_text="fresh")).to_be_visible()
    await expect(waiting).to_be_hidden()
    assert not stage.complaints


async def test_hands_on_the_keyboard(stage: Stage) -> None:
    await furnish(stage.pipeline, stage.now)
    page = await stage.page("/?tab=open", **DESK)
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    key = await page.locator(".row.here").get_attribute("data-key")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await stage.picture(page, "keys")
    await page.keyboard.press("Escape")
    await page.keyboard.press("o")
    await page.wait_for_url(f"**/incidents/{key}")
    await page.keyboard.press("r")
    await expect(page.get_by_label("As", exact=True)).to_be_focused()
    await page.goto(stage.url + "/?tab=open")
    await page.keyboard.press("j")
    await page.keyboard.press("a")
    await expect(page.locator(f'.row[data-key="{key}"] .held')).to_contain_text("held by you")
    await page.keyboard.press("j")
    await page.keyboard.press("e")
    await page.wait_for_url("**/incidents/*#open-escalate")
    assert not stage.complaints


async def test_an_empty_board_teaches(stage: Stage) -> None:
    page = await stage.page("/", **DESK)
    await expect(page.get_by_text("12,480 series, 64 rules")).to_be_visible()
    await expect(page.get_by_role("button", name="Assign to me")).to_have_count(0)
    for theme in ("light", "dark"):
        await page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        assert not await violations(page)
        await stage.picture(page, f"empty-{theme}")
    assert not stage.complaints


async def test_without_script_everything_is_there_and_can_be_done(stage: Stage) -> None:
    await furnish(stage.pipeline, stage.now)
    page = await stage.page("/?tab=open", java_script_enabled=False, **DESK)
    await page.locator(".row", has_text="checkout").get_by_role("button", name="Acknowledge").click()
    page = await stage.page("/incidents/INC-3", java_script_enabled=False, **DESK)
    await expect(page.locator(".holder")).to_contain_text("You hold it")
    await page.get_by_text("write into the timeline").click()
    await page.get_by_label("What you saw or did").fill("no script here")
    await page.get_by_role("button", name="Write it down").click()
    await expect(page.locator(".timeline")).to_contain_text("no script here")


async def test_the_detectors_own_trouble_appears_and_goes_by_itself(stage: Stage) -> None:
    page = await stage.page("/", **DESK)
    stage.problems.append("The disk of the data directory is full: samples are refused until there is space")
    trouble = page.get_by_role("region", name="What does not work")
    await expect(trouble).to_contain_text("is full", timeout=15_000)
    await stage.picture(page, "trouble")
    stage.problems.clear()
    await expect(trouble).to_have_count(0, timeout=15_000)
    assert not stage.complaints


async def test_script_words_times_as_the_server_does(stage: Stage) -> None:
    page = await stage.page("/")
    now = stage.now
    for left in LENGTHS:
        for at in (now + left, now - left):
            said = await page.evaluate("async ([a, n]) => (await import('/static/times.js')).relative(a, n)", [at, now])
            assert said == words.relative(at, now)
        interval = Impact(now + left * 8 // 10, now + left, now + left * 13 // 10)
        said = await page.evaluate(
            "async ([e, l, t, n]) => (await import('/static/times.js')).within(e, l, t, n)",
            [interval.earliest, interval.likely, interval.latest, now],
        )
        assert said == words.within(interval, now)
