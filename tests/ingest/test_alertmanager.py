"""Alerts come in as Alertmanager's own rules say, whatever the bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.clock import parse_rfc3339, rfc3339
from detector.ingest.alertmanager import Arrived, Malformed, api_v2, fingerprint, matcher, webhook

NOW = parse_rfc3339("2026-11-24T08:00:00Z")
RESOLVE = 300_000
ZERO = "0001-01-01T00:00:00Z"


def v2(*alerts: Any, now: int = NOW) -> Arrived:
    return api_v2(json.dumps(alerts).encode(), now, RESOLVE)


def hook(*alerts: Any, **fields: Any) -> Arrived:
    body = {"version": "4", "receiver": "r", "groupKey": "g", "alerts": alerts} | fields
    return webhook(json.dumps(body).encode(), NOW)


PARSERS: list[Callable[[bytes], Arrived]] = [lambda body: webhook(body, NOW), lambda body: api_v2(body, NOW, RESOLVE)]


def test_fingerprints_are_alertmanagers_own() -> None:
    # Asked of Alertmanager 0.25; tests/real asks it again.
    assert fingerprint({"cluster": "rig", "alertname": "DiskWillFill"}) == "49d99ce9a480798c"


def test_a_webhook_alert_keeps_its_episode_and_where_it_came_from() -> None:
    started = "2026-11-24T07:59:00.123456789Z"
    taken = hook(
        {"status": "firing", "labels": {"alertname": "A", "empty": ""}, "annotations": {"summary": "s"},
         "startsAt": started, "endsAt": ZERO, "generatorURL": "http://p", "fingerprint": "ignored", "new": [1]},
        externalURL="http://am", truncatedAlerts=3, somethingNew={"a": None},
    )  # fmt: skip
    (alert,) = taken.alerts
    assert alert.labels == {"alertname": "A"}
    assert alert.fingerprint == fingerprint({"alertname": "A"})
    assert (alert.status, alert.starts_at, alert.ends_at) == ("firing", NOW - 59_877, None)
    assert alert.expires_at is None  # the desk's own expiry
    assert (alert.receiver, alert.group_key, alert.external_url) == ("r", "g", "http://am")
    assert taken.errors == ()


def test_grafanas_superset_is_taken() -> None:
    taken = hook(
        {"status": "firing", "labels": {"alertname": "A"}, "annotations": {}, "startsAt": rfc3339(NOW), "endsAt": ZERO,
         "silenceURL": "x", "values": {"B": 1.5, "C": None}, "valueString": "[ var='B' ]", "panelURL": ""},
        version="1", orgId=1, title="[FIRING:1]", state="alerting", message="**Firing**",
    )  # fmt: skip
    assert len(taken.alerts) == 1


def test_a_future_end_is_when_a_firing_alert_expires_and_a_resolved_one_ends_by_now() -> None:
    soon = rfc3339(NOW + 240_000)
    firing, resolved, odd = hook(
        {"status": "firing", "labels": {"a": "1"}, "startsAt": rfc3339(NOW), "endsAt": soon},
        {"status": "resolved", "labels": {"a": "2"}, "startsAt": rfc3339(NOW - 60_000), "endsAt": rfc3339(NOW - 1000)},
        {"status": "resolved", "labels": {"a": "3"}, "endsAt": ZERO},
    ).alerts
    assert (firing.status, firing.expires_at) == ("firing", NOW + 240_000)
    assert (resolved.status, resolved.ends_at, resolved.expires_at) == ("resolved", NOW - 1000, None)
    assert (odd.starts_at, odd.ends_at) == (NOW, NOW)


def test_valid_alerts_are_taken_and_all_errors_are_told() -> None:
    good = {"labels": {"alertname": "A"}}
    bad: list[Any] = [
        {"labels": {}}, {"labels": {"a": ""}}, {"labels": {"a": 1}}, {}, 7, None,
        {"labels": {"a": "b"}, "startsAt": "yesterday"}, {"labels": {"a": "b"}, "startsAt": "2026-11-24T08:00:00"},
        {"labels": {"a": "b"}, "startsAt": "2026-11-24T08:00:00Z", "endsAt": "2026-11-24T07:00:00Z"},
        {"labels": {"a": "b"}, "startsAt": "9999-12-31T23:59:59-23:00"}, {"labels": {"a": "b"}, "endsAt": 5},
    ]  # fmt: skip
    taken = v2(good, *bad, good | {"labels": {"alertname": "B"}})
    assert [a.labels["alertname"] for a in taken.alerts] == ["A", "B"]
    assert all(len(error) > 15 for error in taken.errors)
    assert [error.split(":")[0] for error in taken.errors] == [f"alerts[{i}]" for i in range(1, len(bad) + 1)]


def test_missing_times_are_made_up_as_alertmanager_does() -> None:
    neither, ended, started = v2(
        {"labels": {"a": "1"}},
        {"labels": {"a": "2"}, "endsAt": rfc3339(NOW - 5000)},
        {"labels": {"a": "3"}, "startsAt": rfc3339(NOW - 9000), "endsAt": ZERO},
    ).alerts
    assert (neither.status, neither.starts_at, neither.expires_at) == ("firing", NOW, NOW + 300_000)
    assert (ended.status, ended.starts_at, ended.ends_at) == ("resolved", NOW - 5000, NOW - 5000)
    assert (started.starts_at, started.expires_at) == (NOW - 9000, NOW + 300_000)


def test_the_same_label_set_merges_earliest_start_and_newest_annotations() -> None:
    (merged,) = v2(
        {"labels": {"a": "1", "b": ""}, "startsAt": rfc3339(NOW - 60_000), "annotations": {"s": "old"}},
        {"labels": {"a": "1"}, "startsAt": rfc3339(NOW - 30_000), "annotations": {"s": "new"}},
    ).alerts
    assert (merged.starts_at, merged.annotations) == (NOW - 60_000, {"s": "new"})


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"{}", b'"x"', b"[" * 100_000, b'{"alerts":' * 5000, b'[{"labels":{"a":NaN}}', b"\xff\xfe",
        b'{"alerts": null}', b'{"alerts": {}}', b'[{"labels":{"a":"b"}}] x', b"[" + b"1" * 10_000,
        b'{"alerts":[],"receiver":5}',
    ],
)  # fmt: skip
def test_bodies_that_are_none_are_refused(body: bytes) -> None:
    for parse in PARSERS:
        with pytest.raises(Malformed):
            parse(body)


@pytest.mark.parametrize("inner", [b"\xff", b"\\ud800", b"\xed\xa0\x80"])
def test_text_that_is_not_unicode_never_becomes_a_label(inner: bytes) -> None:
    for body in (b'[{"labels":{"a":"' + inner + b'"}}]', b'[{"labels":{"a":"b"},"x":"' + inner + b'"}]'):
        try:
            taken = api_v2(body, NOW, RESOLVE)
        except Malformed:
            continue
        for alert in taken.alerts:
            alert.labels["a"].encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["alerts", "labels", "annotations", "status", "startsAt", "endsAt", "a"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_any_json_is_taken_or_refused(value: Any) -> None:
    for parse in PARSERS:
        try:
            parse(json.dumps(value).encode())
        except Malformed as error:
            assert str(error)


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(body: bytes) -> None:
    for parse in PARSERS:
        try:
            parse(body)
        except Malformed as error:
            assert str(error)


@pytest.mark.parametrize(
    ("text", "value", "fits"),
    [
        ('severity="critical"', "critical", True), ("severity=critical", "critical", True),
        ('severity=~"c.*"', "critical", True), ("severity=~crit", "critical", False),
        ('severity!="x"', "critical", True), ('severity="a\\"b"', 'a"b', True), ('"severity"!~"c"', "critical", True),
    ],
)  # fmt: skip
def test_matchers_are_amtools(text: str, value: str, fits: bool) -> None:
    assert matcher(text).matches(value) is fits


@pytest.mark.parametrize("text", ["", "x", "a b", '1="x"', 'a="x', 'a=~"("', "{}"])
def test_a_matcher_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="filter"):
        matcher(text)
