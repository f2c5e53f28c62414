"""Asking to be told, confirming it and ending it: for everybody, without a script, and telling nobody who is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select

from detector.pipeline import Policy
from detector.tickets import schema
from detector.tickets.options import Communication, TicketOptions
from detector.tickets.subscribers import CONFIRM_MS
from detector.web.often import _KEPT, Often, network
from detector.web.options import WebConfig
from tests.rows import HOUR, NOW
from tests.web.house import House, hashed, house

PAGE = {"Accept": "text/html"}
HOSTS = ("hooks.example.org", "*.example.net", "127.0.0.1:8080", "alt.example.org:8443")


@asynccontextmanager
async def open_house(kinds: tuple[str, ...] = ("email", "webhook"), **changed: Any) -> AsyncIterator[House]:
    async with house(**changed) as home:
        home.pipeline.desk.subscribed = kinds
        communication = Communication.model_validate({"allowed_hosts": HOSTS, "components": ["shop", "mail"]})
        home.pipeline.set_policy(Policy(tickets=TicketOptions(communication=communication)))
        yield home


async def ask(home: House, address: str, kind: str = "email", **more: Any) -> tuple[int, str]:
    body = {"kind": kind, "address": address, **more}
    home.clock.set(home.clock.now() + 1)
    answer = await home.client.post("/status/subscribe", json=body)
    return answer.status, await answer.text()


async def subscribers(home: House) -> list[Any]:
    async with home.pipeline.desk.engine.connect() as connection:
        return list((await connection.execute(select(schema.subscribers).order_by(schema.subscribers.c.id))).all())


async def owed(home: House) -> list[str]:
    o = schema.outbox
    async with home.pipeline.desk.engine.connect() as connection:
        statement = select(o.c.event).where(o.c.channel.like("@status%")).order_by(o.c.id)
        return [row.event for row in await connection.execute(statement)]


# --- asking -----------------------------------------------------------------------------------------------------------


async def test_the_form_on_the_page_asks_and_needs_no_script_and_no_login() -> None:
    async with open_house(config=WebConfig(basic_auth_users={"ann": hashed("secret")})) as home:
        page = await (await home.client.get("/status")).text()
        assert 'action="/status/subscribe"' in page
        assert 'name="component" value="shop"' in page
        form = {"kind": "email", "address": " Kim@Example.ORG ", "component": "shop"}
        answer = await home.client.post("/status/subscribe", data=form, headers=PAGE)
        assert (answer.status, "a letter is on its way" in await answer.text()) == (202, True)
        [one] = await subscribers(home)
        assert (one.kind, one.address, one.components, one.confirmed_at) == (
            "email", "Kim@example.org", "\nshop\n", None,
        )  # fmt: skip
        assert await owed(home) == ["confirm"]


async def test_who_cannot_be_told_is_not_offered_it() -> None:
    async with open_house(kinds=()) as home:
        assert "/status/subscribe" not in await (await home.client.get("/status")).text()
        assert (await ask(home, "kim@example.org"))[0] == 422
        home.pipeline.desk.subscribed = ("email",)
        page = await (await home.client.get("/status")).text()
        assert 'type="hidden" name="kind" value="email"' in page
        assert (await ask(home, "https://hooks.example.org/s", "webhook"))[0] == 422
        home.pipeline.set_policy(Policy(tickets=TicketOptions(communication=Communication(status_page=False))))
        assert (await ask(home, "kim@example.org"))[0] == 404


async def test_an_answer_never_tells_whether_an_address_is_told() -> None:
    async with open_house() as home:
        new = await ask(home, "kim@example.org")
        again = await ask(home, "kim@example.org")
        token = (await subscribers(home))[0].token
        assert (await home.client.post(f"/status/confirm/{token}")).status == 200
        confirmed = await ask(home, "kim@example.org")
        assert new == again == confirmed
        assert new[0] == 202
        assert await owed(home) == ["confirm", "confirm", "known"], "whoever reads the letter knows"


HOSTILE = {
    "two": "kim@example.org,lou@example.org", "header": "kim@example.org\r\nBcc: lou@example.org", "nothing": " ",
    "long": "k" * 290 + "@example.org", "cyrillic": "k\u0456m@example.org", "domain": "kim@ex\u0430mple.org",
    "full width": "kim\uff20example.org", "name": "Kim <kim@example.org>", "quoted": '"a b"@example.org',
    "nul": "kim\0@example.org", "surrogate": "k\ud800m@example.org", "no domain": "kim@", "route": "@a:kim@b.org",
    "command": "kim@example.org>\r\nRCPT TO:<lou@example.org", "dots": "kim..k@example.org", "tab": "kim\t@x.org",
    "invisible": "kim\u200b@example.org", "html": "<script>@example.org",
}  # fmt: skip


@pytest.mark.parametrize("address", HOSTILE.values(), ids=HOSTILE.keys())
async def test_what_is_no_single_plain_address_is_refused(address: str) -> None:
    async with open_house() as home:
        status, text = await ask(home, address)
        assert status in (400, 422), text
        assert await subscribers(home) == []
        data = aiohttp.FormData({"address": address.encode("utf-8", "surrogatepass").decode("latin-1")})
        answer = await home.client.post("/status/subscribe", data=data, headers=PAGE)
        assert answer.status in (400, 422)
        assert "<script>@" not in await answer.text()


async def test_a_mistake_keeps_what_was_written() -> None:
    async with open_house() as home:
        form = {"kind": "webhook", "address": "https://evil.example.com/x", "component": "mail"}
        answer = await home.client.post("/status/subscribe", data=form, headers=PAGE)
        page = await answer.text()
        assert answer.status == 422
        assert "not allowed here" in page
        assert 'value="https://evil.example.com/x"' in page
        assert 'value="mail" checked' in page


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://hooks.example.org/status?a=b", True), ("https://HOOKS.example.org/", True),
        ("https://a.example.net/", True), ("https://a.b.example.net/", True), ("http://127.0.0.1:8080/x", True),
        ("https://alt.example.org:8443/", True), ("http://hooks.example.org/", False),
        ("https://example.net/", False), ("https://evilexample.net/", False), ("https://alt.example.org/", False),
        ("https://hooks.example.org:8443/", False), ("https://hooks.example.org.evil.com/", False),
        ("https://kim:secret@hooks.example.org/", False), ("https://hooks.example.org@evil.com/", False),
        ("https://evil.com\\.example.net/", False), ("https://evil.com#.example.net/", False),
        ("https://evil.com%23.example.net/", False), ("http://127.0.0.1:22/", False), ("http://127.1:8080/", False),
        ("http://2130706433:8080/", False), ("http://[::1]:8080/", False), ("http://169.254.169.254/", False),
        ("https://10.0.0.1/", False), ("ftp://hooks.example.org/", False), ("javascript:alert(1)", False),
        ("https://hooks.example.org/\r\nX: y", False), ("https://hooks.exampl\u0435.org/", False), ("//a", False),
        ("https://hooks.example.org/" + "x" * 2000, False), ("https://hooks\u3002example.org/", False),
        ("https://hooks.example.org./", False), ("https://[", False), ("https://hooks.example.org:0/", False),
    ],
)  # fmt: skip
async def test_webhooks_lead_to_allowed_hosts_only(url: str, fine: bool) -> None:
    async with open_house() as home:
        status, text = await ask(home, url, "webhook")
        assert (status == 202) is fine, text
        assert status in (202, 400, 422)
        assert len(await subscribers(home)) == fine


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"address": "kim@example.org", "components": ["nothing"]}, 422), ({"address": "a@b.org", "x": 1}, 422),
        ({"kind": "sms", "address": "kim@example.org"}, 422), ({}, 422), ([], 422),
        ({"address": "kim@example.org", "components": ["shop"] * 300}, 422),
        ({"address": "kim@example.org", "components": ["shop", "shop", "mail"]}, 202),
    ],
)  # fmt: skip
async def test_a_mistake_is_named(body: Any, status: int) -> None:
    async with open_house() as home:
        answer = await home.client.post("/status/subscribe", json=body)
        assert answer.status == status
        xml = {"Content-Type": "text/xml"}
        assert (await home.client.post("/status/subscribe", data=b"x", headers=xml)).status == 415


async def test_a_page_of_another_site_asks_nothing() -> None:
    async with open_house() as home:
        headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
        form = {"address": "kim@example.org"}
        assert (await home.client.post("/status/subscribe", data=form, headers=headers)).status == 403
        assert await subscribers(home) == []


async def test_one_address_is_asked_three_times_an_hour_and_one_network_asks_thirty_times() -> None:
    async with open_house() as home:
        for _ in range(3):
            assert (await ask(home, "kim@example.org"))[0] == 202
        answer = await home.client.post("/status/subscribe", json={"address": "KIM@example.org"})
        assert (answer.status, answer.headers["Retry-After"]) == (429, "3600")
        page = await home.client.post("/status/subscribe", data={"address": "kim@example.org"}, headers=PAGE)
        assert (page.status, page.headers["Retry-After"]) == (429, "3600")
        for n in range(27):
            assert (await ask(home, f"{n}@example.org"))[0] == 202
        assert (await ask(home, "new@example.org"))[0] == 429
        home.clock.set(NOW + 2 * HOUR)
        assert (await ask(home, "new@example.org"))[0] == 202
        assert (await ask(home, "kim@example.org"))[0] == 202


def test_what_is_remembered_is_bounded() -> None:
    often = Often(2)
    for n in range(_KEPT + 50):
        often.done(str(n), NOW)
    assert len(often._times) == _KEPT
    often.done("x", NOW)
    often.done("x", NOW + 10)
    assert [often.wait("x", NOW + at) for at in (10, HOUR - 1, HOUR)] == [HOUR - 10, 1, 0]
    often.done("x", NOW + HOUR)
    assert often.wait("x", NOW + HOUR) == 10
    assert network("2001:db8::1") == network("2001:db8::ffff:1") != network("2001:db8:0:1::1")
    assert [network(one) for one in ("10.0.0.1", None, "unix")] == ["10.0.0.1", "", "unix"]


# --- confirming and ending --------------------------------------------------------------------------------------------


async def test_looking_at_a_link_does_nothing_and_pressing_its_button_does() -> None:
    async with open_house() as home:
        await ask(home, "kim@example.org", components=["shop"])
        token = (await subscribers(home))[0].token
        for method in ("GET", "HEAD"):
            assert (await home.client.request(method, f"/status/confirm/{token}")).status == 200
        assert (await subscribers(home))[0].confirmed_at is None
        page = await (await home.client.get(f"/status/confirm/{token}")).text()
        assert f'action="/status/confirm/{token}"' in page
        assert "kim@example.org · shop" in page
        for _ in range(2):
            answer = await home.client.post(f"/status/confirm/{token}", data={}, headers=PAGE)
            assert (answer.status, "You are told from now on" in await answer.text()) == (200, True)
        assert (await subscribers(home))[0].confirmed_at == NOW + 1
        assert (await home.client.get(f"/status/unsubscribe/{token}")).status == 200
        assert len(await subscribers(home)) == 1
        answer = await home.client.post(f"/status/unsubscribe/{token}", headers=PAGE)
        assert (answer.status, "told no more" in await answer.text()) == (200, True)
        assert await subscribers(home) == []
        assert (await home.client.get(f"/status/unsubscribe/{token}")).status == 404


async def test_one_click_ends_it_in_either_format_and_again() -> None:
    field = {"List-Unsubscribe": "One-Click"}
    multipart = aiohttp.FormData(field, default_to_multipart=True)
    for body in (field, multipart, b"", b"\xff{"):
        async with open_house() as home:
            await ask(home, "kim@example.org")
            token = (await subscribers(home))[0].token
            for data in (body, b""):
                answer = await home.client.post(f"/status/unsubscribe/{token}", data=data, allow_redirects=False)
                assert (answer.status, (await answer.json())["detail"]) == (200, "It has ended: you are told no more.")
            assert await subscribers(home) == []


@pytest.mark.parametrize("token", ["x", "%00", "x" * 5000, "..%2f..", "%ff", "'%20OR%201=1--"])
async def test_a_link_that_was_never_sent_opens_nothing(token: str) -> None:
    async with open_house() as home:
        await ask(home, "kim@example.org")
        for path in ("confirm", "unsubscribe"):
            assert (await home.client.get(f"/status/{path}/{token}")).status in (400, 404)
        assert (await home.client.post(f"/status/confirm/{token}")).status in (400, 404)
        assert (await home.client.post(f"/status/unsubscribe/{token}")).status in (200, 400, 404)
        assert [one.confirmed_at for one in await subscribers(home)] == [None]


async def test_a_link_ends_after_two_days_unless_it_was_pressed() -> None:
    async with open_house() as home:
        await ask(home, "kim@example.org")
        token = (await subscribers(home))[0].token
        home.clock.set(NOW + 1 + CONFIRM_MS)
        assert (await home.client.get(f"/status/confirm/{token}")).status == 404
        assert (await home.client.post(f"/status/confirm/{token}")).status == 404
