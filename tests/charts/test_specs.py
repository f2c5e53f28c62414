"""The specification of a chart: what is drawn, what is said, and that nothing hostile gets further than being text."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.charts.series import nice_ticks, prepare, scale_for, thinned, tick_labels
from detector.charts.specs import TOKENS, Spec, alt_text, symptom_spec, telling
from detector.nouns import Evidence, Impact, Symptom

NOW = 1_795_000_000_000  # 2026-11-18 11:06:40 UTC
MINUTE = 60_000


def symptom(**changes: Any) -> Symptom:
    base = Symptom(
        "0123456789abcdef", "forecast", "exhaustion", "node_filesystem_avail_bytes", "storage",
        {"instance": "db-1:9100", "mountpoint": "/data"}, "node_filesystem_avail_bytes", 0.0, 6e8, None, None,
        NOW - 30 * MINUTE, NOW, True, "free space falls",
    )  # fmt: skip
    return replace(base, **changes)


def falling(**changes: Any) -> Symptom:
    """Free space that falls by 20 MiB a minute and is used up in 30 minutes."""
    mib = 2.0**20
    at = tuple(range(NOW - 30 * MINUTE, NOW + 1, MINUTE))
    value = tuple((600 + 20 * (30 - i)) * mib for i in range(31))
    fan = tuple(
        (NOW + i * MINUTE, (600 - 24 * i) * mib, (600 - 20 * i) * mib, (600 - 16 * i) * mib) for i in range(1, 40)
    )
    impact = Impact(NOW + 25 * MINUTE, NOW + 30 * MINUTE, NOW + 37 * MINUTE)
    evidence = Evidence(at, value, limit=0.0, forecast=fan, unit="bytes")
    return symptom(evidence=evidence, impact=impact, **changes)


def outside() -> Symptom:
    at = tuple(range(NOW - 20 * MINUTE, NOW + 1, MINUTE))
    value = (*(0.3,) * 18, 0.9, 0.95, 1.0)
    return symptom(
        detector="anomaly", kind="latency", metric="http_request_duration_seconds", disruption=True,
        evidence=Evidence(at, value, (0.2,) * 21, (0.5,) * 21, unit="seconds"),
    )  # fmt: skip


def strings(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [text for value in node.values() for text in strings(value)]
    if isinstance(node, list):
        return [text for value in node for text in strings(value)]
    return [node] if isinstance(node, str) else []


def marks(spec: Spec) -> list[dict[str, Any]]:
    found = []
    for layer in spec["layer"]:
        found += [layer["mark"]] if "mark" in layer else [inner["mark"] for inner in layer["layer"]]
    return found


def test_a_forecast_is_drawn_with_its_fan_its_limit_and_now() -> None:
    spec = symptom_spec(falling(), NOW)
    kinds = [mark["type"] for mark in marks(spec)]
    assert kinds.count("area") == 1
    assert kinds.count("line") == 2
    assert [m for m in marks(spec) if m["type"] == "line" and m.get("strokeDash")], "the forecast is dashed"
    texts = [mark["text"] for mark in marks(spec) if mark["type"] == "text"]
    assert "limit 0 GiB" in texts
    assert "now 11:06" in texts
    assert spec["title"]["subtitle"] == ["nothing is left at 11:36 (11:31-11:43)"]
    assert "legend" not in json.dumps(spec)


def test_points_outside_the_expected_band_are_marked() -> None:
    spec = symptom_spec(outside(), NOW)
    points = [layer for layer in spec["layer"] if layer.get("mark", {}).get("type") == "point"]
    assert len(points) == 1
    assert [row["v"] for row in points[0]["data"]["values"]] == pytest.approx([0.9, 0.95, 1.0])
    assert points[0]["mark"]["color"] == TOKENS["light"].disrupting
    assert "expected" in [mark.get("text") for mark in marks(spec)]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_themes_use_the_tokens(theme: Any) -> None:
    spec = symptom_spec(falling(), NOW, theme)
    assert spec["background"] == TOKENS[theme].background
    colours = {text for text in strings(spec) if text.startswith("#")}
    assert colours <= set(TOKENS[theme].__getstate__())  # type: ignore[attr-defined]


def test_counts_and_ratios_start_at_zero_and_the_rest_says_when_it_does_not() -> None:
    at = tuple(range(NOW - 10 * MINUTE, NOW, MINUTE))
    flat = Evidence(at, (70.1, 70.2) * 5, unit="celsius")
    spec = symptom_spec(symptom(evidence=flat), NOW)
    assert spec["encoding"]["y"]["scale"]["domain"][0] > 0
    assert "axis not from 0" in spec["title"]["subtitle"]
    for unit in ("ratio", "percent", ""):
        counted = symptom_spec(symptom(metric="x", evidence=replace(flat, unit=unit)), NOW)
        assert counted["encoding"]["y"]["scale"]["domain"][0] == 0


def test_free_space_is_not_drawn_below_nothing() -> None:
    data = prepare(falling(), NOW)
    assert data is not None
    assert data.y[0] == 0
    assert data.from_zero


def test_times_are_the_readers() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    at_home = symptom_spec(falling(), NOW, zone=berlin)
    assert at_home["title"]["subtitle"] == ["nothing is left at 12:36 (12:31-12:43)"]
    moved = (
        at_home["encoding"]["x"]["scale"]["domain"][0]
        - symptom_spec(falling(), NOW)["encoding"]["x"]["scale"]["domain"][0]
    )
    assert moved == 3_600_000


def test_the_alt_text_says_in_one_sentence_what_is_shown() -> None:
    assert alt_text(falling(), NOW) == (
        "node_filesystem_avail_bytes · /data · db-1:9100 falls 20 MiB a minute since 10:36 and is 600 MiB at 11:06; "
        "at this rate nothing is left at 11:36 (11:31-11:43)"
    )
    assert alt_text(outside(), NOW).endswith("is 1 s at 11:06, where 200 ms to 500 ms is expected")
    noise = Evidence(tuple(range(NOW - 60 * MINUTE, NOW, MINUTE)), (70.0, 71.0, 70.5) * 20, unit="celsius")
    assert " is level and is 70.5 °C" in alt_text(symptom(evidence=noise), NOW)
    assert alt_text(symptom(), NOW).endswith("no samples were kept")


def test_without_evidence_the_chart_says_so() -> None:
    assert symptom_spec(symptom(), NOW)["mark"]["text"] == "no samples were kept"
    nothing = Evidence((NOW,), (math.nan,))
    assert symptom_spec(symptom(evidence=nothing), NOW)["mark"]["text"] == "no samples were kept"


def test_the_most_telling_symptom_is_active_and_reaches_a_limit() -> None:
    later = replace(falling(), id="b" * 16)
    ended = replace(falling(), id="c" * 16, active=False)
    assert telling([ended, outside(), later]) is later
    assert telling([ended, outside()]) == outside()
    assert telling([symptom()]) is None


def test_thinning_loses_no_extreme() -> None:
    samples = [(i, math.sin(i / 7), 1.0, 0.0) for i in range(20_000)]
    samples[7777] = (7777, 40.0, 1.0, 0.0)
    samples[9999] = (9999, -40.0, 1.0, 0.0)
    kept = thinned(samples)
    assert len(kept) <= 500
    assert {samples[0], samples[7777], samples[9999], samples[-1]} <= set(kept)
    assert kept == sorted(kept)


@settings(deadline=None)
@given(st.floats(-1e12, 1e12), st.floats(1e-9, 1e12))
def test_ticks_are_few_round_and_inside(low: float, span: float) -> None:
    high = low + span
    ticks = nice_ticks(low, high)
    assert len(ticks) <= 21
    tolerance = span * 1e-6 + abs(low) * 1e-9
    assert all(low - tolerance <= tick <= high + tolerance for tick in ticks)


def test_tick_labels_do_not_round_what_their_step_needs() -> None:
    assert tick_labels((70.5, 70.75, 71.0), "°C") == ["70.50 °C", "70.75 °C", "71.00 °C"]
    assert tick_labels((0.0, 500.0, 1000.0), "") == ["0", "500", "1,000"]
    assert tick_labels((-0.5, -0.0, 0.5), "s") == ["-0.5 s", "0.0 s", "0.5 s"]


@pytest.mark.parametrize(
    ("unit", "magnitude", "word"),
    [("bytes", 3e9, "GiB"), ("bytes/s", 3e3, "KiB/s"), ("seconds", 0.04, "ms"), ("seconds", 7200, "min"),
     ("ratio", 0.4, "%"), ("", 3e7, "M"), ("bytes", 0, "B"), ("milliseconds", 5, "ms")],
)  # fmt: skip
def test_values_are_shown_in_a_unit_that_fits(unit: str, magnitude: float, word: str) -> None:
    scale = scale_for(unit, magnitude)
    assert scale.word == word
    assert magnitude * scale.factor < 10_000


hostile_floats = st.floats(allow_nan=True, allow_infinity=True)
hostile_times = st.integers(-(10**18), 10**18) | st.integers(NOW - 10**7, NOW + 10**7)
hostile_text = st.text(max_size=200) | st.sampled_from(["</text><script>", "\u202e", "{{datum}}", "a'\"]);alert(1)//"])


@st.composite
def hostile_symptoms(draw: st.DrawFn) -> Symptom:
    evidence = Evidence(
        tuple(draw(st.lists(hostile_times, max_size=12))),
        tuple(draw(st.lists(hostile_floats, max_size=12))),
        tuple(draw(st.lists(hostile_floats, max_size=12))),
        tuple(draw(st.lists(hostile_floats, max_size=12))),
        draw(st.none() | hostile_floats),
        tuple(draw(st.lists(st.tuples(hostile_times, hostile_floats, hostile_floats, hostile_floats), max_size=6))),
        draw(st.sampled_from(["", "bytes", "seconds", "ratio"]) | hostile_text),
    )
    times = sorted(draw(st.tuples(hostile_times, hostile_times, hostile_times)))
    return symptom(
        metric=draw(hostile_text), name=draw(hostile_text), labels={"mountpoint": draw(hostile_text)},
        evidence=evidence, impact=draw(st.none() | st.just(Impact(*times))), first_at=draw(hostile_times),
    )  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(hostile_symptoms(), hostile_times)
def test_no_evidence_breaks_the_specification(found: Symptom, now: int) -> None:
    spec = symptom_spec(found, now, "dark", zone=UTC)
    encoded = json.dumps(spec, allow_nan=False)
    assert len(encoded) < 100_000
    for text in strings(spec):
        assert "\n" not in text
        assert "\u202e" not in text
    # The one expression of the specification holds numbers and units only.
    if "encoding" in spec:
        expression = spec["encoding"]["y"]["axis"]["labelExpr"]
        assert "alert" not in expression
    assert "\n" not in alt_text(found, now)
