"""Pages: whole without script, true to the facts, and unmoved by hostile text in any field."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from detector.nouns import Evidence, Report, Reporter, Ticket, Viewer
from detector.web.deps import ServiceFact, StatusFacts
from detector.web.pages.board import urgency
from detector.web.pages.spark import HEIGHT, WIDTH, spark
from detector.web.pages.static import FOLDER
from detector.web.pages.text import visible
from tests.rows import HOUR, MINUTE, NOW, alert
from tests.web.house import House, filling, house

HOSTILE = [
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' onmouseover='alert(1)",
    "</textarea><svg/onload=alert(1)>",
    "{{ 7*7 }}{% raw %}", "javascript:alert(1)", "\u202egnitirw\u202c", "a\x00b\x1b[31m", "\ud800", "x" * 5000,
    "&lt;b&gt;&amp;", "]]><!--", "line\r\nbreak: header",
]  # fmt: skip


class Tags(HTMLParser):
    """What a browser would make of a page: its tags, event attributes and addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.attributes += attrs


async def page(home: House, path: str, **headers: str) -> str:
    answer = await home.client.get(path, headers=headers)
    assert answer.status == 200, await answer.text()
    return await answer.text()


async def test_an_empty_board_teaches_what_is_watched() -> None:
    async with house() as home:
        text = await page(home, "/")
        for words in (">12,480</span> series", "64 rules", "4 s ago", "node", "remote write", "nothing yet", ">3 h<"):
            assert words in text, words


async def test_a_board_row_says_what_runs_out_and_when() -> None:
    async with house() as home:
        await home.pipeline.step([filling()], [], NOW)
        text = await page(home, "/")
        for words in ("Predicted", "P2", "storage", "disk /data WILL be full on db1", "in 38 min (31-52)",
                      "unacknowledged", "respond <time", 'class="limit"', 'class="next"', "INC-1/ack"):  # fmt: skip
            assert words in text, words


async def test_what_runs_out_first_is_on_top() -> None:
    async with house() as home:
        await home.pipeline.step([filling(service="late", left=5 * HOUR, labels={"a": "1"}, item="1")], [], NOW)
        await home.pipeline.step([filling(service="soon", left=9 * MINUTE, labels={"a": "2"}, item="2")], [], NOW)
        text = await page(home, "/?tab=open")
        assert text.index(">soon<") < text.index(">late<")


def test_what_is_over_stands_last() -> None:
    base = Ticket("INC-1", 1, "incident", "triaged", "detected", "s", NOW, "page", phase="disrupting")
    ended = replace(base, state="resolved")
    assert sorted([ended, base], key=urgency) == [base, ended]


async def test_tabs_hold_what_they_say() -> None:
    async with house() as home:
        await home.pipeline.step([filling()], [alert(labels={"severity": "critical"})], NOW)
        await home.pipeline.act("INC-1", "ack", Viewer("ben"), now=NOW)
        rows = {tab: set(re.findall(r'data-key="(INC-\d)"', await page(home, f"/?tab={tab}")))
                for tab in ("mine", "predicted", "disrupting", "open", "recent")}  # fmt: skip
        assert rows == {"mine": {"INC-2"}, "predicted": {"INC-1"}, "disrupting": {"INC-2"}, "open": {"INC-1", "INC-2"},
                        "recent": set()}  # fmt: skip
        await home.pipeline.act("INC-1", "resolve", Viewer("ben"), now=NOW, force=True)
        assert 'data-key="INC-1"' in await page(home, "/?tab=recent")
        assert 'data-key="INC-1"' not in await page(home, "/?tab=open")
        assert "needs me" in await page(home, "/?tab=nonsense&page=-1")


async def test_the_filter_finds_by_service_team_tier_and_text() -> None:
    async with house() as home:
        await home.pipeline.step([filling()], [alert()], NOW)
        for words, keys in (("storage", {"INC-1"}), ("DISK full", {"INC-1"}), ("l1", {"INC-2"}), ("nothing", set())):
            text = await page(home, f"/?tab=open&q={words}")
            assert set(re.findall(r'data-key="(INC-\d)"', text)) == keys, words


