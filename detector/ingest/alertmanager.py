"""Alerts as Alertmanager and Prometheus send them, decoded: bytes in, nouns out; never raises on any bytes.

Webhook version "4" (Grafana's "1" is a superset) and API v2. Unknown fields come with every release and are ignored.
The identity of an alert is its label set, as Alertmanager's fingerprint: FNV-1a over the sorted pairs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from detector.clock import parse_rfc3339, rfc3339
from detector.nouns import Alert
from detector.series.labels import Matcher

MOST_ALERTS = 10_000
MOST_LABELS = 128
LONGEST_NAME = 1024
LONGEST_VALUE = 64 * 1024
ZERO_TIME = "0001-01-01T00:00:00"

_OFFSET, _PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1
_SEPARATOR = b"\xff"
_MATCHER = re.compile(
    r'\s*"?([a-zA-Z_][a-zA-Z0-9_]*)"?\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^"]*?))\s*', re.DOTALL
)


class Malformed(ValueError):
    """The body is not what it should be; the text names place and remedy."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """``alerts`` are valid; ``errors`` say what was wrong with the others: API v2 stores what is valid all the same."""

    alerts: tuple[Alert, ...]
    errors: tuple[str, ...] = ()


class _Alert(msgspec.Struct):
    labels: dict[str, str] = {}
    annotations: dict[str, str] | None = None
    status: str = "firing"
    startsAt: str | None = None
    endsAt: str | None = None
    generatorURL: str | None = None
    fingerprint: str = ""


class _Webhook(msgspec.Struct):
    alerts: list[msgspec.Raw]
    version: str = ""
    groupKey: str = ""
    receiver: str = ""
    externalURL: str = ""


_webhooks = msgspec.json.Decoder(_Webhook)
_lists = msgspec.json.Decoder(list[msgspec.Raw])
_alerts = msgspec.json.Decoder(_Alert)


def fingerprint(labels: Mapping[str, str]) -> str:
    """Alertmanager's: FNV-1a (64 bit) over name, 0xff, value, 0xff of the sorted pairs; 16 hex digits."""
    value = _OFFSET
    for name, text in sorted(labels.items()):
        for byte in name.encode("utf-8", "surrogatepass") + _SEPARATOR + text.encode("utf-8", "surrogatepass"):
            value = ((value ^ byte) * _PRIME) & _MASK
        value = ((value ^ 0xFF) * _PRIME) & _MASK
    return f"{value:016x}"


def webhook(body: bytes, now: int) -> Arrived:
    """A notification of an Alertmanager or a Grafana; raises :class:`Malformed` where nothing can be read."""
    try:
        message = _webhooks.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not an Alertmanager webhook: {_reason(error)}") from None
    if message.version not in ("4", "1"):
        raise Malformed(f'version {message.version[:20]!r} is not supported: "4" (Alertmanager) or "1" (Grafana)')
    if len(message.alerts) > MOST_ALERTS:
        raise Malformed(f"{len(message.alerts)} alerts in one message; at most {MOST_ALERTS} (set max_alerts)")
    found: list[Alert] = []
    errors: list[str] = []
    for number, raw in enumerate(message.alerts):
        try:
            alert = _notified(_alerts.decode(raw), now)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
            errors.append(f"alerts[{number}]: {_reason(error)}")
            continue
        found.append(
            replace(
                alert,
                group_key=message.groupKey[:LONGEST_VALUE] or "webhook",
                receiver=message.receiver[:LONGEST_NAME],
                external_url=message.externalURL[:LONGEST_NAME],
            )
        )
    return Arrived(tuple(found), tuple(errors))


def _notified(sent: _Alert, now: int) -> Alert:
    """An alert of a webhook; while it fires, an end in the future is when it expires (Go's zero time: none)."""
    labels = _labels(sent.labels)
    starts, ends = _time(sent.startsAt), _time(sent.endsAt)
    if sent.status not in ("firing", "resolved"):
        raise ValueError(f"status {sent.status[:20]!r} is neither firing nor resolved")
    firing = sent.status == "firing"
    if not firing:
        ends = now if ends is None else ends
    return Alert(
        fingerprint=fingerprint(labels),
        labels=labels,
        annotations=_annotations(sent.annotations),
        status="firing" if firing else "resolved",
        starts_at=starts if starts is not None else now if ends is None else min(ends, now),
        ends_at=ends,
        expires_at=ends if firing and ends is not None and ends > now else None,
        received_at=now,
        generator_url=(sent.generatorURL or "")[:LONGEST_VALUE],
    )


