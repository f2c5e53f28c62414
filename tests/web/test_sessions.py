"""Logging in with a browser: what the cookie is, when it ends, and what guessing and other sites' pages get."""

from __future__ import annotations

import asyncio
import hashlib
import re
from http.cookies import Morsel
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from aiohttp import encode_basic_auth
from sqlalchemy import select
from yarl import URL

from detector.tickets import schema
from detector.tickets.database import StorageError
from detector.tickets.people import MOST_SESSIONS, People
from detector.web.auth import Access
from detector.web.options import WebConfig, WebOptions
from detector.web.sessions import local
from detector.web.throttle import Guesses, Throttle
from detector.words import HOUR, MINUTE
from tests.rows import DAY, NOW
from tests.web.crew import HASHES, as_, audited, log_in, options, staffed
from tests.web.house import House, filling, house

PAGE = {"Accept": "text/html"}


def cookie(home: House, name: str = "detector") -> str:
    found = {morsel.key: morsel.value for morsel in home.client.session.cookie_jar}
    return found.get(name, "")


def forget(home: House) -> None:
    home.client.session.cookie_jar.clear()


async def status(home: House, path: str = "/api/incidents", **headers: str) -> int:
    return (await home.client.get(path, headers=headers, allow_redirects=False)).status


async def test_a_browser_is_led_to_the_login_and_from_there_to_where_it_wanted() -> None:
    async with staffed() as home:
        await home.pipeline.step([filling()], [], NOW)
        led = await home.client.get("/incidents/INC-1?a=b%26c", headers=PAGE, allow_redirects=False)
        assert led.status == 303
        login = led.headers["Location"]
        assert URL(login).query["next"] == "/incidents/INC-1?a=b%26c"
        form = await (await home.client.get(login, headers=PAGE)).text()
        action = re.search(r'action="([^"]+)"', form)
        assert action is not None
        done = await log_in(home, "ann", action[1].replace("&amp;", "&"))
        assert (done.status, done.headers["Location"]) == (303, "/incidents/INC-1?a=b%26c")
        page = await home.client.get(done.headers["Location"], headers=PAGE)
        assert (page.status, ">ann</a>" in await page.text()) == (200, True)
        assert (await audited(home))[0] == ("ann", "login", "ann")


async def test_the_login_page_shows_nothing_of_the_desk_and_its_style_asks_for_no_login() -> None:
    async with staffed() as home:
        for path in ("/login", "/my/x.y"):
            text = await (await home.client.get(path, headers=PAGE)).text()
            for word in ("12,480", "storage", "on call", "Board"):
                assert word not in text.replace("To the board", ""), (path, word)
            for asset in re.findall(r'(?:href|src)="(/[^"]*/static/[^"]+)"', text):
                assert await status(home, asset) == 200
        assert "<script" not in text


@pytest.mark.parametrize(("url", "name"), [(None, "detector"), ("https://detector.example", "__Host-detector")])
async def test_what_the_cookie_is(url: str | None, name: str) -> None:
    async with staffed(options(external_url=url)) as home:
        done = await log_in(home, "ann")
        morsel: Morsel[str] = done.cookies[name]
        assert (morsel["httponly"], morsel["samesite"], morsel["path"], morsel["domain"]) == (True, "Lax", "/", "")
        assert bool(morsel["secure"]) == (url is not None)
        assert len(morsel.value) == 43
        assert done.headers["Cache-Control"] == "no-store"
        async with home.pipeline.desk.engine.connect() as connection:
            rows = (await connection.execute(select(schema.sessions))).all()
        assert [row.hash for row in rows] == [hashlib.sha256(morsel.value.encode()).hexdigest()]
        assert morsel.value not in str(rows)


async def test_a_login_never_keeps_the_id_that_the_browser_came_with() -> None:
    async with staffed() as home:
        home.client.session.cookie_jar.update_cookies({"detector": "f" * 43}, URL(home.url))
        await log_in(home, "ann")
        first = cookie(home)
        assert first != "f" * 43
        await log_in(home, "max")
        second = cookie(home)
        assert second != first
        forget(home)
        assert await status(home, Cookie=f"detector={first}") == 401, "the one before is over"
        assert await status(home, Cookie=f"detector={second}") == 200
        assert await status(home, Cookie=f"detector={'f' * 43}") == 401
        assert await status(home, Cookie=f"__Host-detector={second}") == 401, "over TLS only"


async def test_a_logout_ends_it_on_the_server_too() -> None:
    async with staffed() as home:
        await log_in(home, "ann")
        kept = cookie(home)
        done = await home.client.post("/logout", allow_redirects=False)
        assert (done.status, done.headers["Location"], cookie(home)) == (303, "/login", "")
        assert await status(home, Cookie=f"detector={kept}") == 401
        assert (await audited(home))[0] == ("ann", "logout", "ann")


