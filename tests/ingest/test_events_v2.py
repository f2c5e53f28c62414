"""PagerDuty's events and Grafana's annotations as their documentation has them; what they refuse is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.clock import rfc3339
from detector.ingest.events_v2 import Invalid, annotation, change, event
from tests.rows import NOW

KEY = "R" * 32


def trigger(**values: Any) -> bytes:
    payload = {
        "summary": "Disk full",
        "source": "db1",
        "severity": "critical",
        "timestamp": rfc3339(NOW - 5000),
        "component": "storage",
        "group": "prod",
        "class": "DiskFull",
        "custom_details": {"free": 0, "deep": [1]},
    }
    payload |= values.pop("payload", {})
    sent = {
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": "disk/db1",
        "payload": payload,
        "client": "cron",
        "client_url": "https://cron.example/7",
        "links": [{"href": "https://x.example", "text": "x"}],
    }
    return json.dumps(sent | values).encode()


def test_a_trigger_is_an_alert_whose_identity_is_its_dedup_key() -> None:
    sent = event(trigger(), NOW)
    alert = sent.alert
    assert alert is not None
    assert (sent.action, sent.dedup_key, alert.status, alert.starts_at) == ("trigger", "disk/db1", "firing", NOW - 5000)
    assert alert.labels == {"alertname": "DiskFull", "dedup_key": "disk/db1", "severity": "critical",
                            "service": "storage", "instance": "db1", "group": "prod"}  # fmt: skip
    assert alert.annotations == {"summary": "Disk full", "free": "0", "link": "https://x.example"}
    other = event(trigger(payload={"summary": "other words", "severity": "warning"}), NOW)
    assert other.fingerprint == sent.fingerprint
    assert event(trigger(dedup_key="disk/db2"), NOW).fingerprint != sent.fingerprint
    resolve = event(json.dumps({"routing_key": KEY, "event_action": "resolve", "dedup_key": "disk/db1"}).encode(), NOW)
    assert (resolve.action, resolve.fingerprint, resolve.alert) == ("resolve", sent.fingerprint, None)


def test_a_trigger_without_a_dedup_key_gets_one() -> None:
    one, other = event(trigger(dedup_key=""), NOW), event(trigger(dedup_key=""), NOW)
    assert one.dedup_key
    assert one.dedup_key != other.dedup_key


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "cannot be read"),
        (b"[]", "cannot be read"),
        (trigger(routing_key="short"), "routing_key"),
        (trigger(event_action="poke"), "event_action"),
        (trigger(dedup_key="x" * 256), "dedup_key"),
        (trigger(payload={"summary": " "}), "summary"),
        (trigger(payload={"summary": "x" * 1025}), "summary"),
        (trigger(payload={"severity": "fatal"}), "severity"),
        (trigger(payload={"source": ""}), "source"),
        (trigger(payload={"timestamp": "yesterday"}), "timestamp"),
        (json.dumps({"routing_key": KEY, "event_action": "resolve"}).encode(), "dedup_key"),
        (json.dumps({"routing_key": KEY, "event_action": "trigger"}).encode(), "payload"),
    ],
)
def test_what_pagerduty_refuses_is_refused_and_named(body: bytes, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        event(body, NOW)


def test_a_change_event_is_about_its_service_and_twice_the_same_is_one() -> None:
    payload = {"summary": "Deploy 41", "source": "ci", "timestamp": rfc3339(NOW - 60_000),
               "custom_details": {"service": "shop", "sha": "abc"}}  # fmt: skip
    body = {"routing_key": KEY, "payload": payload, "links": [{"href": "https://ci.example/41"}]}
    one = change(json.dumps(body).encode(), NOW)
    assert (one.service, one.at, one.summary, one.link) == ("shop", NOW - 60_000, "Deploy 41", "https://ci.example/41")
    assert change(json.dumps(body).encode(), NOW + 1).dedup_key == one.dedup_key
    with pytest.raises(Invalid, match="summary"):
        change(json.dumps({"routing_key": KEY, "payload": {"source": "ci"}}).encode(), NOW)


@pytest.mark.parametrize(
    ("tags", "service"), [(["service:shop", "x"], "shop"), (["x", "storage"], "storage"), (["x"], ""), ([], "")]
)
def test_an_annotation_is_about_the_service_that_its_tags_name(tags: list[str], service: str) -> None:
    body = {"text": "Deploy\n 41", "tags": tags, "time": NOW - 1000, "dashboardUID": "abc"}
    found = annotation(json.dumps(body).encode(), NOW, ["storage"])
    assert (found.service, found.at, found.summary) == (service, NOW - 1000, "Deploy 41")


@settings(deadline=None, max_examples=200)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["routing_key", "payload", "text", "time", "tags", "summary"]), inner)
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_no_bytes_do_anything_but_be_an_event_or_be_refused(body: bytes) -> None:
    for read in (event, change, lambda b, n: annotation(b, n, [])):
        try:
            read(body, NOW)
        except Invalid as error:
            assert error.errors