def api_v2(body: bytes, now: int, resolve_timeout: int) -> Arrived:
    """``POST /api/v2/alerts``; raises :class:`Malformed` where nothing can be read. Alerts without an end count until
    ``now + resolve_timeout`` (ms); one whose end has passed is resolved."""
    try:
        sent = _lists.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not a list of alerts: {_reason(error)}") from None
    if len(sent) > MOST_ALERTS:
        raise Malformed(f"{len(sent)} alerts in one post; at most {MOST_ALERTS}")
    found: dict[str, Alert] = {}
    errors: list[str] = []
    for number, raw in enumerate(sent):
        try:
            alert = _posted(_alerts.decode(raw), now, resolve_timeout)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
            errors.append(f"alerts[{number}]: {_reason(error)}")
            continue
        before = found.get(alert.fingerprint)
        found[alert.fingerprint] = alert if before is None else _merged(before, alert)
    return Arrived(tuple(found.values()), tuple(errors))


def _posted(sent: _Alert, now: int, resolve_timeout: int) -> Alert:
    labels = _labels(sent.labels)
    starts, ends = _time(sent.startsAt), _time(sent.endsAt)
    if starts is None:
        starts = min(now, ends) if ends is not None else now
    expires = now + resolve_timeout if ends is None else ends
    if expires < starts:
        raise ValueError("endsAt is before startsAt" if ends is not None else "startsAt is in the future")
    over = expires <= now
    return Alert(
        fingerprint=fingerprint(labels),
        labels=labels,
        annotations=_annotations(sent.annotations),
        status="resolved" if over else "firing",
        starts_at=starts,
        ends_at=ends,
        expires_at=None if over else expires,
        received_at=now,
        generator_url=(sent.generatorURL or "")[:LONGEST_VALUE],
    )


def _merged(before: Alert, after: Alert) -> Alert:
    """One label set twice in a post: the earliest start wins, the newest annotations win."""
    return replace(after, starts_at=min(before.starts_at, after.starts_at))


def _labels(sent: Mapping[str, str]) -> dict[str, str]:
    labels = {name: value for name, value in sent.items() if value != ""}
    if not labels:
        raise ValueError("at least one label that is not empty is required")
    if len(labels) > MOST_LABELS:
        raise ValueError(f"{len(labels)} labels; at most {MOST_LABELS}")
    for name, value in labels.items():
        if not name or len(name) > LONGEST_NAME or len(value) > LONGEST_VALUE:
            raise ValueError(f"label {name[:40]!r}: empty name, or name or value too long")
    return labels


def _annotations(sent: Mapping[str, str] | None) -> dict[str, str]:
    pairs = list(sent.items())[:MOST_LABELS] if sent else ()
    return {name: value[:LONGEST_VALUE] for name, value in pairs if value != ""}


def _time(text: str | None) -> int | None:
    """ms; None for no time, and for Go's zero time."""
    if not text or text.startswith(ZERO_TIME):
        return None
    return parse_rfc3339(text)


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:300]


@dataclass(frozen=True, slots=True)
class Shown:
    """A firing alert, and what keeps people from being told of it: ids of silences, or of what inhibits it."""

    alert: Alert
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        return "suppressed" if self.silenced_by or self.inhibited_by else "active"


def gettable(shown: Shown, now: int) -> dict[str, Any]:
    """An alert as ``GET /api/v2/alerts`` shows it."""
    alert = shown.alert
    return {
        "labels": dict(alert.labels), "annotations": dict(alert.annotations), "fingerprint": alert.fingerprint,
        "startsAt": rfc3339(alert.starts_at), "endsAt": rfc3339(alert.expires_at or now),
        "updatedAt": rfc3339(alert.received_at), "generatorURL": alert.generator_url,
        "receivers": [{"name": "detector"}],
        "status": {
            "state": shown.state, "silencedBy": list(shown.silenced_by), "inhibitedBy": list(shown.inhibited_by),
            "mutedBy": [],
        },
    }  # fmt: skip


def matcher(text: str) -> Matcher:
    """``name="value"`` or ``name=~regex``, quoted or not, as amtool and karma ask; raises :class:`Malformed`."""
    match = _MATCHER.fullmatch(text)
    if match is None:
        raise Malformed(f'filter {text[:80]!r} is not a matcher such as severity="critical"')
    value = re.sub(r"\\(.)", r"\1", match[3]) if match[3] is not None else match[4]
    try:
        return Matcher(match[1], match[2], value)  # type: ignore[arg-type]
    except ValueError as error:
        raise Malformed(f"filter: {error}") from None
