"""Rules in event time: pending, firing, over; recorded series; reload and restart; the same whatever the steps."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.nouns import Symptom
from detector.rules.groups import Group
from detector.rules.promql.adapter import parse
from detector.rules.promql.values import Vector
from detector.rules.ruler import Ruler, label_service
from tests.rules.scene import MINUTE, STALE, T0, Scene, groups_of, labels_of, new_store, put

ALERT = """
groups:
  - name: g
    interval: 15s
    labels: {team: infra}
    rules:
      - alert: High
        expr: load > 5
        for: 1m
        keep_firing_for: 30s
        labels: {severity: warning, category: capacity/cpu, kind: saturation, where: '{{ $labels.instance }}!'}
        annotations: {summary: 'load of {{ $labels.instance }} is {{ $value }}'}
"""
LOAD = labels_of("load", instance="a", job="node")


def load_story(high_from: float, high_to: float) -> Scene:
    return Scene(groups_of(ALERT), {LOAD: lambda t: 9.0 if high_from <= t < high_to else 1.0})


def test_an_alert_is_pending_then_fires_then_lingers_then_ends() -> None:
    scene = load_story(60, 300)
    scene.run(105)
    assert scene.symptoms == []
    [state] = scene.ruler.groups[0].rules
    assert [i.state for i in state.active.values()] == ["pending"]
    scene.run(120)
    [fired] = scene.symptoms
    assert fired.active
    assert (fired.name, fired.service, fired.kind, fired.category, fired.severity) == (
        "High", "node", "saturation", "capacity/cpu", "warning",
    )  # fmt: skip
    assert fired.labels == {
        "alertname": "High", "instance": "a", "job": "node", "severity": "warning", "category": "capacity/cpu",
        "kind": "saturation", "where": "a!", "team": "infra",
    }  # fmt: skip
    assert fired.summary == "load of a is 9"
    assert (fired.first_at, fired.value, fired.metric) == (T0 + MINUTE, 9.0, "load")
    assert fired.evidence is not None
    assert fired.evidence.limit == 5
    scene.run(315)
    assert len(scene.symptoms) == 1, "kept firing for 30 s"
    scene.run(345)
    over = scene.symptoms[-1]
    assert (over.id, over.active) == (fired.id, False)
    assert scene.ruler.firing() == {"High": 0}


def test_a_short_one_never_fires_and_a_second_one_is_another_episode() -> None:
    assert load_story(60, 105).run(600).symptoms == []
    scene = Scene(groups_of(ALERT), {LOAD: lambda t: 9.0 if 60 <= t < 300 or t >= 600 else 1.0}).run(900)
    ids = [s.id for s in scene.symptoms if s.active]
    assert len(ids) == len(set(ids)) == 2


def test_a_value_that_moves_is_news_once_a_minute_at_most() -> None:
    scene = Scene(groups_of(ALERT), {LOAD: lambda t: 6.0 + t / 10}).run(600)
    news = [s for s in scene.symptoms if s.active]
    assert len({s.id for s in news}) == 1
    assert 3 <= len(news) <= 10
    steady = Scene(groups_of(ALERT), {LOAD: lambda t: 6.0 + 0.1 * (t % 2)}).run(600)
    assert len(steady.symptoms) == 1


def test_a_forecast_that_comes_nearer_as_foretold_is_no_news() -> None:
    text = """
groups:
  - name: f
    rules:
      - {alert: WillFill, expr: left > 0 < 3600, annotations: {impact_seconds: '{{ $value }}', summary: soon}}
"""
    left = labels_of("left", job="disk")
    as_foretold = Scene(groups_of(text), {left: lambda t: 1800 - t}).run(900)
    [told] = as_foretold.symptoms
    assert told.impact is not None
    assert told.impact.earliest < told.impact.likely == T0 + 1_800_000 < told.impact.latest
    sooner = Scene(groups_of(text), {left: lambda t: 1800 - t if t < 300 else 900 - t}).run(600)
    assert [s.impact.likely - T0 for s in sooner.symptoms if s.impact] == [1_800_000, 900_000]


@pytest.mark.parametrize(
    ("expr", "summary", "metric", "unit"),
    [
        ("load > 5", "{{ $value }}", "load", ""),
        ("max by (instance) (avg_over_time(load[1m])) > 5", "{{ $value }}", "load", ""),
        ("load / load > 0", "{{ $value | humanizePercentage }}", "load", "ratio"),
        ("100 * load / load > 0", "{{ $value | printf `%.1f` }}% used", "load", "percent"),
        ("load * 2 > 0", "{{ $value }}", "", ""),
    ],
)
def test_the_unit_is_what_the_annotation_says(expr: str, summary: str, metric: str, unit: str) -> None:
    text = f"groups: [{{name: u, rules: [{{alert: U, expr: '{expr}', annotations: {{summary: '{summary}'}}}}]}}]"
    [symptom] = Scene(groups_of(text), {LOAD: lambda t: 9.0}).run(0).symptoms
    assert symptom.metric == metric
    assert symptom.evidence is not None
    assert symptom.evidence.unit == unit


RECORD = """
groups:
  - name: r
    interval: 30s
    rules:
      - {record: 'job:load:sum', expr: sum by (job) (load), labels: {origin: rules}}
      - {record: 'job:load:twice', expr: '2 * job:load:sum'}
