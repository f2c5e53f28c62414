"""One battery for every channel: what the deliverer relies on, against stand-ins that hold to the documented
contracts."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import TypeAdapter

from detector.clock import SystemClock
from detector.notify.channels import REASONS, AnyChannelOptions, Channel, DeliveryError, Refused, Unavailable, build
from detector.notify.messages import Attachment, Message, render, trial_message
from tests.contract.receivers import (
    ROUTING_KEY,
    SECRET,
    GatewayReceiver,
    Loopback,
    MailReceiver,
    NtfyReceiver,
    PagerDutyReceiver,
    WebhookReceiver,
)
from tests.notify.tickets import NOW, filling, notification, symptom, ticket

TOKEN = "tk_secretsecretsecretsecret"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)
URL = "https://detector.example.org"


class World:
    """A channel, whom it speaks to, and how to make that fail."""

    def __init__(self, options: dict[str, Any], server: Any, subjects: Callable[[], list[str]]) -> None:
        self.options = options
        self.server = server
        self.subjects = subjects
        self.channel: Channel

    async def stop(self) -> None:
        await self.server.stop()

    async def fail(self, status: int) -> None:
        if isinstance(self.server, MailReceiver):
            self.server.refuse = "451 later" if status >= 500 else "554 never"
        else:
            self.server.answers = [(status, {"Location": "http://127.0.0.1:9/"})] * 4


class StuckStream(io.StringIO):
    """A terminal that can be stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.going = threading.Event()
        self.going.set()
        self.broken = False

    def write(self, text: str) -> int:
        self.going.wait(30)
        if self.broken:
            raise BrokenPipeError
        return super().write(text)

    async def stop(self) -> None:
        self.going.set()


async def _webhook() -> World:
    server = WebhookReceiver()
    await server.start()
    options = {"type": "webhook", "url": f"{server.url}/hook", "secret": SECRET}
    return World(options, server, lambda: [e["data"]["subject"] for e in server.events.values()])


async def _pagerduty() -> World:
    server = PagerDutyReceiver()
    await server.start()
    options = {"type": "pagerduty", "url": f"{server.url}/v2/enqueue", "routing_key": ROUTING_KEY}
    return World(options, server, lambda: [i["summary"] for i in server.incidents.values()])


async def _ntfy() -> World:
    server = NtfyReceiver()
    await server.start()
    options = {"type": "apprise", "url": f"ntfy://{TOKEN}@127.0.0.1:{server.port}/ops?image=no"}
    return World(options, server, lambda: [m["title"] or m["message"] for m in server.messages])


async def _mail() -> World:
    server = MailReceiver()
    await server.start()
    url = f"mailto://127.0.0.1:{server.port}?from=detector@example.org&to=ops@example.org&mode=insecure"
    return World({"type": "apprise", "url": url}, server, lambda: [str(mail["Subject"]) for mail in server.mails])


async def _gateway() -> World:
    server = GatewayReceiver(TOKEN)
    await server.start()
    basic = "Basic " + base64.b64encode(f"AC0123:{TOKEN}".encode()).decode()
    options = {
        "type": "gateway", "to": "+4915112345678", "url": f"{server.url}/2010-04-01/Accounts/AC0123/Messages.json",
        "headers": {"Authorization": basic}, "body": {"To": "{to}", "From": "+4930123456", "Body": "{text}"},
    }  # fmt: skip
    return World(options, server, lambda: [m["Body"].splitlines()[0] for m in server.messages])


async def _console() -> World:
    stream = StuckStream()
    return World(
        {"type": "console"}, stream, lambda: [line[18:] for line in stream.getvalue().splitlines() if " P1 " in line]
    )