async def test_an_incident_page_answers_the_five_questions() -> None:
    async with house() as home:
        await home.pipeline.step([filling()], [], NOW)
        text = await page(home, "/incidents/INC-1")
        for words in ("Predicted", "disk /data WILL be full on db1", "in 38 min (31-52)", "medium impact",
                      "Acknowledge", "you hold it, paging stops", "capacity/disk", "falls", "Free space on /data",
                      "likely origin",
                      "https://runbooks.example/storage", "Opened from symptoms", "Response", "Resolution",
                      "prefers-color-scheme: dark"):  # fmt: skip
            assert words in text, words


async def test_everything_can_be_done_from_the_page_without_script() -> None:
    async with house() as home:
        await home.pipeline.step([], [alert()], NOW)

        async def submit(action: str, **fields: str) -> int:
            answer = await home.client.post(f"/incidents/INC-1/{action}", data=fields, allow_redirects=False)
            if answer.status == 303:
                assert answer.headers["Location"] == ("/" if fields.get("from") else "/incidents/INC-1")
            return answer.status

        assert await submit("ack", **{"from": "board"}) == 303
        assert await submit("note", text="one\r\ntwo") == 303
        assert await submit("escalate", tier="L2", summary="tried") == 303
        assert await submit("assign", assignee="ben") == 303
        assert await submit("assign", assignee="") == 303
        assert await submit("resolve", resolution="fixed", text="") == 409, "its symptom is active"
        assert await submit("resolve", resolution="fixed", text="done", force="true") == 303
        assert await submit("close") == 303
        assert await submit("reopen", reason="") == 303
        assert await submit("merge", into="INC-99") == 404
        assert await submit("note", text=" ") == 422
        assert await submit("resolve", resolution="nonsense") == 422
        assert await submit("explode") == 404
        text = await page(home, "/incidents/INC-1")
        for words in ("Acknowledged", "one<br>two", "Escalated from L1 to L2: tried", "Assigned to ben",
                      "Resolved as fixed", "Closed", "Reopened"):  # fmt: skip
            assert words in text, words


async def test_a_refusal_is_said_on_the_page_and_nothing_is_lost() -> None:
    async with house() as home:
        await home.pipeline.step([filling()], [], NOW)
        answer = await home.client.post("/incidents/INC-1/resolve", data={"resolution": "fixed"})
        text = await answer.text()
        assert answer.status == 409
        assert 'role="alert"' in text
        assert "1 active symptoms" in text


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_text_is_text_in_every_field(text: str) -> None:
    stored = text.replace("\ud800", "\ufffd")
    labels = {"__name__": "m", "instance": stored, "mountpoint": stored, stored[:100]: stored}
    notes = {"runbook_url": stored, "description": stored, "headline": stored}
    symptom = filling(
        service=stored, labels=labels, summary=stored, name=stored, metric=stored, item=stored, kind=stored,
        annotations=notes, evidence=Evidence((NOW - 60_000, NOW), (1.0, 2.0), unit=stored),
    )  # fmt: skip
    facts = StatusFacts(stored, NOW, 1, 1, NOW, (), (stored,))
    services = (ServiceFact(stored, stored, stored, (stored,), stored),)
    async with house(status=lambda: facts, services=lambda: services) as home:
        hostile = {"alertname": stored, "service": stored, "severity": "critical"}
        told = {"summary": stored, "runbook_url": stored}
        await home.pipeline.step([symptom], [alert(labels=hostile, annotations=told)], NOW)
        await home.pipeline.report(Report(stored, NOW, Reporter(stored, stored, stored), stored, stored))
        ann = Viewer(stored)
        await home.pipeline.act("INC-1", "ack", ann, now=NOW)
        await home.pipeline.act("INC-1", "note", ann, now=NOW, text=stored)
        for path in (
            "/",
            "/?tab=open",
            "/incidents/INC-1",
            "/incidents/INC-2",
            "/incidents/INC-3",
            "/services",
            f"/?q={'%3Cb%3E'}",
        ):
            answer = await home.client.get(path)
            if answer.status == 404:
                continue
            html = await answer.text()
            assert answer.status == 200
            tags = Tags(html)
            assert tags.found.count("script") == 1, "only our own module"
            assert "onerror" not in {name for name, _ in tags.attributes}
            assert not [name for name, _ in tags.attributes if name.startswith("on") or name == "style"]
            targets = [value or "" for name, value in tags.attributes if name in ("href", "src", "srcset", "action")]
            assert not [target for target in targets if not target.startswith(("/", "#", "http://", "https://"))], path
            assert "49" not in tags.found
            assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u202a-\u202e]", html)
        listed = await (await home.client.get("/api/incidents")).text()
        assert "<script" not in listed or "json" in (await home.client.get("/api/incidents")).content_type


