"""P14: subscribers of the status page are told, over HTTP, real SMTP and real webhooks, on each database."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from detector.daemon.subscribers import Telling
from detector.incidents.catalogue import Catalogue, CatalogueOptions
from detector.incidents.mute import NoiseOptions
from detector.notify.channels import Channel
from detector.notify.channels.hooks import Hosts
from detector.notify.channels.letters import SmtpOptions
from detector.notify.deliver import Deliverer
from detector.nouns import Ticket, Viewer
from detector.pipeline import Policy
from detector.tickets.audience import MAIL
from detector.tickets.commit import Committed
from detector.tickets.database import address
from detector.tickets.options import Communication, TicketOptions
from detector.tickets.outbox import Outbox
from detector.tickets.subscribers import Subscribers
from detector.web.deps import ServiceFact
from detector.web.pages.status import StatusPage
from tests.contract.receivers import Loopback
from tests.rows import DAY, HOUR, MINUTE, NOW, symptom
from tests.smtp import Post, said, smtp_server
from tests.web.house import House, house

ANN = Viewer("ann")
URL = "https://desk.example.org"
SENDER = ("Service desk", "desk@example.org")


class Statuspage(Loopback):
    """Whoever reads Statuspage's webhooks: JSON with ``meta`` and ``page``, known by its id."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[Any] = []

    async def receive(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        told = await request.json()
        if not {"unsubscribe", "documentation"} <= told["meta"].keys() or "status_indicator" not in told["page"]:
            return web.Response(status=400)
        self.bodies.append(told)
        return web.Response(status=200)


@dataclass
class Public:
    """The desk with whoever it tells."""

    house: House
    post: Post
    hook: Statuspage
    telling: Telling
    deliverer: Deliverer
    book: Subscribers
    read: int = 0

    async def ask(self, to: str, kind: str = "email", **more: Any) -> None:
        self.house.clock.set(self.house.clock.now() + 1)
        answer = await self.house.client.post("/status/subscribe", json={"kind": kind, "address": to, **more})
        assert answer.status == 202, await answer.text()
        self.deliverer.wake()

    async def letter(self) -> EmailMessage:
        await until(lambda: len(self.post.raw) > self.read)
        self.read += 1
        return self.post.mails[self.read - 1]

    async def called(self, count: int) -> Any:
        await until(lambda: len(self.hook.bodies) >= count)
        return self.hook.bodies[count - 1]

    async def subscribed(self, to: str, **more: Any) -> EmailMessage:
        """A subscriber by mail who has pressed what is in the letter; that letter."""
        await self.ask(to, **more)
        letter = await self.letter()
        await self.press(said(letter), "confirm")
        return letter

    async def press(self, text: str, what: str) -> None:
        link = re.search(rf"{URL}(/status/{what}/\S+)", text)
        assert link is not None, text
        assert (await self.house.client.get(link[1])).status == 200
        assert (await self.house.client.post(link[1])).status == 200

    async def act(self, action: str, key: str = "INC-1", **arguments: Any) -> Ticket:
        self.house.clock.set(self.house.clock.now() + 1)
        found: Ticket = await self.house.pipeline.act(key, action, ANN, now=self.house.clock.now(), **arguments)
        return found

    async def publish(self, status: str, body: str, key: str = "INC-1", **more: Any) -> None:
        await self.act("publish", key, status=status, body=body, **more)

    async def hurt(self, service: str = "shop") -> None:
        hurting = symptom("sales", service=service, onset=self.house.clock.now(), disruption=True, detector="rule")
        await self.house.pipeline.step([hurting], [], self.house.clock.now())


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - other parties over real sockets
            await asyncio.sleep(0.005)


def policy(hosts: tuple[str, ...]) -> Policy:
    services = CatalogueOptions.model_validate({"services": [{"name": "shop"}, {"name": "mail"}]})
    told = {"allowed_hosts": hosts, "name": "Example", "components": ["shop", "mail"]}
    communication = Communication.model_validate(told)
    begins, ends = (datetime.fromtimestamp((NOW + ahead) / 1000, UTC) for ahead in (HOUR, DAY))
    moving = {
        "name": "move", "matchers": ['service="mail"'], "reason": "moving house", "public": True,
        "start": begins, "end": ends,
    }  # fmt: skip
    hidden = moving | {"name": "quiet", "reason": "secret work", "public": False}
    noise = NoiseOptions.model_validate({"maintenance": [moving, hidden]})
    return Policy(Catalogue(services), noise=noise, tickets=TicketOptions(communication=communication))


@asynccontextmanager
async def telling(url: str | None, folder: Path) -> AsyncIterator[Public]:
    hook = Statuspage()
    await hook.start()
    async with smtp_server(Post()) as post, house(url=url) as home:
        pipeline, clock, hosts = home.pipeline, home.clock, (f"127.0.0.1:{hook.port}",)
        pipeline.set_policy(policy(hosts))
        pipeline.desk.subscribed = ("email", "webhook")
        page = StatusPage(pipeline.desk, pipeline, clock, lambda: URL, lambda: [ServiceFact("shop")])
        book = Subscribers(pipeline.desk)
        made = Telling(book, page, clock)
        options = SmtpOptions.model_validate({"host": "127.0.0.1", "port": post.port, "security": "none"})
        letters = made.letters(options, SENDER, folder, URL)
        channels: list[Channel] = [letters, made.hooks(Hosts(hosts), URL)]
        deliverer = Deliverer(Outbox(pipeline.desk), channels, clock, pipeline._telemetry, URL, UTC)
        book.owed = deliverer.wake

        def wake(committed: Committed) -> None:
            deliverer.wake(committed.channels)

        pipeline.subscribe(wake)
        worker = asyncio.create_task(deliverer.run())
        try:
            yield Public(home, post, hook, made, deliverer, book)
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            await hook.stop()


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def public(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Public]:
    # In a file: in memory all share one connection, and the deliverer looks on while others write.
    url = request.getfixturevalue("postgres") if request.param == "postgresql" else address(tmp_path / "desk.db")
    async with telling(url, tmp_path) as made:
        yield made


async def test_P14_subscribers_confirm_are_told_every_update_in_order_and_end_it_with_one_click(public: Public) -> None:
    asked = await public.subscribed("kim@example.org", components=["shop"])
    assert (asked["To"], asked["Subject"]) == ("kim@example.org", "Example: do you want to be told?")
    assert "Somebody, probably you, asked" in said(asked)
    await public.hurt()
    await public.publish("investigating", "We look into it.", title="The shop is down")
    await public.publish("identified", "A disk died.")
    await public.publish("resolved", "It is over.")
    letters = [await public.letter() for _ in range(3)]
    assert [letter["Subject"] for letter in letters] == [
        f"Example: The shop is down ({status})" for status in ("investigating", "identified", "resolved")
    ]
    for letter, words in zip(letters, ("We look into it.", "A disk died.", "It is over."), strict=True):
        assert words in said(letter)
        assert words in said(letter, "html")
        assert f"{URL}/status#INC-1" in said(letter)
        assert letter["Auto-Submitted"] == "auto-generated"
    assert len({letter["Message-ID"] for letter in letters}) == 3
    assert len({letter["References"] for letter in letters}) == 1, "one thread for one incident"
    link = letters[-1]["List-Unsubscribe"].strip("<>")
    assert letters[-1]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    one_click = {"List-Unsubscribe": "One-Click"}
    assert (await public.house.client.post(link.removeprefix(URL), data=one_click)).status == 200
    await public.publish("investigating", "It is back.")
    await public.subscribed("lou@example.org")
    assert [to for [to] in public.post.recipients].count("kim@example.org") == 4


async def test_P14_subscribers_hear_only_of_their_services_and_of_nothing_internal_or_confidential(
    public: Public,
) -> None:
    await public.subscribed("shop@example.org", components=["shop"])
    await public.subscribed("mail@example.org", components=["mail"])
    await public.hurt("mail")
    await public.act("note", text="hunter2")
    report = {"description": "Everything leaks", "name": "Kim", "security": "true"}
    assert (await public.house.client.post("/report", data=report, allow_redirects=False)).status == 303
    await public.publish("investigating", "We look into it.")
    letter = await public.letter()
    assert letter["To"] == "mail@example.org"
    for text in (letter.as_string(), said(letter), said(letter, "html")):
        assert "hunter2" not in text
        assert "leaks" not in text
    await public.hurt("shop")
    await public.publish("investigating", "We look into that too.", key="INC-3")
    assert (await public.letter())["To"] == "shop@example.org"
    assert len(public.post.raw) == 4


async def test_P14_a_webhook_is_told_in_statuspages_shape_once_its_owner_confirms(public: Public) -> None:
    await public.ask(f"{public.hook.url}/status", "webhook")
    asked = (await public.called(1))["subscription"]
    assert (asked["confirmed"], asked["confirm"]) == (False, f"{URL}/status/confirm/{asked['token']}")
    await public.hurt()
    await public.publish("investigating", "We look into it.", title="The shop is down")
    assert (await public.house.client.post(f"/status/confirm/{asked['token']}")).status == 200
    await public.publish("identified", "A disk died.")
    first = await public.called(2)
    await public.publish("resolved", "It is over.")
    last = await public.called(3)
    assert first["page"]["status_description"] != "All systems operational"
    assert (first["incident"]["id"], first["incident"]["name"], first["incident"]["status"]) == (
        "INC-1", "The shop is down", "identified",
    )  # fmt: skip
    assert [u["body"] for u in first["incident"]["incident_updates"]] == ["A disk died.", "We look into it."]
    assert last["incident"]["incident_updates"][0]["body"] == "It is over."
    assert [c["name"] for c in last["incident"]["components"]] == ["shop"]
    assert last["page"]["status_description"] == "All systems operational"
    assert last["meta"]["unsubscribe"].removeprefix(URL) == f"/status/unsubscribe/{asked['token']}"


async def test_P14_who_is_gone_is_told_no_more_and_is_no_trouble_of_the_desk(public: Public) -> None:
    await public.subscribed("kim@example.org")
    await public.ask(f"{public.hook.url}/status", "webhook")
    token = (await public.called(1))["subscription"]["token"]
    await public.house.client.post(f"/status/confirm/{token}")
    await public.hurt()
    public.post.answers["RCPT"] = "550 5.1.1 nobody of that name"
    public.hook.answers = [(410, {})]
    await public.publish("investigating", "We look into it.")

    async def gone() -> bool:
        return await public.book.of(token, public.house.clock.now()) is None

    async with asyncio.timeout(20):
        while not await gone():  # noqa: ASYNC110 - the receiver is another party
            await asyncio.sleep(0.005)
    await until(lambda: "gone" in figures(public, MAIL))
    assert public.deliverer.failing == {}
    del public.post.answers["RCPT"]
    await public.publish("identified", "A disk died.")
    await public.subscribed("lou@example.org")
    assert [to for [to] in public.post.recipients] == ["kim@example.org", "lou@example.org"]


def figures(public: Public, channel: str) -> str:
    samples = (s for metric in public.house.pipeline._telemetry.registry.collect() for s in metric.samples)
    return " ".join(s.labels["reason"] for s in samples if s.labels.get("channel") == channel and "reason" in s.labels)


async def test_P14_a_server_that_is_away_for_a_while_loses_no_update_and_none_overtakes(public: Public) -> None:
    await public.subscribed("kim@example.org")
    await public.hurt()
    public.post.answers["DATA"] = "451 4.3.0 later"
    await public.publish("investigating", "We look into it.")
    await until(lambda: MAIL in public.deliverer.failing)
    await public.publish("identified", "A disk died.")
    del public.post.answers["DATA"]
    public.house.clock.set(public.house.clock.now() + MINUTE)
    letters = [await public.letter() for _ in range(2)]
    assert [letter["Subject"].rpartition("(")[2] for letter in letters] == ["investigating)", "identified)"]
    await until(lambda: MAIL not in public.deliverer.failing)


async def test_P14_a_public_maintenance_is_announced_when_it_begins_and_no_other(public: Public) -> None:
    await public.subscribed("kim@example.org", components=["mail"])
    await public.ask(f"{public.hook.url}/status", "webhook")
    token = (await public.called(1))["subscription"]["token"]
    await public.house.client.post(f"/status/confirm/{token}")
    assert await public.telling.announce(NOW + HOUR - 1, ("email", "webhook")) == NOW + HOUR - 1 + MINUTE
    public.house.clock.set(NOW + HOUR)
    for at in (0, MINUTE, 2 * HOUR):
        await public.telling.announce(NOW + HOUR + at, ("email", "webhook"))
    letter = await public.letter()
    assert letter["Subject"] == "Example: moving house (maintenance)"
    told = (await public.called(2))["incident"]
    assert (told["name"], told["status"], told["impact"]) == ("moving house", "in_progress", "maintenance")
    await public.subscribed("lou@example.org")
    assert len(public.post.raw) == 3
    assert len(public.hook.bodies) == 2


async def test_P14_what_people_publish_is_only_text_in_a_letter(public: Public) -> None:
    await public.subscribed("kim@example.org")
    await public.hurt()
    await public.publish("investigating", "\u202eevil\r\nBcc: all@example.org\n<script>", title="<b>\r\nBcc: x@y.org")
    letter = await public.letter()
    assert letter["Bcc"] is None
    assert "<script>" not in said(letter, "html")
    assert "\u202e" not in said(letter)