WORLDS: dict[str, Callable[[], Awaitable[World]]] = {
    "webhook": _webhook, "pagerduty": _pagerduty, "apprise-ntfy": _ntfy, "apprise-mail": _mail, "console": _console,
    "gateway": _gateway,
}  # fmt: skip
every_channel = pytest.mark.parametrize("world", list(WORLDS), indirect=True)
over_the_network = pytest.mark.parametrize("world", [name for name in WORLDS if name != "console"], indirect=True)
over_http = pytest.mark.parametrize("world", ["webhook", "pagerduty", "apprise-ntfy", "gateway"], indirect=True)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def world(request: pytest.FixtureRequest, session: aiohttp.ClientSession) -> AsyncIterator[World]:
    world = await WORLDS[request.param]()
    world.channel = make(session, world.options | {"name": "ops", "timeout": "5s"}, world.server)
    yield world
    await world.channel.close()
    await world.stop()


def make(session: aiohttp.ClientSession, raw: dict[str, Any], stream: Any = None) -> Channel:
    options: Any = TypeAdapter(AnyChannelOptions).validate_python(raw)
    return build(options, session, SystemClock(), UTC, stream if isinstance(stream, io.StringIO) else None)


def message(**changes: Any) -> Message:
    return render(notification(filling(), **changes), NOW, URL, UTC)


# --- every channel ----------------------------------------------------------------------------------------------------


@every_channel
async def test_a_message_arrives_with_its_subject(world: World) -> None:
    receipt = await world.channel.deliver(message())
    assert len(receipt.id) <= 255
    assert world.subjects() == ["P1 checkout: disk /data WILL be full 11:40 (11:25-12:05)"]


HOSTILE = [
    "@here", "<!channel>", "</p><script>alert(1)</script>", "\u202egnp.exe", "a\r\nBcc: all@example.org",
     "**x** [y](http://z)",
    "\x00\x1b[2J\x07", "\ud800", "a" * 9000, "e\u0301" * 300, "\U0001f468\u200d\U0001f469" * 80, "{{x}} ${y} %s %n", "",
    "'; DROP TABLE", "&amp;&#x41;",
]  # fmt: skip


@every_channel
async def test_no_hostile_text_is_refused_or_becomes_more_than_text(world: World) -> None:
    for index, text in enumerate(HOSTILE):
        about = ticket(
            symptom(labels={"mountpoint": text, "instance": text}, summary=text, name=text, service=text),
            service=text, team=text, runbook=text, description=text, assignee=text, key=f"INC-{index}",
        )  # fmt: skip
        owed = notification(
            about, event="worse", reason=text, dedup_key=f"INC-{index}/ops", idempotency_key=f"INC-{index}/1"
        )
        await world.channel.deliver(render(owed, NOW, URL, UTC))
    assert len(world.subjects()) == len(HOSTILE)
    for subject in world.subjects():
        assert "\n" not in subject
        assert "\x1b" not in subject
        assert "@here" not in subject


@every_channel
async def test_a_trial_arrives(world: World) -> None:
    await world.channel.deliver(trial_message("ops", NOW, URL))
    if isinstance(world.server, StuckStream):
        assert "Test: the detector reaches ops" in world.server.getvalue()
    else:
        assert world.subjects() == ["Test: the detector reaches ops"]


@every_channel
async def test_a_receiver_that_does_not_answer_is_given_up_in_time_and_works_again_later(
    world: World, session: aiohttp.ClientSession
) -> None:
    impatient = make(session, world.options | {"name": "ops", "timeout": "300ms"}, world.server)
    gate = world.server.going if isinstance(world.server, StuckStream) else world.server.gate
    gate.clear()
    before = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable) as failure:
        await impatient.deliver(message())
    assert failure.value.reason in ("timeout", "unreachable", "service-failed")
    assert asyncio.get_running_loop().time() - before < 3
    gate.set()
    for _ in range(20):
        try:
            await impatient.deliver(message(idempotency_key="INC-42/ops/2"))
            break
        except Unavailable:
            continue  # the thread is still held by the first call
    assert world.subjects()
    await impatient.close()


@every_channel
async def test_limits_are_positive_and_the_schedule_grows(world: World) -> None:
    limits, schedule = world.channel.limits, world.channel.schedule
    assert limits.subject >= 100
    assert limits.body >= (1000 if world.options["type"] != "gateway" else 160 * 3)
    assert schedule[0] <= 10_000
    assert list(schedule) == sorted(schedule)
    assert sum(schedule) >= 12 * 3_600_000