async def test_without_use_it_is_over_after_a_day_and_in_any_case_after_two_weeks() -> None:
    async with staffed() as home:
        await log_in(home, "ann")
        for _ in range(15):
            home.clock.set(home.clock.now() + DAY - MINUTE)
            found = await status(home)
            if found != 200:
                break
        assert found == 401
        assert home.clock.now() - NOW > 13 * DAY
        await log_in(home, "ann")
        home.clock.set(home.clock.now() + DAY)
        assert await status(home) == 401


def changed(**values: object) -> WebOptions:
    users = [{"name": "ann", "role": "agent", "password_hash": HASHES["ann"], **values}]
    return WebOptions.model_validate({"users": users})


async def test_it_ends_with_the_user_and_with_the_password_and_follows_the_role(tmp_path: Path) -> None:
    access = Access(options())
    async with staffed(access=access) as home:

        def reload(made: WebOptions) -> None:
            access.commit(Access.prepare(made, WebConfig(), tmp_path))

        await log_in(home, "ann")
        reload(changed(role="viewer"))
        assert await status(home) == 200
        refused = await home.client.post("/api/incidents/INC-1/note", json={"text": "x"})
        assert (refused.status, "ann has the role viewer" in await refused.text()) == (403, True)
        reload(changed(password_hash=HASHES["max"]))
        assert await status(home) == 401
        reload(options())
        assert await status(home) == 401, "it was ended, not put to sleep"
        await log_in(home, "ann")
        reload(options("max"))
        assert await status(home) == 401


async def test_people_end_their_own_sessions_and_admins_those_of_everybody() -> None:
    async with staffed() as home:
        await log_in(home, "ann", **{"User-Agent": "Phone <b>1</b>"})
        lost = cookie(home)
        forget(home)
        await log_in(home, "ann", **{"User-Agent": "Desk"})
        text = await (await home.client.get("/account")).text()
        assert "Phone &lt;b&gt;1&lt;/b&gt;" in text
        assert "<b>this one</b>" in text
        id = hashlib.sha256(lost.encode()).hexdigest()[:16]
        refused = await home.client.post(f"/account/sessions/{id}/end", headers=as_("max"), allow_redirects=False)
        assert refused.status == 404, "another's session is as one that is not there"
        assert await status(home, Cookie=f"detector={lost}") == 200
        done = await home.client.post(f"/account/sessions/{id}/end", allow_redirects=False)
        assert done.status == 303
        kept = cookie(home)
        forget(home)
        assert await status(home, Cookie=f"detector={lost}") == 401
        text = await (await home.client.get("/account", headers=as_("ada"))).text()
        id = hashlib.sha256(kept.encode()).hexdigest()[:16]
        assert f"/account/sessions/{id}/end" in text
        await home.client.post(f"/account/sessions/{id}/end", headers=as_("ada"))
        assert await status(home, Cookie=f"detector={kept}") == 401
        assert (await audited(home))[0] == ("ada", "session-ended", "ann")
        for odd in ("x", "%", "_" * 16, "'" * 16, "%2e%2e", id):
            answer = await home.client.post(URL(f"/account/sessions/{odd}/end", encoded=True), headers=as_("ada"))
            assert answer.status in (400, 404)


async def test_a_person_has_so_many_sessions_and_no_more() -> None:
    async with staffed() as home:
        first = ""
        for number in range(MOST_SESSIONS + 2):
            home.clock.set(NOW + number)
            forget(home)
            await log_in(home, "ann")
            first = first or cookie(home)
        assert len(await People(home.pipeline.desk, home.clock).sessions("ann")) == MOST_SESSIONS
        forget(home)
        assert await status(home, Cookie=f"detector={first}") == 401


async def test_live_events_end_with_the_session() -> None:
    async with staffed() as home:
        await log_in(home, "ann")
        async with home.client.get("/api/events") as stream:
            await stream.content.readany()
            await home.client.post("/logout")
            home.clock.set(NOW + MINUTE)
            await home.pipeline.step([filling()], [], NOW)
            rest = await asyncio.wait_for(stream.content.read(), 20)
        assert b"INC-1" in rest or rest == b"" or b"status" in rest
        assert stream.content.at_eof()


