"""Events of others, decoded: PagerDuty's Events API v2 (alert and change events) and Grafana's annotations. Pure.

https://developer.pagerduty.com/docs/events-api-v2-overview, Grafana's HTTP API "Annotations". Limits are theirs: a body
of 512 KB, a summary of 1,024 characters, a dedup_key of 255. Unknown fields are ignored, as they do.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from detector.clock import parse_rfc3339
from detector.ingest.alertmanager import fingerprint
from detector.nouns import Alert, ChangeEvent

MOST_BYTES = 512 * 1024
KEY_LENGTH = 32
LONGEST = {"dedup_key": 255, "summary": 1024, "source": 1024, "component": 200, "group": 200, "class": 200}
HELD_MS = 30 * 86_400_000
"""An event holds until it is resolved; one whose sender forgets it counts as over after so long."""
_SEVERITIES = ("critical", "error", "warning", "info")
_ACTIONS = ("trigger", "acknowledge", "resolve")
_FUTURE_MS = 86_400_000

Action = Literal["trigger", "acknowledge", "resolve"]


class Invalid(ValueError):
    """The event cannot be taken; ``errors`` name each field with what it must be."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = list(errors)


@dataclass(frozen=True, slots=True)
class Event:
    """What is said of the alert with this ``dedup_key``; ``alert`` is the one that a trigger brings."""

    action: Action
    dedup_key: str
    fingerprint: str
    alert: Alert | None = None


class _Link(msgspec.Struct):
    href: str = ""
    text: str = ""


class _Payload(msgspec.Struct):
    summary: str = ""
    source: str = ""
    severity: str = ""
    timestamp: str = ""
    component: str = ""
    group: str = ""
    class_: str = msgspec.field(default="", name="class")
    custom_details: Any = None


class _Event(msgspec.Struct):
    routing_key: str = ""
    event_action: str = ""
    dedup_key: str = ""
    payload: _Payload | None = None
    links: list[_Link] = []
    client: str = ""
    client_url: str = ""


class _Annotation(msgspec.Struct):
    text: str = ""
    tags: list[str] = []
    time: int | None = None
    timeEnd: int | None = None
    dashboardUID: str = ""


_events = msgspec.json.Decoder(_Event)
_annotations = msgspec.json.Decoder(_Annotation)


def event(body: bytes, now: int) -> Event:
    """An alert event; raises :class:`Invalid`."""
    sent = _decoded(_events, body)
    errors = _key_errors(sent)
    if sent.event_action not in _ACTIONS:
        errors.append(f"'event_action' must be one of {', '.join(_ACTIONS)}")
    elif sent.event_action == "trigger":
        errors += _payload_errors(sent.payload, severity=True)
    elif not sent.dedup_key:
        errors.append(f"'dedup_key' is missing: {sent.event_action} needs the one of its trigger")
    if errors:
        raise Invalid(errors)
    key = sent.dedup_key or uuid.uuid4().hex
    action: Action = sent.event_action
    print_ = fingerprint({"dedup_key": key, "routing_key": sent.routing_key})
    alert = _alert(sent, sent.payload, key, print_, now) if action == "trigger" and sent.payload is not None else None
    return Event(action, key, print_, alert)


def _alert(sent: _Event, payload: _Payload, key: str, print_: str, now: int) -> Alert:
    """Identity is the dedup_key, never the text: a second trigger of it is the same alert with newer words."""
    labels = {
        "alertname": payload.class_ or "event", "dedup_key": key, "severity": payload.severity,
        "service": payload.component or payload.group or payload.source, "instance": payload.source,
        "group": payload.group,
    }  # fmt: skip
    details = payload.custom_details if isinstance(payload.custom_details, dict) else {}
    annotations = {"summary": payload.summary} | _texts(details)
    if sent.links:
        annotations.setdefault("link", sent.links[0].href[:2000])
    return Alert(
        fingerprint=print_,
        labels={name: value for name, value in labels.items() if value},
        annotations=annotations,
        status="firing",
        starts_at=_time(payload.timestamp, now),
        ends_at=None,
        expires_at=now + HELD_MS,
        received_at=now,
        generator_url=sent.client_url[:2000],
    )


