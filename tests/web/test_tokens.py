"""Tokens: what they open by scope, whose they are, when they end; and the audit log that tells of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from detector.clock import parse_rfc3339
from detector.tickets import schema
from detector.tickets.people import MOST_TOKENS
from detector.web.auth import Access
from detector.web.options import WebConfig, WebOptions
from detector.words import DAY
from tests.rows import NOW
from tests.web.crew import HASHES, as_, audited, bearer, log_in, options, staffed
from tests.web.house import House, filling


async def token(home: House, who: str = "leo", **body: Any) -> dict[str, Any]:
    answer = await home.client.post("/api/tokens", json={"name": "script"} | body, headers=as_(who))
    assert answer.status == 201, await answer.text()
    made: dict[str, Any] = await answer.json()
    return made


async def test_a_token_is_shown_once_and_kept_as_its_hash() -> None:
    async with staffed() as home:
        made = await token(home)
        assert made["token"].startswith("det_")
        assert len(made["token"]) == 47
        assert (made["who"], made["scopes"], made["revoked_at"]) == ("leo", ["read"], None)
        assert parse_rfc3339(made["expires_at"]) == NOW + 90 * DAY
        listed = await (await home.client.get("/api/tokens", headers=as_("leo"))).text()
        assert '"script"' in listed
        assert made["token"] not in listed
        async with home.pipeline.desk.engine.connect() as connection:
            row = (await connection.execute(select(schema.tokens))).one()
        assert row.hash == hashlib.sha256(made["token"].encode()).hexdigest()
        assert made["token"] not in str(row)
        assert (await audited(home))[0] == ("leo", "token-made", "token 1")


OPENS = {
    # scope: what it opens of reading, acting on a ticket, sending, and making tokens
    "read": (True, False, False, False),
    "act": (True, True, False, False),
    "ingest": (False, False, True, False),
    "admin": (True, True, True, True),
}


@pytest.mark.parametrize("scope", OPENS)
async def test_a_scope_opens_what_it_says(scope: str) -> None:
    async with staffed() as home:
        await home.pipeline.step([filling()], [], NOW)
        headers = bearer((await token(home, "ada", scopes=[scope]))["token"])
        asked = (
            await home.client.get("/api/incidents", headers=headers),
            await home.client.post("/api/incidents/INC-1/note", json={"text": "x"}, headers=headers),
            await home.client.post("/api/v1/write", headers=headers),
            await home.client.post("/api/tokens", json={"name": "y"}, headers=headers),
        )
        assert tuple(answer.status != 403 for answer in asked) == OPENS[scope]
        for answer in asked:
            if answer.status == 403:
                assert "This needs a token with the scope" in await answer.text()
                assert f"this one has {scope}" in await answer.text()
        note = await (await home.client.get("/api/incidents/INC-1", headers=as_("ada"))).json()
        if scope in ("act", "admin"):
            assert note["timeline"][-1]["who"] == "ada"


async def test_it_never_opens_more_than_its_owner_may() -> None:
    async with staffed() as home:
        await home.pipeline.step([filling()], [], NOW)
        headers = bearer((await token(home, "vic", scopes=["admin"]))["token"])
        assert (await home.client.get("/", headers=headers)).status == 200
        for method, path in (("POST", "/api/incidents/INC-1/note"), ("POST", "/-/reload"), ("POST", "/api/v1/write"),
                             ("GET", "/api/audit")):  # fmt: skip
            answer = await home.client.request(method, path, json={"text": "x"}, headers=headers)
            assert (answer.status, "vic has the role viewer" in await answer.text()) == (403, True), path


async def test_it_follows_its_owner_and_ends_with_them(tmp_path: Path) -> None:
    access = Access(options())
    async with staffed(access=access) as home:

        def reload(*users: dict[str, object]) -> None:
            access.commit(Access.prepare(WebOptions.model_validate({"users": users}), WebConfig(), tmp_path))

        await home.pipeline.step([filling()], [], NOW)
        headers = bearer((await token(home, "leo", scopes=["act"]))["token"])
        note = "/api/incidents/INC-1/note"
        assert (await home.client.post(note, json={"text": "x"}, headers=headers)).status == 200
        ada = {"name": "ada", "role": "admin", "password_hash": HASHES["ada"]}
        reload(ada, {"name": "leo", "role": "viewer", "password_hash": HASHES["leo"]})
        assert (await home.client.post(note, json={"text": "x"}, headers=headers)).status == 403
        reload(ada)
        assert (await home.client.get("/api/incidents", headers=headers)).status == 401


async def test_it_ends_by_its_time_and_by_revoking() -> None:
    async with staffed() as home:
        short, long = await token(home, days=1), await token(home, days=365)
        home.clock.set(NOW + DAY - 1)
        assert (await home.client.get("/api/incidents", headers=bearer(short["token"]))).status == 200
        home.clock.set(NOW + DAY)
        assert (await home.client.get("/api/incidents", headers=bearer(short["token"]))).status == 401
        done = await home.client.delete(f"/api/tokens/{long['id']}", headers=as_("leo"))
        assert parse_rfc3339((await done.json())["revoked_at"]) == NOW + DAY
        assert (await home.client.get("/api/incidents", headers=bearer(long["token"]))).status == 401
        again = await home.client.delete(f"/api/tokens/{long['id']}", headers=as_("leo"))
        assert parse_rfc3339((await again.json())["revoked_at"]) == NOW + DAY


@pytest.mark.parametrize("days", [0, 366, -1, 1.5, "90", None, 10**30])
async def test_it_lasts_a_year_at_most(days: object) -> None:
    async with staffed() as home:
        answer = await home.client.post("/api/tokens", json={"name": "x", "days": days}, headers=as_("leo"))
        assert answer.status == 422


@pytest.mark.parametrize("scopes", [[], ["root"], "read", ["read", "read", "read", "read", "read"]])
async def test_scopes_are_of_a_closed_list(scopes: object) -> None:
    async with staffed() as home:
        answer = await home.client.post("/api/tokens", json={"name": "x", "scopes": scopes}, headers=as_("leo"))
        assert answer.status == 422


async def test_a_token_that_is_made_with_a_token_lasts_no_longer() -> None:
    async with staffed() as home:
        first = await token(home, "ada", scopes=["admin"], days=2)
        answer = await home.client.post("/api/tokens", json={"name": "next"}, headers=bearer(first["token"]))
        assert (await answer.json())["expires_at"] == first["expires_at"]


async def test_tokens_of_others_are_not_there_but_for_an_admin() -> None:
    async with staffed() as home:
        made = await token(home, "leo")
        assert '"leo"' not in await (await home.client.get("/api/tokens", headers=as_("max"))).text()
        for who in ("vic", "max"):
            for path in (f"/api/tokens/{made['id']}", "/api/tokens/99", "/api/tokens/x", "/api/tokens/-1",
                         "/api/tokens/" + "9" * 30):  # fmt: skip
                assert (await home.client.delete(path, headers=as_(who))).status == 404
            page = f"/account/tokens/{made['id']}/revoke"
            assert (await home.client.post(page, headers=as_(who))).status == 404
        assert (await home.client.get("/api/incidents", headers=bearer(made["token"]))).status == 200
        assert "script" in await (await home.client.get("/account", headers=as_("ada"))).text()
        assert (await home.client.delete(f"/api/tokens/{made['id']}", headers=as_("ada"))).status == 200
        assert (await home.client.get("/api/incidents", headers=bearer(made["token"]))).status == 401
        assert (await audited(home))[0] == ("ada", "token-revoked", "token 1")


async def test_what_only_looks_like_a_token_opens_nothing() -> None:
    async with staffed() as home:
        made = (await token(home))["token"]
        for odd in (made[:-1], made + "x", made.upper(), made[4:], "det_", "det_" + "%" * 43, "det_' OR 1=1 --",
                    "det_" + "x" * 5000, hashlib.sha256(made.encode()).hexdigest()):  # fmt: skip
            assert (await home.client.get("/api/incidents", headers=bearer(odd))).status == 401
        scheme = {"Authorization": f"bearer  {made} "}
        assert (await home.client.get("/api/incidents", headers=scheme)).status == 200
        assert (await home.client.get("/api/incidents", headers={"Authorization": made})).status == 401
        assert (await home.client.get(f"/api/incidents?token={made}")).status == 401


async def test_a_person_has_so_many_tokens_and_no_more() -> None:
    async with staffed() as home:
        for _ in range(MOST_TOKENS):
            last = await token(home, "vic")
        answer = await home.client.post("/api/tokens", json={"name": "x"}, headers=as_("vic"))
        assert (answer.status, "revoke one first" in await answer.text()) == (409, True)
        await home.client.delete(f"/api/tokens/{last['id']}", headers=as_("vic"))
        await token(home, "vic")


async def test_a_senders_token_of_the_configuration_only_sends() -> None:
    made = options(ingest_tokens=[{"name": "prometheus", "token": "tok-12345678"}])
    async with staffed(made) as home:
        headers = bearer("tok-12345678")
        assert (await home.client.post("/api/v1/write", headers=headers)).status == 415
        told = await home.client.post("/api/reports", json={"description": "It is slow"}, headers=headers)
        assert told.status == 201
        for path in ("/api/v2/silences", "/api/tokens", "/-/reload", "/api/incidents/INC-1/note"):
            assert (await home.client.post(path, json={}, headers=headers)).status in (401, 403), path


# --- the audit log ----------------------------------------------------------------------------------------------------


async def test_the_audit_log_is_read_page_by_page_and_has_no_other_door() -> None:
    async with staffed() as home:
        for number in range(5):
            await token(home, "leo", name=f"script {number} <b>")
        await home.client.post("/-/reload", headers=as_("ada"))
        seen: list[str] = []
        cursor = ""
        while True:
            answer = await home.client.get(f"/api/audit?limit=2{cursor}", headers=as_("max"))
            page = await answer.json()
            seen += [f"{item['who']} {item['what']} {item['target']}" for item in page["items"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert seen == ["ada reload configuration", *(f"leo token-made token {n}" for n in (5, 4, 3, 2, 1))]
        text = await (await home.client.get("/audit", headers=as_("max"))).text()
        assert "reloaded the configuration" in text
        assert "script 0 &lt;b&gt;" in text
        for odd in ("x", "-1", "9" * 20, "1;drop"):
            assert (await home.client.get(f"/api/audit?cursor={odd}", headers=as_("max"))).status == 400
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert (await home.client.request(method, "/api/audit", headers=as_("ada"))).status == 405


async def test_every_step_of_a_login_is_in_it_and_no_secret_is() -> None:
    async with staffed() as home:
        await home.client.post("/login", data={"name": "my-secret-password", "password": "oops"})
        await log_in(home, "max")
        await home.client.post("/api/tokens", json={"name": "x"}, headers=as_("max"))
        secrets = [morsel.value for morsel in home.client.session.cookie_jar]
        await home.client.post("/logout", allow_redirects=False)
        text = await (await home.client.get("/api/audit", headers=as_("max"))).text()
        for word in ("login-failed", '"login"', "logout", "token-made"):
            assert word in text
        for secret in (*secrets, "my-secret-password", "oops", "max-pass", "det_"):
            assert secret not in text