# --- other sites' pages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}], ids=str)
async def test_another_sites_page_cannot_use_the_cookie_nor_log_somebody_in(headers: dict[str, str]) -> None:
    async with staffed() as home:
        await home.pipeline.step([filling()], [], NOW)
        assert (await log_in(home, "ada", **headers)).status == 403
        assert cookie(home) == ""
        await log_in(home, "ada")
        for path in ("/api/incidents/INC-1/ack", "/incidents/INC-1/ack", "/logout", "/api/tokens", "/-/reload"):
            assert (await home.client.post(path, headers=headers)).status == 403, path
        assert await status(home) == 200
        assert (await home.client.delete("/api/tokens/1", headers=headers)).status == 403


AWAY = ["//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "javascript:alert(1)", "evil",
        "/\t/evil.example", "/\n/evil.example", " //evil.example", "/%0d%0aSet-Cookie: a=b x", "///evil.example", "",
        "/login", "/login?next=/login", "/logout", "/" + "a" * 3000, "/a\x00b"]  # fmt: skip


@pytest.mark.parametrize("where", AWAY)
def test_no_login_leads_to_another_site(where: str) -> None:
    assert local(where) == "/"


@pytest.mark.parametrize("where", ["/", "/incidents/INC-1", "/?tab=open&q=a%20b", "/a//b", "/silences?next=//x"])
def test_every_page_of_ours_can_be_led_to(where: str) -> None:
    assert local(where) == where


@pytest.mark.parametrize("where", AWAY[:9])
async def test_the_login_itself_leads_to_no_other_site(where: str) -> None:
    async with staffed() as home:
        path = str(URL("/login").with_query(next=where))
        assert "evil" not in await (await home.client.get(path)).text()
        assert (await log_in(home, "ann", path)).headers["Location"] == "/"


async def test_a_form_that_a_session_did_not_outlive_says_that_it_was_not_done() -> None:
    async with staffed() as home:
        headers = PAGE | {"Referer": f"{home.url}/incidents/INC-1?x=1", "Sec-Fetch-Site": "same-origin"}
        led = await home.client.post("/incidents/INC-1/note", headers=headers, allow_redirects=False)
        assert dict(URL(led.headers["Location"]).query) == {"lost": "1", "next": "/incidents/INC-1?x=1"}
        assert "was not done" in await (await home.client.get(led.headers["Location"])).text()
        led = await home.client.post(
            "/logout", headers=PAGE | {"Referer": "https://evil.example/x"}, allow_redirects=False
        )
        assert led.headers["Location"] == "/login?lost=1&next=/"


async def test_programs_are_asked_for_a_password_and_scripts_of_our_pages_are_not() -> None:
    async with staffed() as home:
        program = await home.client.get("/api/incidents")
        assert program.headers["WWW-Authenticate"].startswith("Basic")
        script = await home.client.get("/api/events", headers={"Sec-Fetch-Mode": "cors"})
        assert (script.status, script.headers["WWW-Authenticate"]) == (401, 'Bearer realm="detector"')


async def test_where_nobody_is_asked_there_is_no_login() -> None:
    async with house() as home:
        for answer in (await home.client.get("/login", allow_redirects=False), await log_in(home, "ann")):
            assert (answer.status, answer.headers["Location"]) == (303, "/")
        assert cookie(home) == ""


# --- guessing ---------------------------------------------------------------------------------------------------------


async def guess(home: House, name: str = "ann", number: int = 0) -> Any:
    return await home.client.post("/login", data={"name": name, "password": f"wrong-{number}"}, allow_redirects=False)


async def test_a_wrong_password_is_said_without_telling_which_of_the_two_it_was() -> None:
    async with staffed() as home:
        known, unknown = await guess(home, "ann"), await guess(home, "eve")
        for answer in (known, unknown):
            text = await answer.text()
            assert (answer.status, "The name or the password is wrong." in text) == (401, True)
            assert "Basic" not in answer.headers["WWW-Authenticate"]
            assert "wrong-0" not in text
        assert (await known.text()).replace("ann", "eve") == await unknown.text()
        entries = await audited(home)
        assert {target for _, what, target in entries if what == "login-failed"} == {"ann", "(unknown name)"}


async def test_who_guesses_waits_twice_as_long_each_time_and_a_right_password_ends_it() -> None:
    async with staffed() as home:
        waits = []
        for number in range(9):
            answer = await guess(home, number=number)
            while answer.status == 429:
                waits.append(int(answer.headers["Retry-After"]))
                assert "Too many wrong passwords" in await answer.text()
                assert (await log_in(home, "ann")).status == 429, "the right one waits as well"
                home.clock.set(home.clock.now() + waits[-1] * 1000)
                answer = await guess(home, number=number)
            assert answer.status == 401
        assert waits == [1, 2, 4, 8]
        assert (await guess(home, "eve")).status == 401, "another name does not wait"
        home.clock.set(home.clock.now() + 16_000)
        assert (await log_in(home, "ann")).status == 303
        assert (await guess(home)).status == 401


