"""Silences, windows and inhibition as pure functions; windows against the wall clock, day by day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from detector.incidents.mute import (
    WEEKDAYS,
    Inhibitions,
    InhibitRule,
    Maintenance,
    Noise,
    NoiseOptions,
    compiled,
    covers_too_much,
    hush,
    windows,
)
from detector.nouns import Silence, Symptom, Ticket
from tests.rows import HOUR, NOW, symptom

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")


def silence(*matchers: tuple[str, str, str], **values: Any) -> Silence:
    return Silence("s", matchers, NOW, NOW + HOUR, NOW, "ann", "patching", **values)


def recurring(**values: Any) -> Maintenance:
    given_ = {"name": "w", "matchers": ['service="db"'], "reason": "r", "days": ["sun"], "at": "02:30", "lasts": "2h",
              "zone": "Europe/Berlin", "until": "2030-01-01"} | values  # fmt: skip
    return Maintenance.model_validate(given_)


@settings(deadline=None, max_examples=60)
@given(
    zone=st.sampled_from(ZONES), days=st.sets(st.sampled_from(WEEKDAYS), min_size=1),
    at=st.times(), lasts=st.integers(1, 40), start=st.dates(date(2026, 3, 1), date(2028, 12, 1)),
)  # fmt: skip
def test_a_recurring_window_is_what_looking_at_every_day_says(
    zone: str, days: set[str], at: Any, lasts: int, start: date
) -> None:
    wall = f"{at.hour:02d}:{at.minute:02d}"
    window = recurring(zone=zone, days=sorted(days), at=wall, lasts=f"{lasts}h")
    low = round(datetime(start.year, start.month, start.day, tzinfo=UTC).timestamp() * 1000)
    high = low + 10 * 24 * HOUR
    expected = []
    day = start - timedelta(5)
    while day < start + timedelta(15):
        if WEEKDAYS[day.weekday()] in days:
            begins = datetime(day.year, day.month, day.day, at.hour, at.minute, tzinfo=ZoneInfo(zone))
            span = round(begins.timestamp() * 1000), round(begins.timestamp() * 1000) + lasts * HOUR
            if span[0] < high and span[1] > low:
                expected.append(span)
        day += timedelta(1)
    found = [(a, b) for _, a, b in windows(NoiseOptions(maintenance=(window,)), low, high)]
    assert found == sorted(expected)


def test_the_night_without_half_past_two_has_its_window_too() -> None:
    window = recurring()
    spring = round(datetime(2027, 3, 28, 0, 0, tzinfo=UTC).timestamp() * 1000)
    [(_, begins, ends)] = windows(NoiseOptions(maintenance=(window,)), spring, spring + 12 * HOUR)
    assert datetime.fromtimestamp(begins / 1000, UTC) == datetime(2027, 3, 28, 1, 30, tzinfo=UTC)
    assert ends - begins == 2 * HOUR


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"until": None}, "days, at, lasts and until"),
        ({"days": [], "at": None, "lasts": None, "until": None}, "give start and end"),
        ({"zone": "Mars/Olympus"}, "is no time zone"),
        ({"at": "2:30"}, "a time of the day"),
        ({"matchers": ["service"]}, "is not a matcher"),
        ({"matchers": []}, "at least 1"),
    ],
)
def test_a_window_that_cannot_be_says_why(values: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        recurring(**values)


def test_a_window_once_needs_its_offset_and_its_order() -> None:
    base: dict[str, Any] = {"name": "w", "matchers": ['a="b"'], "reason": "r"}
    with pytest.raises(ValidationError, match="offset"):
        Maintenance.model_validate(base | {"start": "2027-01-01T00:00:00", "end": "2027-01-02T00:00:00"})
    late = {"start": "2027-01-02T00:00:00Z", "end": "2027-01-01T00:00:00Z"}
    with pytest.raises(ValidationError, match="not after"):
        Maintenance.model_validate(base | late)


def test_the_next_change_is_the_nearest_edge() -> None:
    noise = Noise(NoiseOptions(), [silence(("service", "=", "db"))])
    assert noise.next_change(NOW - 1) == NOW
    assert noise.next_change(NOW) == NOW + HOUR
    assert noise.next_change(NOW + HOUR) is None
    assert [c.silence.id for c in noise.at(NOW)] == ["s"]
    assert noise.at(NOW + HOUR) == []


def test_a_silence_on_predictions_does_not_cover_the_disruption() -> None:
    one = compiled(silence(("service", "=", "storage"), covers="predictions"))
    nobody = Inhibitions((), ())
    predicted, hurt = symptom("disk"), symptom("disk", disruption=True)
    assert hush(predicted, [one], nobody) is not None
    assert hush(hurt, [one], nobody) is None


@pytest.mark.parametrize(
    ("matchers", "too_much"),
    [
        ((("alertname", "=~", ".+"),), True),
        ((("alertname", "!=", ""), ("service", "=~", ".*")), True),
        ((("alertname", "=~", ".+"), ("service", "=", "db")), False),
        ((("alertname", "=", "X"),), False),
    ],
)
def test_what_covers_everything_is_seen(matchers: Any, too_much: bool) -> None:
    assert covers_too_much(silence(*matchers)) is too_much


def holding(*symptoms: Symptom) -> Ticket:
    return Ticket("INC-1", 1, "incident", "triaged", "detected", "web", NOW, "page", symptoms=symptoms)


def test_inhibition_is_alertmanagers() -> None:
    rule = InhibitRule.model_validate(
        {"source_matchers": ['severity="critical"'], "target_matchers": ['severity=~"warning|critical"'],
         "equal": ["dc"]}
    )  # fmt: skip

    def one(name: str, severity: str, **labels: str) -> Symptom:
        return symptom(
            name, detector="alert", severity=severity, labels={"alertname": name, "severity": severity} | labels
        )

    down, slow = one("Down", "critical", dc="a"), one("Slow", "warning", dc="a")
    elsewhere, nowhere = one("Slow", "warning", dc="b"), one("Slow", "warning")
    known = Inhibitions((rule,), [holding(down, slow, elsewhere)])
    found = hush(slow, [], known)
    assert found is not None
    assert (found.kind, found.by) == ("inhibited", down.id)
    assert hush(elsewhere, [], known) is None
    assert hush(nowhere, [], known) is None
    # Two that are source and target of one rule do not mute each other, and nothing mutes itself.
    twin = one("Down2", "critical", dc="a")
    both = Inhibitions((rule,), [holding(down, twin)])
    assert hush(down, [], both) is None
    assert hush(twin, [], both) is None
    # An empty label is a missing one, as there.
    bare = one("Down", "critical")
    assert hush(nowhere, [], Inhibitions((rule,), [holding(bare)])) is not None


def test_labels_that_a_symptom_has_under_another_name_can_be_matched() -> None:
    nobody = Inhibitions((), ())
    for matcher in (("alertname", "=", "disk"), ("service", "=", "storage"), ("category", "=~", "capacity/.*"),
                    ("detector", "=", "forecast")):  # fmt: skip
        assert hush(symptom("disk"), [compiled(silence(matcher))], nobody) is not None
