"""Silences by Alertmanager's API and on their page."""

from __future__ import annotations

from typing import Any

import pytest

from detector.clock import rfc3339
from tests.rows import HOUR, NOW, alert
from tests.web.house import House, filling, house


def body(**values: Any) -> dict[str, Any]:
    matcher = {"name": "alertname", "value": "HighLatency", "isRegex": False, "isEqual": True}
    return {"matchers": [matcher], "startsAt": rfc3339(NOW), "endsAt": rfc3339(NOW + HOUR), "createdBy": "ann",
            "comment": "patching"} | values  # fmt: skip


async def ask(home: House, method: str, path: str, **options: Any) -> tuple[int, Any]:
    answer = await home.client.request(method, path, **options)
    return answer.status, await answer.json(content_type=None) if answer.content_length else None


async def test_a_silence_is_set_found_changed_and_ended_as_in_an_alertmanager() -> None:
    async with house() as home:
        await home.pipeline.step([], [alert()], NOW)
        status, made = await ask(home, "POST", "/api/v2/silences", json=body())
        assert status == 200
        path = f"/api/v2/silence/{made['silenceID']}"
        _, found = await ask(home, "GET", path)
        assert found["status"] == {"state": "active"}
        assert found["matchers"] == body()["matchers"]
        assert (found["createdBy"], found["comment"], found["covers"]) == ("ann", "patching", "all")
        _, incident = await ask(home, "GET", "/api/incidents/INC-1")
        assert incident["muted"] == {"since": rfc3339(NOW), "until": rfc3339(NOW + HOUR), "by": [made["silenceID"]],
                                     "reason": "patching"}  # fmt: skip
        # The same matchers keep their id, other ones end it and begin a new one.
        _, longer = await ask(
            home, "POST", "/api/v2/silences", json=body(id=found["id"], endsAt=rfc3339(NOW + 2 * HOUR))
        )
        assert longer == made
        other = [{"name": "service", "value": "w.b", "isRegex": True, "isEqual": True}]
        _, new = await ask(home, "POST", "/api/v2/silences", json=body(id=found["id"], matchers=other))
        assert new != made
        _, listed = await ask(home, "GET", "/api/v2/silences")
        assert {s["id"]: s["status"]["state"] for s in listed} == {
            made["silenceID"]: "expired", new["silenceID"]: "active"
        }  # fmt: skip
        _, filtered = await ask(home, "GET", '/api/v2/silences?filter=service="w.b"')
        assert [s["id"] for s in filtered] == [new["silenceID"]]
        assert (await ask(home, "DELETE", f"/api/v2/silence/{new['silenceID']}"))[0] == 200
        assert (await ask(home, "DELETE", f"/api/v2/silence/{new['silenceID']}"))[0] == 500
        _, incident = await ask(home, "GET", "/api/incidents/INC-1")
        assert incident["muted"] is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"endsAt": rfc3339(NOW - 1)}, "past"),
        ({"endsAt": rfc3339(NOW + HOUR), "startsAt": rfc3339(NOW + 2 * HOUR)}, "before end"),
        ({"matchers": []}, "matchers"),
        ({"matchers": [{"name": "a", "value": ".*", "isRegex": True, "isEqual": True}]}, "empty string"),
        ({"matchers": [{"name": "a", "value": "(", "isRegex": True, "isEqual": True}]}, "regular expression"),
        ({"matchers": [{"name": "a b", "value": "c", "isRegex": False, "isEqual": True}]}, "letters"),
        ({"startsAt": "yesterday"}, "yesterday"),
        ({"comment": "x" * 3000}, "comment"),
    ],
)
async def test_what_cannot_be_a_silence_says_why_in_alertmanagers_shape(change: dict[str, Any], why: str) -> None:
    async with house() as home:
        status, said = await ask(home, "POST", "/api/v2/silences", json=body(**change))
        assert status == 400
        assert isinstance(said, str)
        assert why in said


async def test_an_unknown_silence_is_404() -> None:
    async with house() as home:
        for path in ("/api/v2/silence/x", "/api/v2/silence/" + "y" * 500):
            assert (await ask(home, "GET", path))[0] == 404
        assert (await ask(home, "POST", "/api/v2/silences", json=body(id="nowhere")))[0] == 404


async def test_the_page_silences_an_incident_and_ends_it_again() -> None:
    async with house() as home:
        await home.pipeline.step([filling()], [], NOW)
        page = await (await home.client.get("/silences?incident=INC-1")).text()
        assert "service=&#34;storage&#34;" in page
        fields = {"matchers": 'service="storage"', "lasts": "4h", "reason": "<script>alert(1)</script>"}
        answer = await home.client.post("/silences", data=fields)
        page = await answer.text()
        assert "predictions only" in page
        assert "<script>alert" not in page
        assert "INC-1" in page
        assert "muted-note" in await (await home.client.get("/incidents/INC-1")).text()
        board = await (await home.client.get("/?tab=muted")).text()
        assert "INC-1" in board
        assert 'data-key="INC-1"' not in await (await home.client.get("/")).text()
        [silence] = home.pipeline.noise.silences
        await home.client.post(f"/silences/{silence.id}/end")
        assert "muted-note" not in await (await home.client.get("/incidents/INC-1")).text()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"matchers": "", "reason": "r", "lasts": "1h"}, "at least one"),
        ({"matchers": 'a="b"', "reason": " ", "lasts": "1h"}, "reason"),
        ({"matchers": "nonsense", "reason": "r", "lasts": "1h"}, "is not a matcher"),
        ({"matchers": 'a="b"', "reason": "r", "lasts": "soon"}, "not a duration"),
    ],
)
async def test_a_form_that_cannot_be_taken_comes_back_with_what_was_written(fields: dict[str, str], why: str) -> None:
    async with house() as home:
        answer = await home.client.post("/silences", data=fields)
        page = await answer.text()
        assert answer.status == 422
        assert why in page
        assert fields["matchers"].replace('"', "&#34;") in page