async def test_who_is_not_known_waits_just_so_and_costs_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bytes] = []
    check = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda p, h: checked.append(p) or check(p, h))
    async with staffed() as home:
        statuses = {name: [(await guess(home, name, n)).status for n in range(7)] for name in ("ann", "eve")}
        assert statuses["ann"] == statuses["eve"] == [401] * 5 + [429] * 2
        assert len(checked) == 10


async def test_one_address_cannot_try_every_name() -> None:
    async with staffed() as home:
        statuses = [(await guess(home, f"user{number}")).status for number in range(32)]
        assert statuses == [401] * 30 + [429] * 2
        assert (await log_in(home, "ann")).status == 429


async def test_guessing_with_basic_auth_waits_too_and_ingest_is_never_answered_429() -> None:
    async with staffed() as home:
        wrong = {"Authorization": encode_basic_auth("ada", "wrong")}
        statuses = [(await home.client.get("/api/incidents", headers=wrong)).status for _ in range(7)]
        assert statuses == [401] * 5 + [429] * 2
        sent = await home.client.post("/api/v1/write", headers=wrong)
        assert (sent.status, "Retry-After" in sent.headers) == (503, True)


async def test_a_password_that_was_right_is_not_guessed_at_any_faster() -> None:
    async with staffed() as home:
        assert (await home.client.get("/api/incidents", headers=as_("ada"))).status == 200
        for number in range(5):
            assert (await guess(home, "ada", number)).status == 401
        assert (await log_in(home, "ada")).status == 429
        assert (await home.client.get("/api/incidents", headers=as_("ada"))).status == 429


def test_who_guesses_from_elsewhere_keeps_nobody_out_who_is_known() -> None:
    guesses = Guesses()
    guesses.take("ann", "192.0.2.1", NOW)
    guesses.right("ann", "192.0.2.1")
    for number in range(50):
        guesses.take("ann" if number % 2 else f"user{number}", "192.0.2.66", NOW)
    assert guesses.wait("ann", "192.0.2.66", NOW) > 0
    assert guesses.wait("max", "192.0.2.66", NOW) > 0
    assert guesses.wait("ann", "192.0.2.2", NOW) > 0
    assert guesses.wait("ann", "192.0.2.1", NOW) == 0
    for _ in range(6):
        guesses.take("ann", "192.0.2.1", NOW)
    assert guesses.wait("ann", "192.0.2.1", NOW) > 0


async def test_many_guesses_at_once_do_not_slip_through_together() -> None:
    async with staffed() as home:
        answers = await asyncio.gather(*(guess(home, number=number) for number in range(20)))
        assert sorted(answer.status for answer in answers) == [401] * 5 + [429] * 15


def test_waiting_is_bounded_forgotten_and_takes_bounded_memory() -> None:
    throttle = Throttle(free=2, most=MINUTE)
    for _ in range(40):
        throttle.take("a", NOW)
    assert throttle.wait("a", NOW) == MINUTE
    assert throttle.wait("a", NOW + MINUTE) == 0
    throttle.take("a", NOW + HOUR)
    assert throttle.wait("a", NOW + HOUR) == 0
    for number in range(20_000):
        throttle.take(str(number), NOW)
    assert len(throttle._tries) == 10_000
    assert throttle.wait("never seen", NOW) == 0


async def test_no_odd_form_is_a_fault_of_ours() -> None:
    async with staffed() as home:
        for body in (b"", b"name=%ff", b"name=ann&password=%00%00", b"name=\xff", b"password=x" * 10,
                     b"name=" + b"a" * 9000, "name=\ud800".encode("utf-8", "surrogatepass")):  # fmt: skip
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = await home.client.post("/login", data=body, headers=headers)
            assert answer.status in (400, 401, 429), body
        assert (await home.client.post("/login", json={"name": "ann", "password": "ann-pass"})).status == 415
        for value in ("", "x", "a" * 43, "\\ud800" * 8, "%" * 50, "a" * 5000):
            assert await status(home, Cookie=f"detector={value}") in (400, 401)


async def test_a_reader_goes_on_while_the_use_of_the_session_cannot_be_written() -> None:
    async with staffed() as home:
        await log_in(home, "ann")

        class Full(People):
            async def seen(self, hash: str, now: int) -> None:
                raise StorageError("disk full")

        deps_people = Full(home.pipeline.desk, home.clock)
        async with staffed(people=deps_people) as other:
            other.clock.set(NOW + HOUR)
            assert await status(other, Cookie=f"detector={cookie(home)}") == 200
