"""What programs send, over HTTP: remote write, Alertmanager's two interfaces, reports.

A body is read with a limit while it streams and inflated with a limit too. An answer of 2xx means durable. Overload is
503 with Retry-After, never 429: Alertmanager takes every 4xx as final, Prometheus by default drops samples on a 429.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Any, Protocol

import msgspec
from aiohttp import web

from detector.clock import rfc3339
from detector.ingest.alertmanager import Arrived, Malformed, Shown, api_v2, gettable, matcher, webhook
from detector.ingest.decode import Rejected
from detector.nouns import Alert, Report, Reporter

JSON_BYTES = 16 * 1024 * 1024
REPORT_BYTES = 256 * 1024
RETRY_AFTER_S = 2
PATIENCE_S = 30
"""How long a body may take to arrive; as long as a Prometheus waits for its answer."""
RESOLVE_TIMEOUT_MS = 5 * 60_000
CONFIG = "route:\n  receiver: detector\nreceivers:\n- name: detector\n"
"""What an Alertmanager's tools are told of the configuration: everything goes to the detector."""
LONGEST = {"title": 200, "description": 20_000, "service": 200, "name": 200, "contact": 320, "language": 35}


class Unavailable(Exception):
    """Not now: full, or not durable. Answered 503 with Retry-After; the sender comes again."""

    def __init__(self, reason: str, retry_after: int = RETRY_AFTER_S) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Stored(Protocol):
    """What became of a body of samples that was taken."""

    @property
    def rejected(self) -> Any: ...
    @property
    def first(self) -> Sequence[str]: ...


class Intake(Protocol):
    """Where arrivals go. Every method returns when the arrival is durable, or raises :class:`Unavailable`."""

    def now(self) -> int: ...
    async def samples(self, kind: str, body: bytes, source: str) -> Stored | Rejected: ...
    async def alerts(self, alerts: Sequence[Alert], source: str) -> None: ...
    async def report(self, report: Report, who: str = "reporter") -> str: ...
    def firing(self) -> Iterable[Shown]: ...


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(intake: Intake, who: Callable[[web.Request], str] = lambda _: "operator") -> list[web.RouteDef]:
    """The routes of ingest; ``/api/v2`` answers as an Alertmanager does, for amtool and karma. ``who`` sends a request,
    where a report is logged for somebody else."""
    receiver = _Receiver(intake, who)
    return [
        web.post("/api/v1/write", receiver.write),
        web.post("/webhooks/alertmanager", receiver.webhook),
        web.put("/webhooks/alertmanager", receiver.webhook),
        web.post("/api/v2/alerts", receiver.alerts),
        web.get("/api/v2/alerts", receiver.list_alerts),
        web.get("/api/v2/alerts/groups", receiver.groups),
        web.get("/api/v2/status", receiver.status),
        web.get("/api/v2/receivers", receiver.receivers),
        web.post("/api/reports", receiver.report),
    ]


