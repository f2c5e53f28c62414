"""Stand-ins on loopback for whom channels speak to. Each holds to the documented contract of the real one and refuses
what the real one refuses; where it knows less than the real one, its docstring says so.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast
from urllib.parse import parse_qsl

from aiohttp import web
from standardwebhooks import Webhook

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
ROUTING_KEY = "R0123456789abcdefghijklmnopqrstu"


class Loopback:
    """An HTTP server whose next answers can be chosen: ``answers`` are statuses used up one after the other before it
    does its work again; while ``gate`` is closed it does not answer at all. ``delay`` of headers is not modelled."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.seen: list[web.BaseRequest] = []
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=8 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def stop(self) -> None:
        self.gate.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        body = await request.read()
        await self.gate.wait()
        if self.answers:
            status, headers = self.answers.pop(0)
            return web.Response(status=status, headers=headers)
        return await self.receive(request, body)

    async def receive(self, request: web.Request, body: bytes) -> web.StreamResponse:
        raise NotImplementedError


class WebhookReceiver(Loopback):
    """A receiver by Standard Webhooks 1.0, checked with the specification's own library: signature, timestamp within
    five minutes. It drops what it has seen by ``webhook-id``, as the specification recommends, and takes at most 512
    KiB."""

    def __init__(self, secret: str = SECRET, limit: int = 512 * 1024) -> None:
        super().__init__()
        self.secret = secret
        self.limit = limit
        self.events: dict[str, dict[str, Any]] = {}
        self.repeated = 0

    async def receive(self, request: web.Request, body: bytes) -> web.StreamResponse:
        if len(body) > self.limit:
            return web.Response(status=413)
        if request.method != "POST" or request.content_type != "application/json":
            return web.Response(status=415)
        event = Webhook(self.secret).verify(body, dict(request.headers))  # raises: 500, and the test fails
        identity = request.headers["webhook-id"]
        self.repeated += identity in self.events
        self.events[identity] = event
        return web.Response(status=204)


class PagerDutyReceiver(Loopback):
    """PagerDuty's Events API v2 as documented: field types, lengths, the 512 KB, 202 and 400 with ``errors``; incidents
    by ``dedup_key``. It does not limit rates by itself, and it knows one routing key."""

    def __init__(self) -> None:
        super().__init__()
        self.incidents: dict[str, dict[str, Any]] = {}
        self.refused: list[list[str]] = []

    async def receive(self, request: web.Request, body: bytes) -> web.StreamResponse:
        errors = self._errors(request, body)
        if errors:
            self.refused.append(errors)
            return web.json_response(
                {"status": "invalid event", "message": "Event object is invalid", "errors": errors}, status=400
            )
        event = json.loads(body)
        key = event.get("dedup_key") or f"made-{len(self.incidents)}"
        incident = self.incidents.get(key, {"state": "resolved", "log": []})
        action = event["event_action"]
        if action == "trigger":
            if incident["state"] == "resolved":
                incident = {"state": "triggered", "log": []}
            incident["summary"] = event["payload"]["summary"]
            incident["severity"] = event["payload"]["severity"]
        elif incident["state"] != "resolved":
            incident["state"] = {"acknowledge": "acknowledged", "resolve": "resolved"}[action]
        incident["log"].append(action)
        self.incidents[key] = incident
        return web.json_response({"status": "success", "message": "Event processed", "dedup_key": key}, status=202)

    def _errors(self, request: web.Request, body: bytes) -> list[str]:
        if request.path != "/v2/enqueue" or request.method != "POST":
            return ["not here"]
        if len(body) > 512 * 1024:
            return ["event is larger than 512 KB"]
        try:
            event = json.loads(body)
        except ValueError:
            return ["not JSON"]
        errors = []
        if event.get("routing_key") != ROUTING_KEY:
            errors.append("'routing_key' is invalid (must be 32 characters)")
        if event.get("event_action") not in ("trigger", "acknowledge", "resolve"):
            errors.append("'event_action' is invalid")
        key = event.get("dedup_key")
        if (key is None and event.get("event_action") != "trigger") or len(key or "") > 255:
            errors.append("'dedup_key' is missing or longer than 255")
        if event.get("event_action") == "trigger":
            errors += self._payload_errors(event.get("payload"))
        for link in event.get("links", []):
            if not re.match(r"https?://", link.get("href", "")):
                errors.append("'links' need an href")
        return errors

    def _payload_errors(self, payload: Any) -> list[str]:
        if not isinstance(payload, dict):
            return ["'payload' is missing or blank"]
        errors = []
        for name, most in (("summary", 1024), ("source", 4096)):
            text = payload.get(name)
            if not isinstance(text, str) or not text.strip() or len(text) > most:
                errors.append(f"'payload.{name}' is missing, blank or too long")
        if payload.get("severity") not in ("critical", "error", "warning", "info"):
            errors.append("'payload.severity' is invalid")
        if "timestamp" in payload and not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", payload["timestamp"]):
            errors.append("'payload.timestamp' is not ISO 8601")
        return errors