@every_channel
async def test_every_failure_has_a_closed_reason(world: World) -> None:
    if isinstance(world.server, StuckStream):
        world.server.broken = True
    else:
        await world.stop()
    with pytest.raises(Unavailable) as failure:
        await world.channel.deliver(message())
    assert failure.value.reason in REASONS


# --- whatever speaks over a network
# -------------------------------------------------------------------------------------


@over_the_network
async def test_a_failing_receiver_is_tried_again(world: World) -> None:
    await world.fail(503)
    with pytest.raises(Unavailable) as failure:
        await world.channel.deliver(message())
    assert failure.value.reason in ("server-error", "service-failed")


@over_http
async def test_a_refusal_is_final(world: World) -> None:
    await world.fail(400)
    with pytest.raises(Refused) as failure:
        await world.channel.deliver(message())
    assert failure.value.reason == "rejected"


@over_http
async def test_being_asked_to_wait_is_no_refusal(world: World) -> None:
    world.server.answers = [(429, {"Retry-After": "120"})] * 4
    with pytest.raises(Unavailable) as failure:
        await world.channel.deliver(message())
    assert failure.value.reason == "rate-limited"
    assert failure.value.retry_after in (120_000, None)


@over_http
async def test_redirects_are_not_followed(world: World) -> None:
    other = WebhookReceiver()
    await other.start()
    world.server.answers = [(307, {"Location": f"{other.url}/internal"})] * 4
    with pytest.raises(DeliveryError):
        await world.channel.deliver(message())
    assert other.seen == []
    await other.stop()


@over_http
async def test_when_the_whole_is_refused_the_page_still_arrives(world: World) -> None:
    big = replace(message(), attachments=(Attachment("chart.png", "image/png", PNG, "falls"),))
    if world.options["type"] == "gateway":
        pytest.skip("a short message is all there is")
    world.server.answers = [(413 if world.options["type"] != "pagerduty" else 400, {})]
    await world.channel.deliver(big)
    assert world.subjects() == [big.subject]