class _Receiver:
    def __init__(self, intake: Intake, who: Callable[[web.Request], str]) -> None:
        self._intake = intake
        self._who = who

    # --- samples ------------------------------------------------------------------------------------------------------

    async def write(self, request: web.Request) -> web.StreamResponse:
        """Remote write 1.0. 204, or 400 naming which samples were refused and why; the others are stored."""
        if "proto=io.prometheus.write.v2" in request.headers.get("Content-Type", ""):
            return problem(415, "remote write 2.0 is not spoken here; send 1.0", request)
        if request.content_type != "application/x-protobuf":
            return problem(415, "Content-Type must be application/x-protobuf", request)
        if request.headers.get("Content-Encoding", "snappy") != "snappy":
            return problem(415, "Content-Encoding must be snappy", request)
        try:
            body = await read(request, JSON_BYTES * 2)
            taken = await self._intake.samples("remote_write", body, "remote-write")
        except TooLarge as error:
            return problem(413, str(error), request)
        except BadEncoding as error:
            return damaged(error, request)
        except Unavailable as error:
            return unavailable(error, request)
        if isinstance(taken, Rejected):
            return problem(taken.status, taken.detail, request)
        if taken.rejected:
            counts = ", ".join(f"{count} {reason}" for reason, count in sorted(taken.rejected.items()))
            return problem(400, f"samples refused: {counts}; first: {'; '.join(taken.first)}", request)
        return web.Response(status=204)

    # --- alerts -------------------------------------------------------------------------------------------------------

    async def webhook(self, request: web.Request) -> web.StreamResponse:
        return await self._take(request, lambda body, now: webhook(body, now), "webhook")

    async def alerts(self, request: web.Request) -> web.StreamResponse:
        return await self._take(request, lambda body, now: api_v2(body, now, RESOLVE_TIMEOUT_MS), "api-v2")

    async def _take(
        self, request: web.Request, decode: Callable[[bytes, int], Arrived], source: str
    ) -> web.StreamResponse:
        try:
            body = await read(request, JSON_BYTES)
            arrived = decode(body, self._intake.now())
            await self._intake.alerts(arrived.alerts, source)
        except TooLarge as error:
            return problem(413, str(error), request)
        except Malformed as error:
            return problem(400, str(error), request)
        except BadEncoding as error:
            return damaged(error, request)
        except Unavailable as error:
            return unavailable(error, request)
        if arrived.errors:
            return problem(400, "; ".join(arrived.errors[:20]), request)
        return web.Response(status=200)

    async def list_alerts(self, request: web.Request) -> web.StreamResponse:
        """Filtered as ``amtool alert query`` asks: ``filter=name="value"``, any number of them."""
        try:
            return _json(self._shown(request))
        except Malformed as error:
            return problem(400, str(error), request)

    async def groups(self, request: web.Request) -> web.StreamResponse:
        grouped: dict[str, list[dict[str, Any]]] = {}
        try:
            for alert in self._shown(request):
                grouped.setdefault(alert["labels"].get("alertname", ""), []).append(alert)
        except Malformed as error:
            return problem(400, str(error), request)
        return _json([
            {"labels": {"alertname": name}, "receiver": {"name": "detector"}, "alerts": alerts}
            for name, alerts in sorted(grouped.items())
        ])  # fmt: skip

    def _shown(self, request: web.Request) -> list[dict[str, Any]]:
        matchers = [matcher(text) for text in request.query.getall("filter", [])]
        wanted = {name: request.query.get(name, "true") != "false" for name in ("active", "silenced", "inhibited")}
        now = self._intake.now()
        return [
            gettable(shown, now)
            for shown in self._intake.firing()
            if all(m.matches(shown.alert.labels.get(m.name, "")) for m in matchers)
            and (wanted["silenced"] if shown.silenced_by else True)
            and (wanted["inhibited"] if shown.inhibited_by else True)
            and (wanted["active"] if shown.state == "active" else True)
        ]

    async def status(self, _request: web.Request) -> web.StreamResponse:
        return _json({
            "cluster": {"status": "disabled", "peers": []}, "config": {"original": CONFIG},
            "uptime": rfc3339(self._intake.now()),
            "versionInfo": {"version": version("proactive-detector"), "revision": "", "branch": "", "buildUser": "",
                            "buildDate": "", "goVersion": ""},
        })  # fmt: skip

    async def receivers(self, _request: web.Request) -> web.StreamResponse:
        return _json([{"name": "detector"}])

    # --- people -------------------------------------------------------------------------------------------------------

    async def report(self, request: web.Request) -> web.StreamResponse:
        """A person's words as JSON; 201 with the ticket's key and address."""
        try:
            body = await read(request, REPORT_BYTES)
            report = _report(body, self._intake.now(), request.headers.get("Idempotency-Key", ""))
            called = report.channel == "call"
            key = await self._intake.report(report, *([self._who(request)] if called else []))
        except TooLarge as error:
            return problem(413, str(error), request)
        except Malformed as error:
            return problem(400, str(error), request)
        except BadEncoding as error:
            return damaged(error, request)
        except Unavailable as error:
            return unavailable(error, request)
        location = f"/incidents/{key}"
        return web.json_response({"key": key, "url": location}, status=201, headers={"Location": location})


# --- reports ----------------------------------------------------------------------------------------------------------