class GatewayReceiver(Loopback):
    """Twilio's Messages resource as documented: a form with To, From and Body of at most 1,600 characters, basic
    authentication by account and token, 201. Numbers are not looked up."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token
        self.messages: list[dict[str, str]] = []

    async def receive(self, request: web.Request, body: bytes) -> web.StreamResponse:
        expected = "Basic " + base64.b64encode(f"AC0123:{self.token}".encode()).decode()
        if request.headers.get("Authorization") != expected:
            return web.json_response({"code": 20003, "status": 401}, status=401)
        fields = dict(parse_qsl(body.decode("ascii"), strict_parsing=True, keep_blank_values=True))
        if set(fields) != {"To", "From", "Body"} or not fields["To"].startswith("+"):
            return web.json_response({"code": 21211, "status": 400}, status=400)
        if not fields["Body"].strip() or len(fields["Body"]) > 1600:
            return web.json_response({"code": 21617, "status": 400}, status=400)
        self.messages.append(fields)
        return web.json_response({"sid": "SM1", "status": "queued"}, status=201)


class NtfyReceiver(Loopback):
    """ntfy's publishing as JSON (POST /) and of attachments (PUT or POST /topic with the file as the body): a topic, a
    title without line ends, at most 4,096 bytes of message (the real one turns longer ones into attachments). No
    users."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []
        self.files: list[bytes] = []

    async def receive(self, request: web.Request, body: bytes) -> web.StreamResponse:
        if request.path != "/":
            self.files.append(body)
            self.messages.append({"title": request.query.get("title", ""), "message": request.query.get("message", "")})
            return web.json_response({"id": "x", "event": "message"})
        event = json.loads(body)
        if not event.get("topic") or "\n" in event.get("title", ""):
            return web.json_response({"code": 40009, "error": "invalid request"}, status=400)
        if len(event.get("message", "").encode()) > 4096:
            return web.json_response({"code": 41301, "error": "too large"}, status=413)
        self.messages.append(event)
        return web.json_response({"id": "x", "event": "message"})


@dataclass
class MailReceiver:
    """A mail server that takes mail for anybody: SMTP (RFC 5321) without extensions, TLS or login. ``refuse``: the
    answer to the next messages' DATA instead of 250."""

    refuse: str = ""
    mails: list[EmailMessage] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        self.gate.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.gate.set()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 stand-in\r\n")
            while line := await reader.readline():
                await self.gate.wait()
                verb = line[:4].upper()
                if verb == b"DATA":
                    writer.write(b"354 go on\r\n")
                    writer.write(self._take(await reader.readuntil(b"\r\n.\r\n")))
                elif verb == b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                else:
                    writer.write(b"250 stand-in\r\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _take(self, raw: bytes) -> bytes:
        if self.refuse:
            return self.refuse.encode() + b"\r\n"
        raw = raw[:-5].replace(b"\r\n..", b"\r\n.")
        self.mails.append(cast(EmailMessage, message_from_bytes(raw, policy=policy.default)))
        return b"250 taken\r\n"