"""


def instant(ruler: Ruler, text: str, at: int) -> list[tuple[dict[str, str], float]]:
    value = ruler._engine.instant(parse(text), at)
    assert isinstance(value, Vector)
    return list(zip(value.labels.label_sets(), value.value.tolist(), strict=True))


def test_recorded_series_can_be_used_in_the_same_round_and_end_when_their_source_ends() -> None:
    scene = Scene(groups_of(RECORD), {LOAD: lambda t: 2.0 if t < 300 else None}).run(300)
    at = T0 + 300_000
    assert instant(scene.ruler, "job:load:sum", at) == [
        ({"__name__": "job:load:sum", "job": "node", "origin": "rules"}, 2.0)
    ]
    assert instant(scene.ruler, "job:load:twice", at)[0][1] == 4.0
    put(scene.store, {LOAD: [(T0 + 301_000, float(STALE))]})
    scene.run(330)
    assert instant(scene.ruler, "job:load:sum", T0 + 331_000) == []


def test_a_rule_that_fails_is_named_and_the_others_go_on() -> None:
    groups = groups_of("""
groups:
  - name: g
    rules:
      - {alert: Ambiguous, expr: 'load * on (job) load > 0'}
      - {alert: Fine, expr: load > 0}
  - name: limited
    limit: 1
    rules:
      - {alert: TooMany, expr: load > 0}
""")
    store = new_store()
    put(store, {LOAD: [(T0, 1.0)], labels_of("load", instance="b", job="node"): [(T0, 1.0)]})
    found = Ruler(store, groups).evaluate(T0)
    assert [name for name, _ in found.failures] == ["Ambiguous", "TooMany"]
    assert "many-to-many" in found.failures[0][1]
    assert "exceeded limit of 1 with 2 results" in found.failures[1][1]
    assert [s.name for s in found.symptoms] == ["Fine", "Fine"]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=12))
def test_the_same_whatever_the_steps(steps: list[int]) -> None:
    """Time moved in any steps gives the same symptoms as moved slot by slot: the samples are all there beforehand."""
    values = [1.0] * 8 + [9.0] * 14 + [1.0] * 8 + [7.0] * 20
    samples = {LOAD: [(T0 + i * 15_000, v) for i, v in enumerate(values)]}

    def play(ends: Sequence[int]) -> list[Symptom]:
        store = new_store()
        put(store, samples)
        ruler = Ruler(store, groups_of(ALERT) + groups_of(RECORD))
        out = list(ruler.evaluate(T0).symptoms)
        for end in ends:
            out += ruler.evaluate(T0 + end * 15_000).symptoms
        return out

    slots = len(values) - 1
    ends = sorted({min(slots, sum(steps[: i + 1])) for i in range(len(steps))} | {slots})
    assert play(ends) == play(range(1, slots + 1))


def test_a_restart_keeps_what_is_pending_and_tells_nothing_twice() -> None:
    scene = load_story(60, 10_000).run(105)
    dumped = json.loads(json.dumps(scene.ruler.state()))
    again = Ruler(scene.store, groups_of(ALERT))
    again.restore(dumped)
    put(scene.store, {LOAD: [(T0 + 120_000, 9.0)]})
    [fired] = again.evaluate(T0 + 120_000).symptoms
    assert fired.first_at == T0 + MINUTE
    once_more = Ruler(scene.store, groups_of(ALERT))
    once_more.restore(json.loads(json.dumps(again.state())))
    put(scene.store, {LOAD: [(T0 + 135_000, 9.0)]})
    assert once_more.evaluate(T0 + 135_000).symptoms == ()
    with pytest.raises(ValueError, match="version 9"):
        once_more.restore({"version": 9})


def test_a_reload_keeps_the_state_of_rules_that_stay_and_ends_those_that_go() -> None:
    other = groups_of(ALERT.replace("High", "Higher").replace("load > 5", "load > 6").replace("name: g", "name: h"))
    both: tuple[Group, ...] = groups_of(ALERT) + other
    scene = Scene(both, {LOAD: lambda t: 9.0}).run(60)
    assert scene.fired == {"High", "Higher"}
    ruler = scene.ruler
    prepared = ruler.prepare(groups_of(ALERT), label_service, {})
    assert len(ruler.groups) == 2, "preparing touches nothing that runs"
    ruler.commit(prepared)
    found = ruler.evaluate(T0 + 75_000)
    assert [(s.name, s.active) for s in found.symptoms] == [("Higher", False)]
    changed = groups_of(ALERT.replace("for: 1m", "for: 10m"))
    ruler.commit(ruler.prepare(changed, label_service, {}))
    found = ruler.evaluate(T0 + 90_000)
    assert [(s.name, s.active) for s in found.symptoms] == [("High", False)]
    assert [i.state for i in ruler.groups[0].rules[0].active.values()] == ["pending"]


def test_query_offset_looks_back_and_slots_are_aligned() -> None:
    text = "groups: [{name: o, interval: 1m, query_offset: 2m, rules: [{record: 'late:load', expr: load}]}]"
    scene = Scene(groups_of(text), {LOAD: lambda t: t}).run(300)
    ids = scene.store.index.select(parse("late:load").matchers)  # type: ignore[union-attr]
    window = scene.store.window(ids, 0, T0 + 10**7)
    assert window.at.tolist() == [T0 + m * MINUTE for m in (0, 1, 2, 3)]
    assert np.array_equal(window.value, [0.0, 60.0, 120.0, 180.0])


def test_skipping_does_not_make_up_for_what_was_missed() -> None:
    scene = load_story(0, 60)
    scene.run(0)
    scene.ruler.skip_to(T0 + 100 * MINUTE)
    found = scene.ruler.evaluate(T0 + 100 * MINUTE + 15_000)
    assert found.symptoms == ()