class _Reporter(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    contact: str = ""
    language: str = ""


class _ReportBody(msgspec.Struct, forbid_unknown_fields=True):
    description: str
    title: str = ""
    service: str = ""
    kind: str = "undecided"
    security: bool = False
    reporter: _Reporter | None = None
    channel: str = "json"


_reports = msgspec.json.Decoder(_ReportBody)


def _report(body: bytes, now: int, idempotency_key: str) -> Report:
    try:
        sent = _reports.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not a report: {str(error)[:300] or 'nested too deeply'}") from None
    if not sent.description.strip():
        raise Malformed("description: say what is wrong, in your own words")
    if sent.kind not in ("undecided", "incident", "request"):
        raise Malformed(f"kind: {sent.kind[:20]!r} is not allowed; allowed: undecided, incident, request")
    if sent.channel not in ("json", "call"):
        raise Malformed(f"channel: {sent.channel[:20]!r} is not allowed; allowed: json, call")
    if sent.channel == "call" and (sent.reporter is None or not sent.reporter.name.strip()):
        raise Malformed("reporter: a call is logged with the name of who called")
    if len(idempotency_key) > 255:
        raise Malformed("Idempotency-Key: at most 255 characters")
    who = sent.reporter
    for name, text in (
        ("description", sent.description), ("title", sent.title), ("service", sent.service),
        ("name", who.name if who else ""), ("contact", who.contact if who else ""),
        ("language", who.language if who else ""),
    ):  # fmt: skip
        if len(text) > LONGEST[name]:
            raise Malformed(f"{name}: {len(text)} characters; at most {LONGEST[name]}")
    return Report(
        description=sent.description,
        received_at=now,
        reporter=Reporter(who.name, who.contact, who.language) if who else None,
        title=sent.title,
        service=sent.service,
        kind=sent.kind,  # type: ignore[arg-type]
        security=sent.security,
        idempotency_key=idempotency_key,
        channel=sent.channel,
    )


# --- bodies and answers -----------------------------------------------------------------------------------------------


class TooLarge(Exception):
    """The body, or what it inflates to, is larger than is read."""


class BadEncoding(Exception):
    """The body is not what its Content-Encoding says."""


async def read(request: web.Request, limit: int) -> bytes:
    """The body, as it came or inflated from gzip, at most ``limit`` bytes of either. ``snappy`` is left as it is."""
    declared = request.content_length
    if declared is not None and declared > limit:
        raise TooLarge(f"the body has {declared} bytes; at most {limit} are read")
    parts, size = [], 0
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for chunk in request.content.iter_chunked(1 << 16):
                size += len(chunk)
                if size > limit:
                    raise TooLarge(f"the body has more than {limit} bytes")
                parts.append(chunk)
    except TimeoutError:
        # Not 408: Alertmanager takes every 4xx as final, and a slow network is no reason to lose an alert.
        raise Unavailable(f"the body did not arrive within {PATIENCE_S} s") from None
    except web.RequestPayloadError:
        encoding = request.headers.get("Content-Encoding", "identity")
        raise BadEncoding(f"the body is not the {encoding[:40]!r} that Content-Encoding says, or was cut off") from None
    return b"".join(parts)


def problem(status: int, detail: str, request: web.Request) -> web.Response:
    """An RFC 9457 problem document."""
    titles = {400: "Bad Request", 413: "Content Too Large", 415: "Unsupported Media Type", 503: "Service Unavailable"}
    document = {
        "type": "about:blank", "title": titles.get(status, "Error"), "status": status, "detail": detail[:2000],
        "instance": request.path,
    }  # fmt: skip
    return web.Response(status=status, body=json.dumps(document).encode(), content_type="application/problem+json")


def damaged(error: BadEncoding, request: web.Request) -> web.Response:
    """400; the connection ends with it, because nobody knows where the next request would begin."""
    answer = problem(400, str(error), request)
    answer.force_close()
    return answer


def unavailable(error: Unavailable, request: web.Request) -> web.Response:
    answer = problem(503, str(error), request)
    if not request.content.is_eof():
        answer.force_close()  # what is left of the body must not be taken for the next request
    answer.headers["Retry-After"] = str(error.retry_after)
    return answer


def _json(value: Any) -> web.Response:
    return web.json_response(value)
