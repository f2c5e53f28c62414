"""Who may do what, by role and tier; and that nothing tells of a restricted ticket to who may not see it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from aiohttp import encode_basic_auth
from yarl import URL

from detector.ingest import receive
from detector.nouns import SYSTEM, Report, Reporter, Viewer
from detector.web import rights
from detector.web.auth import Access, AccessError
from detector.web.options import WebConfig, WebOptions
from detector.web.rights import Person, act_refusal, named, public
from detector.web.users import UserOptions
from tests.rows import HOUR, NOW
from tests.web.crew import HASHES, ROLES, as_, audited, options, staffed
from tests.web.house import House, filling, house
from tests.web.test_openapi import Reports

REQUESTS = [
    # method, path, body, the least role
    ("GET", "/api/incidents", None, "viewer"),
    ("GET", "/", None, "viewer"),
    ("GET", "/metrics", None, "viewer"),
    ("POST", "/api/v1/query", None, "viewer"),
    ("POST", "/report", {}, "viewer"),
    ("GET", "/api/tokens", None, "viewer"),
    ("POST", "/api/incidents/INC-1/note", {"text": "x"}, "agent"),
    ("POST", "/incidents/INC-1/note", None, "agent"),
    ("POST", "/api/incidents/INC-1/prioritise", {"priority": "P3", "reason": "x"}, "manager"),
    ("POST", "/api/v2/silences", {}, "manager"),
    ("DELETE", "/api/v2/silence/x", None, "manager"),
    ("POST", "/silences", None, "manager"),
    ("GET", "/api/audit", None, "manager"),
    ("GET", "/audit", None, "manager"),
    ("POST", "/-/reload", None, "admin"),
    ("POST", "/api/v1/write", None, "admin"),
    ("POST", "/api/v2/alerts", None, "admin"),
]
LOWEST = {"vic": "viewer", "leo": "agent", "max": "manager", "ada": "admin"}


@pytest.mark.parametrize(("method", "path", "body", "least"), REQUESTS, ids=[f"{r[0]} {r[1]}" for r in REQUESTS])
async def test_every_role_may_what_it_is_for_and_no_more(method: str, path: str, body: object, least: str) -> None:
    async with staffed() as home:
        await home.pipeline.step([filling()], [], NOW)
        for name, role in LOWEST.items():
            answer = await home.client.request(method, path, json=body, headers=as_(name), allow_redirects=False)
            may = rights.ROLES.index(role) >= rights.ROLES.index(least)  # type: ignore[arg-type]
            assert (answer.status != 403) == may, (name, answer.status, await answer.text())
            if not may:
                assert f"This needs the role {least}; {name} has the role {role}." in await answer.text()


async def test_a_refusal_is_written_down_once_a_minute() -> None:
    async with staffed() as home:
        for _ in range(3):
            assert (await home.client.post("/-/reload", headers=as_("vic"))).status == 403
        assert await audited(home) == [("vic", "refused", "POST /-/reload")]
        home.clock.set(NOW + HOUR)
        await home.client.post("/-/reload", headers=as_("vic"))
        assert len(await audited(home)) == 2


async def test_an_agent_acts_on_the_tickets_of_the_own_tiers_and_tells_others() -> None:
    async with staffed() as home:
        await home.pipeline.step([filling()], [], NOW)  # P2 within the hour: it goes to L3
        url = "/api/incidents/INC-1"
        refused = await home.client.post(f"{url}/ack", json={}, headers=as_("ann"))
        assert (refused.status, "It is with L3, and ann has the role agent of L1" in await refused.text()) == (
            403,
            True,
        )
        for act, body in (("note", {"text": "seen it"}), ("inform", {"tier": "L2"})):
            assert (await home.client.post(f"{url}/{act}", json=body, headers=as_("ann"))).status == 200
        acked = await home.client.post(f"{url}/ack", json={}, headers=as_("leo"))
        assert (await acked.json())["assignee"] == "leo"
        page = await (await home.client.get("/incidents/INC-1", headers=as_("ann"))).text()
        assert "INC-1/note" in page
        assert "INC-1/escalate" not in page
        form = await home.client.post("/incidents/INC-1/ack", headers=as_("ann"))
        assert (form.status, "Not done: It is with L3" in await form.text()) == (403, True)
        assert ("ann", "refused", "ack INC-1") in await audited(home)


@pytest.mark.parametrize(
    ("person", "action", "tier", "may"),
    [
        (Person("v", role="viewer"), "note", None, False),
        (Person("a", role="agent", tiers=("L1",)), "resolve", "L1", True),
        (Person("a", role="agent", tiers=("L1",)), "resolve", None, True),
        (Person("a", role="agent", tiers=("L1",)), "resolve", "L2", False),
        (Person("a", role="agent", tiers=("L1",)), "inform", "L3", True),
        (Person("a", role="agent"), "resolve", "L3", True),
        (Person("a", role="agent"), "prioritise", "L1", False),
        (Person("m", role="manager"), "prioritise", "L3", True),
        (Person("operator"), "prioritise", "L3", True),
    ],
)
def test_acts_by_role_and_tier(person: Person, action: str, tier: rights.Tier | None, may: bool) -> None:
    assert (act_refusal(person, action, tier) is None) == may


async def test_a_viewers_pages_offer_nothing_that_is_refused() -> None:
    async with staffed() as home:
        await home.pipeline.step([filling()], [], NOW)
        for path in ("/?q=storage", "/incidents/INC-1", "/silences", "/problems", "/search?q=storage"):
            text = await (await home.client.get(path, headers=as_("vic"))).text()
            offered = re.findall(r'method="post" action="([^"]+)"', text)
            assert set(offered) <= {"/views"}, path
        for path in ("/", "/incidents/INC-1", "/silences", "/problems"):
            assert 'method="post"' in await (await home.client.get(path, headers=as_("ada"))).text(), path


async def test_every_route_that_changes_something_has_a_place_in_the_table() -> None:
    async with staffed() as home:
        sending = frozenset(route.path for route in receive.routes(Reports()))
        routes = [
            (route.method, route.resource.canonical)
            for route in home.client.app.router.routes()  # type: ignore[union-attr]
            if route.resource is not None and route.method not in ("GET", "HEAD")
        ]
        assert len(routes) > 30
        forgotten = [r for r in routes if not public(r[1]) and named(*r, sending) is None]
        assert forgotten == [], "web/rights.py does not say who may; until it does, only an admin"


async def test_where_nobody_is_asked_everything_can_be_done_but_nothing_restricted_seen() -> None:
    async with house() as home:
        await home.pipeline.step([filling()], [], NOW)
        await home.pipeline.report(Report("Data were copied", NOW, Reporter("Kim"), security=True))
        put = {"json": {"priority": "P1", "reason": "x"}}
        assert (await home.client.post("/api/incidents/INC-1/prioritise", **put)).status == 200  # type: ignore[arg-type]
        assert (await home.client.post("/-/reload")).status == 200
        assert (await home.client.get("/audit")).status == 200
        assert (await home.client.get("/api/incidents/INC-2")).status == 404
        refused = await home.client.post("/api/tokens", json={"name": "x"})
        assert (refused.status, "web.users" in await refused.text()) == (409, True)
        assert "Nobody is asked to log in here" in await (await home.client.get("/account")).text()


# --- the configuration ------------------------------------------------------------------------------------------------


def test_who_sees_restricted_tickets_by_default() -> None:
    def sees(**values: object) -> bool:
        return UserOptions.model_validate({"name": "x", **values}).person.restricted

    assert sees(role="admin")
    assert sees(role="agent", tiers=("L2", "L3"))
    assert not sees(role="agent")
    assert not sees(role="manager")
    assert not sees(role="viewer")
    assert not sees(role="admin", restricted=False)
    assert sees(role="manager", restricted=True)


def test_who_is_in_prometheus_file_alone_may_do_all_but_see_what_is_restricted() -> None:
    config = WebConfig(basic_auth_users={"old": HASHES["ada"], "vic": HASHES["vic"]})
    access = Access(WebOptions.model_validate({"users": [{"name": "vic", "role": "viewer"}]}), config)
    assert access.person("old") == Person("old", False, "admin")
    assert access.person("vic") == Person("vic", False, "viewer")
    assert set(access.users) == {"old", "vic"}


@pytest.mark.parametrize(
    ("users", "says"),
    [
        ([{"name": "ann", "role": "agent"}], r"web\.users\.ann has no password: add password_hash \(`htpasswd"),
        ([{"name": "old", "role": "admin", "password_hash": HASHES["vic"]}], "is in basic_auth_users too"),
        ([{"name": "ann", "role": "agent", "password_file": "nowhere"}], r"web\.users\.ann: .*nowhere cannot be read"),
        ([{"name": "ann", "role": "agent", "password_file": "plain"}], "holds not a bcrypt hash; make one with"),
    ],
)
def test_a_user_who_cannot_log_in_is_named(users: list[object], says: str, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("secret\n")
    config = WebConfig(basic_auth_users={"old": HASHES["ada"]})
    with pytest.raises(AccessError, match=says):
        Access(WebOptions.model_validate({"users": users}), config, tmp_path)


def test_a_hash_is_read_from_a_file_and_a_login_opens_other_addresses(tmp_path: Path) -> None:
    (tmp_path / "ann.hash").write_text(HASHES["ann"] + "\n")
    users = [{"name": "ann", "role": "agent", "password_file": "ann.hash"}]
    access = Access(WebOptions.model_validate({"users": users, "listen": ":9797"}), None, tmp_path)
    assert access.users == {"ann": HASHES["ann"]}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"name": "detector"}, "what the detector itself is called"),
        ({"name": "a:b"}, "no colon"),
        ({"name": "a\nb"}, "is not a user's name"),
        ({"role": "viewer", "tiers": ["L1"]}, "tiers are an agent's"),
        ({"role": "owner"}, "'viewer', 'agent', 'manager' or 'admin'"),
        ({"password_hash": "secret"}, "htpasswd -nBC 10 ann"),
        ({"password_hash": HASHES["ann"], "password_file": "x"}, "not both"),
    ],
)
def test_a_mistake_in_a_user_is_said(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        UserOptions.model_validate({"name": "ann", "role": "agent", **values})


def test_two_users_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="a name of their own"):
        options("ann", "ann")


# --- restricted tickets -----------------------------------------------------------------------------------------------

KEY, WORD = "INC-2", "exfiltrated"


async def confide(home: House) -> None:
    """A breach is reported about a service that others see, and L3 works on it until it is resolved and past."""
    reporter = Reporter(f"{WORD} Kim", f"{WORD}@example.org")
    report = Report(f"{WORD} customers", NOW, reporter, title=WORD, service="storage", security=True)
    await home.pipeline.report(report)
    leo = Viewer("leo", restricted=True)
    for action, arguments in (
        ("ack", {}), ("note", {"text": WORD}), ("hypothesis", {"text": WORD}), ("fix", {"text": WORD}),
        ("resolve", {"resolution": "fixed", "text": WORD}),
    ):  # fmt: skip
        await home.pipeline.act(KEY, action, leo, now=NOW, **arguments)


def addresses(home: House) -> Iterator[str]:
    """Every GET route of the application, with what a curious reader would put into it."""
    values = {
        "key": ("INC-1", KEY), "symptom": ("x",), "name": ("app.css", "job", "summary.json", "incidents.json"),
        "token": (f"{KEY}.x",), "id": ("x", "1"),
        "action": ("ack",), "schedule": ("web",), "person": ("ann",),
    }  # fmt: skip
    for route in home.client.app.router.routes():  # type: ignore[union-attr]
        if route.method != "GET" or route.resource is None:
            continue
        path = route.resource.canonical
        used = [name for name in values if f"{{{name}}}" in path]
        for chosen in product(*(values[name] for name in used)):
            yield path.format(**dict(zip(used, chosen, strict=True)))
    for query in (f"q={WORD}", "tab=open", "tab=recent", "tab=mine&q=storage", f"q={KEY}"):
        yield f"/?{query}"
    for query in ("service=storage", "state=resolved", "limit=500", "mode=ticket", "mode=shadow", "phase=over"):
        yield f"/api/incidents?{query}"
    yield from (f"/search?q={word}" for word in (KEY, WORD, "storage", "security"))
    for path in ("/silences?incident=", "/report?incident=", "/api/why?subject=", "/why?subject="):
        yield from (f"{path}{subject}" for subject in (KEY, KEY.lower(), WORD, "INC-1"))
    for path in ("/api/statistics", "/statistics"):
        yield from (f"{path}?{query}" for query in ("service=storage", "category=security/data-breach", "tier=L3"))


async def seen(home: House, who: str) -> dict[str, tuple[int, str]]:
    """Status and text of everything there is to read."""
    found = {}
    for path in addresses(home):
        if path == "/api/events":
            continue
        for accept in ("text/html", "application/openmetrics-text; version=1.0.0"):
            headers = as_(who) | {"Accept": accept}
            answer = await home.client.get(path, headers=headers, allow_redirects=False)
            found[f"{path} {accept[:9]}"] = (answer.status, await answer.text())
    return found


@pytest.mark.parametrize("who", ["vic", "ann", "max"])
async def test_nothing_that_can_be_read_changes_with_a_restricted_ticket(who: str) -> None:
    async with staffed() as home:
        await home.pipeline.step([filling()], [], NOW)
        await seen(home, who)
        before = await seen(home, who)
        assert len(before) > 60
        assert sum(status == 200 for status, _ in before.values()) > 40
        await confide(home)
        after = await seen(home, who)
        for path, answer in before.items():
            assert after[path] == answer, path
            assert WORD not in after[path][1] or WORD in path, path
        assert KEY not in "".join(
            text for path, (_, text) in after.items() if KEY not in path.upper() and "openapi" not in path
        )
        allowed = await home.client.get(f"/api/incidents/{KEY}", headers=as_("leo"))
        assert WORD in await allowed.text(), "and it is there, for who may see it"


async def test_live_events_do_not_tell_of_it() -> None:
    async with staffed() as home:
        await home.pipeline.step([filling()], [], NOW)
        async with home.client.get("/api/events", headers=as_("vic")) as stream:
            await confide(home)
            await home.pipeline.act("INC-1", "note", Viewer("ann"), now=NOW, text="for all")
            told = b""
            while b"event: ticket" not in told:
                told += await stream.content.readany()
        assert KEY.encode() not in told
        assert f"id: {NOW}-2".encode() in told, "the next event has the next number"


async def test_acts_on_it_are_answered_as_for_a_ticket_that_is_not_there() -> None:
    async with staffed() as home:
        await home.pipeline.step([filling()], [], NOW)
        await confide(home)
        for who in ("vic", "ann", "max"):
            for path in (f"/api/incidents/{KEY}/note", f"/incidents/{KEY}/note"):
                there = await home.client.post(path, json={"text": "x"}, headers=as_(who))
                missing = await home.client.post(path.replace(KEY, "INC-9"), json={"text": "x"}, headers=as_(who))
                assert there.status == missing.status
                assert (await there.text()).replace(KEY, "INC-9") == await missing.text()
        merged = await home.client.post("/api/incidents/INC-1/merge", json={"into": KEY}, headers=as_("max"))
        assert merged.status == 404
        ticket = await home.pipeline.desk.ticket(KEY, SYSTEM)
        assert ticket is not None
        assert ticket.state == "resolved"


async def test_the_audit_log_names_no_restricted_ticket() -> None:
    made = options("vic", "max", "ada")
    sol = {"name": "sol", "role": "viewer", "restricted": True, "password_hash": HASHES["vic"]}
    made = WebOptions.model_validate({"users": [*made.model_dump()["users"], sol]})
    async with staffed(made) as home:
        await home.pipeline.step([filling()], [], NOW)
        await confide(home)
        sees = {"Authorization": encode_basic_auth("sol", "vic-pass")}
        assert (await home.client.get(f"/api/incidents/{KEY}", headers=sees)).status == 200
        assert (await home.client.post(f"/api/incidents/{KEY}/note", json={"text": "x"}, headers=sees)).status == 403
        assert KEY not in await (await home.client.get("/api/audit", headers=as_("max"))).text()


# --- doors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/static/../options.py", "/static/..%2foptions.py", "/static/%2e%2e/options.py", "/static/....//app.css",
     "/static//etc/passwd", "/static/%00app.css", "/static/app.css%00.js", "/my/static/..%2f..%2fauth.py",
     "/my/static/%2e%2e%2fauth.py", "/static/", "/static/app.css/"],
)  # fmt: skip
async def test_no_path_leads_out_of_the_static_files(path: str) -> None:
    async with staffed() as home:
        answer = await home.client.get(URL(path, encoded=True), headers=as_("vic"))
        assert answer.status in (400, 404)
        assert "from __future__" not in await answer.text()


@pytest.mark.parametrize(
    "path", ["/api/tokens", "/login", "/api/incidents/INC-1/note", "/report", "/silences", "/api/v1/query", "/my/x.y"]
)
async def test_a_body_that_is_too_large_is_not_read(path: str) -> None:
    async with staffed() as home:
        body = b"name=" + b"a" * 300_000
        answer = await home.client.post(path, data=body, headers=as_("ada"))
        assert answer.status in (404, 413)


@pytest.mark.parametrize(
    "spelling", ["/api/%69ncidents", "/.//api/incidents", "/api/./audit", "/API/audit", "/api/audit/"]
)
async def test_no_spelling_of_a_path_gets_past_the_table(spelling: str) -> None:
    async with staffed() as home:
        plain = await home.client.get(URL(spelling, encoded=True), allow_redirects=False)
        assert plain.status in (401, 400)
        answer = await home.client.get(URL("/api/%61udit", encoded=True), headers=as_("vic"))
        assert answer.status in (403, 404)


def test_what_is_public() -> None:
    for route in ("/login", "/my/{token}", "/status", "/status/api/v2/{name}", "/my/static/{name}"):
        assert public(route), route
    for route in (
        "/",
        "/api/incidents",
        "/statusx",
        "/statistics",
        "/static/{name}",
        "/logout",
        "/account",
        "/login/x",
    ):
        assert not public(route), route


def test_the_table_knows_every_role() -> None:
    assert set(rights.MEANING) == set(rights.ROLES)
    assert {values["role"] for values in ROLES.values()} == set(rights.ROLES)