@over_the_network
async def test_secrets_are_in_no_log_and_no_exception(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await world.fail(500)
    said = []
    for status in (500, 401, 404):
        await world.fail(status)
        with pytest.raises(DeliveryError) as failure:
            await world.channel.deliver(message())
        said.append(repr(failure.value) + str(failure.value))
    everything = caplog.text + " ".join(said) + repr(world.channel) + repr(vars(world.channel).get("options", ""))
    basic = base64.b64encode(f"AC0123:{TOKEN}".encode()).decode()
    for secret in (TOKEN, basic, SECRET, SECRET.removeprefix("whsec_"), ROUTING_KEY):
        assert secret not in everything


# --- Standard Webhooks
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", ["webhook"], indirect=True)
async def test_webhook_the_payload_is_the_incident_and_its_id_is_the_same_in_every_attempt(world: World) -> None:
    for _ in range(2):
        receipt = await world.channel.deliver(message())
        assert receipt.id == "INC-42/ops/1"
    assert world.server.repeated == 1
    event = world.server.events["INC-42/ops/1"]
    assert event["type"] == "incident.opened"
    assert event["timestamp"] == "2026-11-18T11:06:39.600Z"
    assert event["data"]["incident"]["key"] == "INC-42"
    assert event["data"]["link"] == f"{URL}/incidents/INC-42"


async def test_webhook_signs_with_every_key_while_keys_rotate(session: aiohttp.ClientSession) -> None:
    new = SECRET.replace("MDEy", "OTk5")
    for known in (SECRET, new):
        server = WebhookReceiver(secret=known)
        await server.start()
        raw = {
            "type": "webhook",
            "name": "x",
            "url": server.url,
            "secret": f"{new} {SECRET}",
            "headers": {"X-Team": "a"},
        }
        await make(session, raw).deliver(message())
        assert server.events
        assert server.seen[0].headers["X-Team"] == "a"
        await server.stop()


@pytest.mark.parametrize("world", ["webhook"], indirect=True)
async def test_webhook_gone_disables_the_endpoint(world: World) -> None:
    world.server.answers = [(410, {})]
    for _ in range(2):
        with pytest.raises(Refused) as failure:
            await world.channel.deliver(message())
        assert failure.value.reason == "gone"
    assert len(world.server.seen) == 1, "the second was not even tried"


async def test_webhook_what_is_too_large_arrives_as_key_and_link(session: aiohttp.ClientSession) -> None:
    server = WebhookReceiver(limit=4096)
    await server.start()
    many = ticket(*(symptom(id=f"{i:016}") for i in range(2000)))
    channel = make(session, {"type": "webhook", "name": "x", "url": server.url, "secret": SECRET})
    await channel.deliver(render(notification(many), NOW, URL, UTC))
    (event,) = server.events.values()
    assert event["data"]["truncated"] is True
    assert event["data"]["incident"]["key"] == "INC-42"
    await server.stop()


# --- PagerDuty
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", ["pagerduty"], indirect=True)
async def test_pagerduty_one_incident_from_trigger_to_resolve(world: World) -> None:
    over = filling(phase="over", state="resolved")
    for event, about in (("opened", filling()), ("worse", filling()), ("acknowledged", filling()), ("resolved", over)):
        receipt = await world.channel.deliver(render(notification(about, event=event), NOW, URL, UTC))
        assert receipt.id == "INC-42/ops"
    (incident,) = world.server.incidents.values()
    assert incident["log"] == ["trigger", "trigger", "acknowledge", "resolve"]
    assert incident["state"] == "resolved"
    assert incident["severity"] == "critical"


@pytest.mark.parametrize("world", ["pagerduty"], indirect=True)
async def test_pagerduty_a_late_trigger_of_a_ticket_that_is_over_opens_nothing(world: World) -> None:
    late = notification(filling(phase="over", state="resolved"), event="opened", attempts=3)
    await world.channel.deliver(render(late, NOW, URL, UTC))
    assert [incident["state"] for incident in world.server.incidents.values()] == ["resolved"]


@pytest.mark.parametrize("world", ["pagerduty"], indirect=True)
async def test_pagerduty_a_trial_leaves_nothing_open(world: World) -> None:
    await world.channel.deliver(trial_message("ops", NOW, URL))
    (incident,) = world.server.incidents.values()
    assert incident["log"] == ["trigger", "resolve"]


@pytest.mark.parametrize("world", ["pagerduty"], indirect=True)
async def test_pagerduty_long_keys_stay_apart(world: World) -> None:
    for tail in "ab":
        await world.channel.deliver(message(dedup_key="k" * 400 + tail))
    assert len(world.server.incidents) == 2


# --- apprise
# --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", ["apprise-ntfy"], indirect=True)
async def test_apprise_a_text_services_title_is_the_subject_and_the_picture_arrives(world: World) -> None:
    await world.channel.deliver(replace(message(), attachments=(Attachment("chart.png", "image/png", PNG, "x"),)))
    assert world.server.files == [PNG]
    assert world.server.messages[0]["title"] == "P1 checkout: disk /data WILL be full 11:40 (11:25-12:05)"
    everything = " ".join(m["message"] for m in world.server.messages)
    assert "Users are not hurt yet" in everything
    assert "P1 checkout" not in everything, "the subject is not said twice"


@pytest.mark.parametrize("world", ["apprise-mail"], indirect=True)
async def test_apprise_mails_of_one_ticket_are_one_thread_with_html_text_and_picture(world: World) -> None:
    await world.channel.deliver(replace(message(), attachments=(Attachment("chart.png", "image/png", PNG, "x"),)))
    await world.channel.deliver(message(idempotency_key="INC-42/ops/2"))
    first, second = world.server.mails
    assert first["References"] == second["References"] == "<INC-42-ops@detector.invalid>"
    parts = {part.get_content_type(): part for part in first.walk()}
    assert "<b>P1 checkout: disk /data WILL be full" in parts["text/html"].get_content()
    assert "Users are not hurt yet" in parts["text/plain"].get_content()
    assert parts["image/png"].get_content() == PNG


@pytest.mark.parametrize("world", ["apprise-ntfy"], indirect=True)
async def test_apprise_a_delivery_that_timed_out_and_then_arrived_is_not_sent_again(
    world: World, session: aiohttp.ClientSession
) -> None:
    channel = make(session, world.options | {"name": "late", "timeout": "2s"})
    channel.timeout = 100  # type: ignore[misc]
    world.server.gate.clear()
    with pytest.raises(Unavailable, match="timeout"):
        await channel.deliver(message())
    with pytest.raises(Unavailable, match="stuck"):
        await channel.deliver(message(idempotency_key="another"))
    world.server.gate.set()
    channel.timeout = 5000  # type: ignore[misc]
    await channel.deliver(message())
    assert len(world.subjects()) == 1
    await channel.close()


async def test_apprise_a_slow_service_holds_up_no_other(session: aiohttp.ClientSession) -> None:
    slow, fast = await _ntfy(), await _ntfy()
    channels = [make(session, w.options | {"name": n, "timeout": "20s"}) for n, w in (("slow", slow), ("fast", fast))]
    slow.server.gate.clear()
    stuck = asyncio.create_task(channels[0].deliver(message()))
    for index in range(5):
        await channels[1].deliver(message(idempotency_key=f"m{index}"))
    assert len(fast.subjects()) == 5
    assert not stuck.done()
    slow.server.gate.set()
    await stuck
    for channel, world in zip(channels, (slow, fast), strict=True):
        await channel.close()
        await world.stop()


# --- SMS and voice
# --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", ["gateway"], indirect=True)
async def test_gateway_what_is_long_is_cut_and_the_address_is_whole(world: World) -> None:
    act = f"{URL}/a/" + "x" * 120
    long = replace(message(), subject="P1 " + "ü" * 900, act=act)
    await world.channel.deliver(long)
    (sent,) = world.server.messages
    assert len(sent["Body"]) == 480
    assert sent["Body"].endswith(f"…\n{act}")
    assert (sent["To"], sent["From"]) == ("+4915112345678", "+4930123456")


async def test_gateway_speaks_json_and_xml_and_a_fields_own_text_is_no_template(
    session: aiohttp.ClientSession, tmp_path: Any
) -> None:
    server = WebhookReceiver()
    seen: list[bytes] = []

    async def receive(request: Any, body: bytes) -> Any:
        seen.append(body)
        return web.Response(status=201)

    server.receive = receive  # type: ignore[method-assign]
    await server.start()
    headers = tmp_path / "gateway.headers"
    headers.write_text(f"Authorization: Bearer {TOKEN}\n\nX-Team: ops\n")
    raw = {
        "type": "gateway", "name": "call", "kind": "voice", "to": "+491511", "url": server.url, "format": "json",
        "headers_file": str(headers),
        "body": {"to": ["{to}"], "kind": "{kind}", "say": "<Say>{text}</Say>", "n": 1},
    }  # fmt: skip
    channel = make(session, raw)
    await channel.deliver(replace(message(), subject="</Say><Dial>{to}</Dial> & more", text=""))
    body = json.loads(seen[0])
    assert body == {
        "to": ["+491511"], "kind": "voice", "n": 1,
        "say": "<Say>&lt;/Say&gt;&lt;Dial&gt;{to}&lt;/Dial&gt; &amp; more.</Say>",
    }  # fmt: skip
    assert server.seen[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert server.seen[0].headers["X-Team"] == "ops"
    await server.stop()
    headers.write_text(f"Authorization {TOKEN}")
    with pytest.raises(ValueError, match=r"gateway\.headers:1 is no header") as failure:
        make(session, raw)
    assert TOKEN not in str(failure.value)
    with pytest.raises(ValueError, match="channel call: headers_file: cannot read"):
        make(session, raw | {"headers_file": str(tmp_path / "none")})


# --- configuration
# --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"type": "webhook", "url": "file:///etc/passwd", "secret": SECRET}, "only http:// and https://"),
        ({"type": "webhook", "url": "http://u:p@x/", "secret": SECRET}, "no user or password"),
        ({"type": "webhook", "url": "http://x/ y", "secret": SECRET}, "space"),
        ({"type": "webhook", "url": "http://x/"}, "either secret or secret_file"),
        ({"type": "webhook", "url": "http://x/", "secret": "whsec_c2hvcnQ="}, "24 to 64 bytes"),
        ({"type": "webhook", "url": "http://x/", "secret": "whsec_%%%"}, "base64"),
        (
            {"type": "webhook", "url": "http://x/", "secret": SECRET, "headers": {"Webhook-Id": "x"}},
            "set by the webhook",
        ),
        ({"type": "webhook", "url": "http://x/", "secret": SECRET, "headers": {"X": "a\r\nb"}}, "line end"),
        ({"type": "pagerduty", "routing_key": "short"}, "32 letters"),
        ({"type": "pagerduty"}, "either routing_key or routing_key_file"),
        ({"type": "apprise", "url": "ntfy://x", "url_file": "y"}, "either url or url_file"),
        ({"type": "console", "name": "Not A Name"}, "small letters"),
        ({"type": "console", "tiers": []}, "at least 1"),
        ({"type": "gateway", "to": "+491", "url": "http://x/", "body": {"a": "{name}{text}"}}, "{name} is no field"),
        ({"type": "gateway", "to": "+491", "url": "http://x/", "body": {"a": "{to}"}}, "{text} is nowhere in it"),
        ({"type": "gateway", "to": "+491", "url": "http://x/", "body": {"a": ["{text}"]}}, "write format: json"),
        ({"type": "gateway", "to": "a\r\nb", "url": "http://x/", "body": {"a": "{text}"}}, "a number is written"),
        (
            {"type": "gateway", "to": "+491", "url": "http://x/", "body": {"a": "{text}"}, "headers": {"Host": "x"}},
            "set by the gateway",
        ),
        ({"type": "pigeon"}, "pigeon"),
        ({"type": "console", "tiers": ["L4"]}, "L1"),
    ],
)
def test_a_mistake_in_the_options_is_told_with_its_remedy_and_without_the_secret(
    raw: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as failure:
        TypeAdapter(AnyChannelOptions).validate_python({"name": "ops", **raw})
    assert SECRET not in str(failure.value)


@pytest.mark.parametrize("url", [f"foo://{TOKEN}@x", f"{TOKEN}", f"json://?token={TOKEN}", f"slack://{TOKEN}"])
async def test_an_address_that_apprise_does_not_take_is_told_without_the_address(
    session: aiohttp.ClientSession, url: str
) -> None:
    with pytest.raises(ValueError, match="channel ops: apprise") as failure:
        make(session, {"type": "apprise", "name": "ops", "url": url})
    assert TOKEN not in str(failure.value)


async def test_secrets_may_come_from_files(session: aiohttp.ClientSession, tmp_path: Any) -> None:
    file = tmp_path / "key"
    file.write_text(ROUTING_KEY + "\n")
    assert make(session, {"type": "pagerduty", "name": "p", "routing_key_file": str(file)}).name == "p"
    with pytest.raises(ValueError, match=r"channel p: routing_key_file: cannot read .*No such file"):
        make(session, {"type": "pagerduty", "name": "p", "routing_key_file": str(tmp_path / "none")})
    file.write_text("")
    with pytest.raises(ValueError, match="channel p: routing_key is empty"):
        make(session, {"type": "pagerduty", "name": "p", "routing_key_file": str(file)})


def test_the_stand_ins_are_loopback_only() -> None:
    assert all(issubclass(kind, Loopback) for kind in (WebhookReceiver, PagerDutyReceiver, NtfyReceiver))
