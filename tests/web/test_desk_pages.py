"""What a desk needs beside the board: search, views, bulk acts, settings, postmortems, the picture of services."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.config.compose import Root
from detector.nouns import SYSTEM, Report, Reporter
from detector.web.graph import BOX_H, BOX_W, MOST, picture
from tests.rows import NOW
from tests.web.house import filling, house


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_search_finds_words_of_past_incidents_and_nothing_confidential(
    database: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres") if database == "postgresql" else None
    async with house(url=url) as home:
        await home.pipeline.step([filling("/data", service="storage"), filling("/logs", service="mail")], [], NOW)
        await home.pipeline.act("INC-1", "resolve", SYSTEM, now=NOW + 1, force=True)
        await home.pipeline.report(Report("the zeppelin 100% is slow", NOW, Reporter("Kim")))
        await home.pipeline.report(Report("a zeppelin leak", NOW, Reporter("Kim"), security=True))

        async def found(text: str) -> list[str]:
            page = await (await home.client.get("/search", params={"q": text})).text()
            return [key for key in ("INC-1", "INC-2", "INC-3", "INC-4") if f'href="/incidents/{key}"' in page]

        assert await found("/data") == ["INC-1"]
        assert await found("ZEPPELIN") == ["INC-3"]
        assert await found("slow zeppelin") == ["INC-3"]
        assert await found("100%") == ["INC-3"]
        assert await found("inc-2") == ["INC-2"]
        for odd in ("'; DROP TABLE tickets; --", "\\", '"', "nothing at all"):
            assert await found(odd) == []


async def test_a_view_is_kept_shown_and_forgotten_and_holds_nothing_but_a_query() -> None:
    async with house() as home:
        await home.client.post("/views", data={"name": "disks <b>", "query": "tab=open&q=disk&evil=1"})
        page = await (await home.client.get("/")).text()
        assert 'href="/?tab=open&amp;q=disk"' in page
        assert "disks &lt;b&gt;" in page
        await home.client.post("/views", data={"name": "disks <b>", "query": "tab=//evil.example&q=x"})
        page = await (await home.client.get("/")).text()
        assert 'href="/?tab=mine&amp;q=x"' in page
        await home.client.post("/views/drop", data={"name": "disks <b>"})
        assert "disks" not in await (await home.client.get("/")).text()
        assert (await home.client.post("/views", data={"name": " "})).status == 422


async def test_one_act_on_several_incidents_says_which_were_refused() -> None:
    async with house() as home:
        await home.pipeline.step([filling(f"/{n}", service=f"s{n}") for n in range(3)], [], NOW)
        answer = await home.client.post("/bulk", data=[("key", "INC-1"), ("key", "INC-2"), ("action", "ack")])
        assert str(answer.url).endswith("/")
        await home.pipeline.act("INC-3", "ack", SYSTEM, now=NOW + 1)
        answer = await home.client.post(
            "/bulk", data=[("key", "INC-3"), ("key", "INC-9"), ("key", "INC-1"), ("action", "ack")]
        )
        page = await answer.text()
        assert answer.status == 409
        assert "INC-3 is held by detector already" in page
        assert "There is no incident INC-9" in page
        assert (await home.client.post("/bulk", data={"action": "destroy", "key": "INC-1"})).status == 422
        assert (await home.client.post("/bulk", data={"action": "ack"})).status == 422


async def test_settings_are_shown_without_secrets() -> None:
    hook = {"name": "hook", "type": "webhook", "url": "https://example.org/h", "secret": "whsec_" + "QUJD" * 8}
    root = Root.model_validate(
        {"channels": [hook],
         "web": {"ingest_tokens": [{"name": "prometheus", "token": "very-secret-token"}]}}
    )  # fmt: skip
    async with house(settings=lambda: root.model_dump(mode="json", by_alias=True)) as home:
        page = await (await home.client.get("/settings")).text()
        assert "channels" in page
        assert "https://example.org/h" in page
        assert "very-secret-token" not in page
        assert "QUJD" not in page


async def test_a_postmortem_is_drafted_and_hostile_text_is_only_text_in_it() -> None:
    async with house() as home:
        await home.pipeline.step([filling("/x](javascript:alert(1))<script>")], [], NOW)
        await home.pipeline.act("INC-1", "hypothesis", SYSTEM, now=NOW + 1, text="# a heading **bold**")
        await home.pipeline.act(
            "INC-1", "record", SYSTEM, now=NOW + 2, cause="logs", fix="rotate", prevention="a timer"
        )
        answer = await home.client.get("/incidents/INC-1/postmortem.md")
        assert answer.content_type == "text/markdown"
        text = await answer.text()
        assert "## Cause\n\n- logs\n" in text
        assert "To be written." in text
        from markdown_it import MarkdownIt

        made = MarkdownIt("commonmark").render(text)
        for word in ("<script", 'href="javascript', "<strong>"):
            assert word not in made
        page = await (await home.client.get("/incidents/INC-1/postmortem")).text()
        assert "<script>" not in page.replace('<script type="module"', "")
        assert "Who had it" in page
        assert (await home.client.get("/incidents/INC-7/postmortem")).status == 404


names = st.integers(0, 12).map("s{}".format)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(names, st.lists(names, max_size=4, unique=True), max_size=12), st.sets(names))
def test_every_service_of_the_picture_has_its_place_whatever_the_catalogue(
    needs: dict[str, list[str]], hurt: set[str]
) -> None:
    drawn = picture(needs, dict.fromkeys(hurt, "predicted"))
    joined = {a for a, others in needs.items() if others} | {b for others in needs.values() for b in others}
    if drawn is None:
        assert not joined
        return
    assert {node.name for node in drawn.nodes} == joined
    assert len(drawn.edges) == sum(len(others) for others in needs.values())
    boxes = [(node.x, node.y) for node in drawn.nodes]
    for i, (x, y) in enumerate(boxes):
        assert 0 <= x <= drawn.width - BOX_W
        assert 0 <= y <= drawn.height - BOX_H
        for other_x, other_y in boxes[:i]:
            assert abs(x - other_x) >= BOX_W or abs(y - other_y) >= BOX_H, "no box lies on another"


def test_what_is_needed_stands_right_of_what_needs_it_and_a_large_catalogue_shows_its_trouble() -> None:
    drawn = picture({"shop": ["db", "cart"], "cart": ["db"]}, {})
    assert drawn is not None
    at = {node.name: node.x for node in drawn.nodes}
    assert at["shop"] < at["cart"] < at["db"]
    many = {f"a{n}": ["db"] for n in range(3 * MOST)}
    drawn = picture(many, {"a170": "disrupting"})
    assert drawn is not None
    assert len(drawn.nodes) == MOST
    assert {"a170", "db"} <= {node.name for node in drawn.nodes}
    assert drawn.left_out == 3 * MOST + 1 - MOST


@pytest.mark.parametrize("path", ["/services", "/problems", "/statistics", "/silences", "/why", "/search", "/settings"])
async def test_every_page_stands_on_an_empty_desk_and_is_small(path: str) -> None:
    async with house() as home:
        answer = await home.client.get(path)
        assert answer.status == 200
        assert len(await answer.read()) < 150_000