def change(body: bytes, now: int) -> ChangeEvent:
    """A change event; raises :class:`Invalid`."""
    sent = _decoded(_events, body)
    errors = _key_errors(sent) + _payload_errors(sent.payload, severity=False)
    if errors or sent.payload is None:
        raise Invalid(errors)
    payload = sent.payload
    details = _texts(payload.custom_details if isinstance(payload.custom_details, dict) else {})
    at = _time(payload.timestamp, now)
    service = details.get("service") or payload.component or payload.source
    # They have no identity of their own: the same words about the same thing at the same time are a repetition.
    same = "\0".join((sent.routing_key, service, str(at), payload.summary))
    return ChangeEvent(
        service=service[:200], at=at, summary=payload.summary, source=payload.source[:200],
        link=next((link.href[:2000] for link in sent.links if link.href), ""), details=details, received_at=now,
        dedup_key=hashlib.sha256(same.encode("utf-8", "surrogatepass")).hexdigest(),
    )  # fmt: skip


def annotation(body: bytes, now: int, services: Sequence[str]) -> ChangeEvent:
    """A Grafana annotation; its service is the tag ``service:NAME``, else a tag that names a known one of
    ``services``, else it concerns all. Raises :class:`Invalid`."""
    sent = _decoded(_annotations, body)
    if not sent.text.strip():
        raise Invalid(["'text' is missing: say what was changed"])
    if len(sent.tags) > 100:
        raise Invalid([f"'tags' has {len(sent.tags)} entries; at most 100"])
    tags = [tag.strip()[:200] for tag in sent.tags]
    named = (tag[8:] for tag in tags if tag.startswith(("service:", "service=")))
    service = next(named, None) or next((tag for tag in tags if tag in services), "")
    at = sent.time if sent.time is not None and 0 < sent.time <= now + _FUTURE_MS else now
    same = f"{service}\0{at}\0{sent.text[:1024]}\0{','.join(tags)}"
    return ChangeEvent(
        service=service, at=at, summary=" ".join(sent.text.split())[:1024], source="annotation",
        details={"tags": ", ".join(tags)[:1000]} if tags else {}, received_at=now,
        dedup_key=hashlib.sha256(same.encode("utf-8", "surrogatepass")).hexdigest(),
    )  # fmt: skip


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:300]
        raise Invalid([f"the body cannot be read: {why}"]) from None


def _key_errors(sent: _Event) -> list[str]:
    errors = []
    if len(sent.routing_key) != KEY_LENGTH or not sent.routing_key.isalnum():
        errors.append(f"'routing_key' must be {KEY_LENGTH} letters and digits")
    if len(sent.dedup_key) > LONGEST["dedup_key"]:
        errors.append(f"'dedup_key' has {len(sent.dedup_key)} characters; at most {LONGEST['dedup_key']}")
    return errors


def _payload_errors(payload: _Payload | None, severity: bool) -> list[str]:
    if payload is None:
        return ["'payload' is missing"]
    errors = []
    for name, text in (("summary", payload.summary), ("source", payload.source)):
        if not text.strip() and (name == "summary" or severity):
            errors.append(f"'payload.{name}' is missing or blank")
    for name, text in (("summary", payload.summary), ("source", payload.source), ("component", payload.component),
                       ("group", payload.group), ("class", payload.class_)):  # fmt: skip
        if len(text) > LONGEST[name]:
            errors.append(f"'payload.{name}' has {len(text)} characters; at most {LONGEST[name]}")
    if severity and payload.severity not in _SEVERITIES:
        errors.append(f"'payload.severity' must be one of {', '.join(_SEVERITIES)}")
    if payload.timestamp:
        try:
            parse_rfc3339(payload.timestamp)
        except ValueError as error:
            errors.append(f"'payload.timestamp': {error}")
    return errors


def _time(text: str, now: int) -> int:
    """When it happened, as far as that can be: nothing begins in the future."""
    return min(parse_rfc3339(text), now) if text else now


def _texts(details: Mapping[Any, Any]) -> dict[str, str]:
    """Plain values of custom details, each cut."""
    plain = ((str(k)[:100], v) for k, v in list(details.items())[:50] if isinstance(v, str | int | float | bool))
    return {name: str(value)[:1000] for name, value in plain}