async def test_the_address_line_is_hostile_too() -> None:
    async with house() as home:
        for path in ("/?q=%3Cscript%3E&tab=%22%3E", "/%3Cscript%3Ealert(1)%3C/script%3E", "/incidents/%22%3E%3Cb%3E"):
            answer = await home.client.get(path, headers={"Accept": "text/html"})
            assert answer.content_type == "text/html"
            assert Tags(await answer.text()).found.count("script") == 1


async def test_a_person_gets_a_page_for_an_error_and_a_program_a_document() -> None:
    async with house() as home:
        person = await home.client.get("/incidents/INC-9", headers={"Accept": "text/html,*/*"})
        assert (person.status, person.content_type) == (404, "text/html")
        assert "There is no incident INC-9." in await person.text()
        program = await home.client.get("/incidents/INC-9")
        assert (program.status, program.content_type) == (404, "application/problem+json")


async def test_a_storm_fits_on_pages_of_150_kb() -> None:
    async with house() as home:
        for number in range(90):
            told = {"summary": "something long happened here " * 4}
            found = alert(f"Alert{number}", labels={"service": f"s{number}"}, annotations=told)
            await home.pipeline.step([], [found], NOW)
        text = await page(home, "/?tab=open")
        assert text.count('class="row ') == 60
        assert "1–60 of 90" in text
        assert len(text.encode()) < 100_000
        assert (await page(home, "/?tab=open&page=2")).count('class="row ') == 30
        style = len(await (await home.client.get("/static/app.css")).read())
        script = sum(
            [len(await (await home.client.get(f"/static/{n}.js")).read()) for n in ("app", "live", "keys", "times")]
        )
        assert len(text.encode()) + style + script < 150_000


async def test_static_files_are_only_what_is_there() -> None:
    async with house() as home:
        answer = await home.client.get("/static/app.css")
        again = await home.client.get("/static/app.css", headers={"If-None-Match": answer.headers["ETag"]})
        assert (answer.status, again.status) == (200, 304)
        for path in (
            "/static/..%2fapp.py",
            "/static/%2e%2e/app.py",
            "/static/",
            "/static/app.py",
            "/static/nothing.css",
        ):
            assert (await home.client.get(path)).status == 404, path


def test_a_sparkline_stays_in_its_box_and_never_fails() -> None:
    drawn = spark([filling()])
    assert drawn is not None
    numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*", drawn.history + drawn.forecast)]
    assert all(0 <= n <= WIDTH for n in numbers)
    assert drawn.limit == HEIGHT - 2
    odd = [Evidence((), ()), Evidence((1,), (1.0,)), Evidence((1, 2), (float("nan"), float("inf"))),
           Evidence((5, 5), (1.0, 2.0)), Evidence((1, 2), (3.0, 3.0), limit=float("nan"))]  # fmt: skip
    assert [spark([filling(evidence=e)]) is None for e in odd] == [True, True, True, True, False]
    assert spark([]) is None


@pytest.mark.parametrize(
    ("given", "shown"), [("a\u202eb", "ab"), ("\x1b[1m", "[1m"), ("\ud800", "\ufffd"), (None, ""), (3, 3)]
)
def test_what_escaping_does_not_touch(given: object, shown: object) -> None:
    assert visible(given) == shown


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_on_both_backgrounds(theme: int) -> None:
    style = (FOLDER / "app.css").read_text("utf-8")
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", style.split(":root {")[theme + 1].split("}")[0]))
    for text in ("ink", "muted", "accent", "predicted", "disrupting", "over"):
        for ground in ("bg", "surface"):
            low, high = sorted((luminance(colours[text]), luminance(colours[ground])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)
    low, high = sorted((luminance(colours["on"]), luminance(colours["accent"])))
    assert (high + 0.05) / (low + 0.05) >= 4.5, "the words on the first button"
