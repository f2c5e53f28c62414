"""The desk as JSON, on the real desk: lists, one incident, what people do; and what bad input gets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from detector.nouns import Report, Reporter
from detector.web.api import models
from tests.rows import HOUR, NOW, alert
from tests.web.house import House, filling, house


async def opened(home: House, count: int = 1) -> None:
    for number in range(count):
        await home.pipeline.step([filling(f"/data{number}", service=f"s{number}", at=NOW + number)], [], NOW + number)


async def get(home: House, path: str) -> tuple[int, Any]:
    answer = await home.client.get(path)
    return answer.status, await answer.json(content_type=None)


async def post(home: House, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
    answer = await home.client.post(path, **({"json": body} if body is not None else {}), **options)
    return answer.status, await answer.json(content_type=None)


async def test_an_incident_is_the_json_that_is_promised() -> None:
    async with house() as home:
        await opened(home)
        status, found = await get(home, "/api/incidents/INC-1")
        assert status == 200
        assert set(found) == set(models.Incident.model_fields), "no more and no less than the interface"
        models.Incident.model_validate(found)
        assert (found["phase"], found["state"], found["category"]) == ("predicted", "triaged", "capacity/disk")
        assert found["title"] == "disk /data0 WILL be full on db1"
        assert found["timeline"][0]["what"] == "opened"


async def test_the_list_is_newest_first_and_pages_do_not_overlap() -> None:
    async with house() as home:
        await opened(home, 7)
        keys: list[str] = []
        cursor = ""
        while True:
            _, page = await get(home, f"/api/incidents?limit=3{cursor}")
            models.IncidentPage.model_validate(page)
            keys += [item["key"] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert keys == [f"INC-{number}" for number in range(7, 0, -1)]


@pytest.mark.parametrize(
    ("query", "count"),
    [("", 3), ("service=s1", 1), ("phase=predicted", 3), ("phase=over", 0), ("state=diagnosing", 1), ("mode=shadow", 0),
     ("mode=page", 3), ("state=triaged&service=s0", 0)],
)  # fmt: skip
async def test_a_list_can_be_narrowed(query: str, count: int) -> None:
    async with house() as home:
        await opened(home, 3)
        await post(home, "/api/incidents/INC-1/ack")
        _, page = await get(home, f"/api/incidents?{query}")
        assert len(page["items"]) == count


@pytest.mark.parametrize(
    "query", ["state=nope", "phase=x", "mode=all", "limit=0", "limit=x", "limit=501", "limit=1e9", "cursor=%00",
              "cursor=x",               "state=%FF", "cursor=" + "A" * 5000],
)  # fmt: skip
async def test_a_bad_question_is_400_and_names_the_parameter(query: str) -> None:
    async with house() as home:
        status, problem = await get(home, f"/api/incidents?{query}")
        assert status == 400
        assert query.partition("=")[0] in problem["detail"]


async def test_the_life_of_an_incident_by_api() -> None:
    async with house() as home:
        await opened(home, 2)
        at = "/api/incidents/INC-1"
        status, found = await post(home, f"{at}/ack", {})
        assert (status, found["state"], found["assignee"]) == (200, "diagnosing", "operator")
        _, found = await post(home, f"{at}/note", {"text": "looked\nat it"})
        assert found["timeline"][-1] | {"at": ""} == {
            "at": "", "who": "operator", "what": "noted", "data": {"text": "looked\nat it"},
        }  # fmt: skip
        _, found = await post(home, f"{at}/assign", {"assignee": "ben"})
        assert found["assignee"] == "ben"
        _, found = await post(home, f"{at}/assign", {"assignee": None})
        assert found["assignee"] is None
        status, problem = await post(home, f"{at}/resolve", {"resolution": "fixed"})
        assert (status, "active" in problem["detail"]) == (409, True)
        status, found = await post(home, f"{at}/resolve", {"resolution": "fixed", "text": "grew it", "force": True})
        assert (status, found["state"], found["resolution"]) == (200, "resolved", "fixed")
        status, problem = await post(home, f"{at}/close", {"text": "done"})
        assert (status, "record cause" in problem["detail"]) == (409, True), "it went to L3 directly"
        await post(home, f"{at}/record", {"cause": "logs", "fix": "grew it", "prevention": "rotation"})
        _, found = await post(home, f"{at}/close", {"text": "done"})
        assert found["state"] == "closed"
        _, found = await post(home, f"{at}/reopen", {"reason": "it came back"})
        assert found["state"] == "reopened"
        _, found = await post(home, f"{at}/merge", {"into": "INC-2"})
        assert (found["state"], found["merged_into"]) == ("merged", "INC-2")
        status, problem = await post(home, f"{at}/ack", {})
        assert (status, "INC-2" in problem["detail"]) == (409, True)


async def test_escalation_goes_up_only() -> None:
    async with house() as home:
        await home.pipeline.step([], [alert()], NOW)
        _, found = await get(home, "/api/incidents/INC-1")
        assert found["tier"] == "L1"
        _, found = await post(home, "/api/incidents/INC-1/escalate", {"summary": "tried a restart"})
        assert found["tier"] == "L2"
        status, problem = await post(home, "/api/incidents/INC-1/escalate", {"tier": "L1"})
        assert (status, problem["title"]) == (409, "Conflict")


BAD_BODIES: list[tuple[bytes, str, int]] = [
    (b"{", "application/json", 400),
    (b'{"text": "x"', "application/json", 400),
    (b'"\xff\xfe"', "application/json", 400),
    (b"[" * 50_000, "application/json", 400),
    (b'{"text":' + b'{"a":' * 5_000, "application/json", 400),
    (b'{"text": "\\ud800"}', "application/json", 400),
    (b"[]", "application/json", 422),
    (b"null", "application/json", 422),
    (b'{"text": 5}', "application/json", 422),
    (b'{"text": ""}', "application/json", 422),
    (b'{"text": "a\\u0000b"}', "application/json", 422),
    (b'{"text": "a", "more": 1}', "application/json", 422),
    (b'{"text": "' + b"a" * 10_001 + b'"}', "application/json", 422),
    (b'{"text": "a"}', "text/plain", 415),
    (b'{"text": "a"}', "application/x-www-form-urlencoded", 415),
    (b'{"text": "' + b"a" * 70_000 + b'"}', "application/json", 413),
]


@pytest.mark.parametrize(("body", "kind", "expected"), BAD_BODIES, ids=[f"{b[:18]!r}-{s}" for b, _, s in BAD_BODIES])
async def test_a_bad_body_is_a_problem_document(body: bytes, kind: str, expected: int) -> None:
    async with house() as home:
        await opened(home)
        answer = await home.client.post("/api/incidents/INC-1/note", data=body, headers={"Content-Type": kind})
        problem = await answer.json(content_type="application/problem+json")
        assert (answer.status, problem["status"]) == (expected, expected)
        assert {"type", "title", "status", "detail"} <= set(problem)


async def test_a_body_without_length_is_cut_off_at_the_limit() -> None:
    async def endless() -> Any:
        for _ in range(200):
            yield b" " * 10_000

    async with house() as home:
        await opened(home)
        answer = await home.client.post(
            "/api/incidents/INC-1/note", data=endless(), headers={"Content-Type": "application/json"}
        )
        assert answer.status == 413


@pytest.mark.filterwarnings("ignore")
async def test_a_compressed_bomb_is_cut_off_at_the_limit() -> None:
    import zlib

    bomb = zlib.compress(b" " * 20_000_000, 9)
    async with house() as home:
        await opened(home)
        answer = await home.client.post(
            "/api/incidents/INC-1/note", data=bomb,
            headers={"Content-Type": "application/json", "Content-Encoding": "deflate"},
        )  # fmt: skip
        assert answer.status in (400, 413)
        broken = await home.client.post(
            "/api/incidents/INC-1/note", data=b"not deflate",
            headers={"Content-Type": "application/json", "Content-Encoding": "deflate"},
        )  # fmt: skip
        assert broken.status == 400


@pytest.mark.parametrize(
    "key", ["INC-9", "INC-0", "INC--1", "inc-1", "INC-99999999999999999999", "x", "INC-1%00", "INC-1%FF", "..%2f..",
            "%F0%9F%92%A9",             "INC-%D9%A1"],
)  # fmt: skip
async def test_an_unknown_key_is_404(key: str) -> None:
    async with house() as home:
        await opened(home)
        for path in (f"/api/incidents/{key}", f"/incidents/{key}"):
            answer = await home.client.get(path)
            assert answer.status == 404, path
        assert (await post(home, f"/api/incidents/{key}/ack", {}))[0] == 404


async def test_methods_and_paths_that_are_not_there() -> None:
    async with house() as home:
        answer = await home.client.delete("/api/incidents")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
        assert (await answer.json(content_type="application/problem+json"))["status"] == 405
        assert (await get(home, "/api/nothing"))[0] == 404
        assert (await post(home, "/api/incidents/INC-1/explode", {}))[0] == 404


async def test_a_restricted_ticket_does_not_exist_here() -> None:
    async with house() as home:
        report = Report("leak of customer data", NOW, Reporter("eve"), service="crm", security=True)
        await home.pipeline.report(report)
        assert (await get(home, "/api/incidents"))[1]["items"] == []
        assert (await get(home, "/api/incidents/INC-1"))[0] == 404
        assert (await post(home, "/api/incidents/INC-1/ack", {}))[0] == 404
        for path in ("/", "/?tab=open", "/?tab=recent", "/services", "/incidents/INC-1"):
            text = await (await home.client.get(path)).text()
            assert "crm" not in text, path
            assert "customer" not in text, path


async def test_services_and_who_is_on_call() -> None:
    async with house() as home:
        await home.pipeline.step([filling()], [alert(at=NOW, labels={"service": "web"})], NOW)
        _, found = await get(home, "/api/services")
        models.Services.model_validate(found)
        assert [(s["name"], s["catalogued"], s["open"]) for s in found["items"]] == [
            ("storage", True, 1), ("web", False, 1),
        ]  # fmt: skip
        _, duty = await get(home, "/api/oncall")
        assert duty["items"][0] == {"team": "storage", "people": ["ann"], "channels": ["console"]}


async def test_a_database_that_cannot_be_read_is_503_and_says_so() -> None:
    async with house() as home:
        await opened(home)
        from sqlalchemy import text

        async with home.pipeline.desk.engine.begin() as connection:
            await connection.execute(text("alter table tickets rename to gone"))
        answer = await home.client.get("/api/incidents")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert "database" in (await answer.json(content_type=None))["detail"]


async def test_what_nobody_expected_is_500_without_a_word_of_it(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def newest_entry(self) -> int:
            return 0

        async def tickets(self, *_: Any) -> Any:
            raise RuntimeError("secret")

    async with house(desk=Broken()) as home:
        status, problem = await get(home, "/api/incidents")
        assert status == 500
        assert "secret" not in str(problem)
        assert "secret" in caplog.text


async def test_every_answer_model_is_reachable_from_the_document() -> None:
    async with house() as home:
        _, document = await get(home, "/api/openapi.json")
        assert document["openapi"] == "3.1.0"
        schemas = document["components"]["schemas"]
        for model in (models.Incident, models.IncidentPage, models.Services, models.OnCall, models.Resolve):
            assert issubclass(model, BaseModel)
            assert model.__name__ in schemas
        assert set(document["paths"]) >= {"/api/incidents", "/api/incidents/{key}", "/api/incidents/{key}/ack"}


async def test_two_agents_act_at_once_one_wins_and_the_other_is_told() -> None:
    async with house() as home:
        await opened(home)
        at = "/api/incidents/INC-1"
        shown = await home.client.get(at)
        tag = {"If-Match": shown.headers["ETag"]}
        home.clock.set(NOW + 1)
        both = await asyncio.gather(
            post(home, f"{at}/prioritise", {"priority": "P4", "reason": "small"}, headers=tag),
            post(home, f"{at}/prioritise", {"priority": "P1", "reason": "large"}, headers=tag),
        )
        assert sorted(status for status, _ in both) == [200, 409]
        refused = next(answer for status, answer in both if status == 409)
        assert "somebody since you looked" in refused["detail"]
        won = next(answer for status, answer in both if status == 200)
        _, found = await get(home, at)
        assert found["priority"] == won["priority"], "nothing is overwritten"
        # What the machine sees meanwhile is nobody's step; and two who take it at once need no tag to be told apart.
        await home.pipeline.step([filling("/data0", service="s0", at=NOW + HOUR)], [], NOW + HOUR)
        fresh = {"If-Match": (await home.client.get(at)).headers["ETag"]}
        assert (await post(home, f"{at}/note", {"text": "x"}, headers=fresh))[0] == 200
