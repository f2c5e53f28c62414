"""Rule files as people have them: the packs load, and every mistake is named with its line while the rest loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.rules.groups import load, load_text, spans
from detector.rules.promql.ast import Subquery, walk
from tests.rules.scene import HOUR, MINUTE


def test_both_packs_load(shared_data: Path) -> None:
    files = sorted((shared_data / "promql" / "rule-packs").rglob("*.y*ml"))
    loaded = load(files)
    assert loaded.problems == ()
    rules = [rule for group in loaded.groups for rule in group.rules]
    assert len(rules) == 995
    assert sum(any(isinstance(node, Subquery) for node in walk(rule.expr)) for rule in rules) == 1


@pytest.mark.parametrize(
    ("text", "line", "rule", "message"),
    [
        ("groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'sum('}", 4, "A", "unclosed left parenthesis"),
        ("groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'info(up)'}", 4, "A", "info"),
        ("groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'up[5m]'}", 4, "A", "not a matrix"),
        ("groups:\n- name: g\n  rules:\n  - {alert: A}", 4, "A", "`expr` must be set"),
        ("groups:\n- name: g\n  rules:\n  - {expr: up}", 4, "", "exactly one of"),
        ("groups:\n- name: g\n  rules:\n  - {record: 'a-b', expr: up}", 4, "a-b", "invalid recording rule name"),
        ("groups:\n- name: g\n  rules:\n  - {record: a, expr: up, for: 1m}", 4, "a", "alerting rules only"),
        ("groups:\n- name: g\n  rules:\n  - {alert: A, expr: up, for: 1}", 4, "A", "not a duration"),
        ("groups:\n- name: g\n  rules:\n  - {alert: A, expr: up, fro: 1m}", 4, "A", "unknown field 'fro'"),
        ("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    labels: {9x: y}", 6, "A", "'9x'"),
        ("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    annotations: {s: '{{ if }}'}", 6, "A", "'s'"),
        ("groups:\n- interval: 1m", 2, "", "has no name"),
        ("groups:\n- name: g\n- name: g", 3, "g", "used twice"),
        ("groups:\n- name: g\n  interval: soon", 3, "g", "not a duration"),
        ("groups: 7", 1, "", "a list is expected"),
        ("- a", 1, "", "a mapping is expected"),
        ("groups:\n  - {", 2, "", "not YAML"),
    ],
)
def test_every_mistake_is_named(text: str, line: int, rule: str, message: str) -> None:
    [problem] = load_text(text, "x.yml").problems
    assert (problem.file, problem.rule) == ("x.yml", rule)
    assert problem.line in (line, line + 1)
    assert message in problem.message


def test_a_bad_rule_leaves_the_others() -> None:
    text = "groups: [{name: g, rules: [{alert: A, expr: up}, {alert: B, expr: '1 +'}, {alert: C, expr: up}]}]"
    loaded = load_text(text, "x")
    assert [r.name for r in loaded.groups[0].rules] == ["A", "C"]
    assert [p.rule for p in loaded.problems] == ["B"]
    assert str(loaded.problems[0]).startswith("x:1: B: could not parse expression")


def test_a_missing_file_is_a_problem() -> None:
    [problem] = load([Path("nowhere.yml")]).problems
    assert "cannot be read" in problem.message


def test_spans_follow_from_the_rules() -> None:
    text = """
groups:
  - name: g
    interval: 1m
    query_offset: 1m
    rules:
      - {record: a, expr: 'rate(x[6h] offset 1h) + y'}
      - {record: b, expr: 'max_over_time(rate(z[1h])[3h:5m])'}
      - {record: c, expr: 'sum_over_time({job="any"}[2h])'}
"""
    default, metrics = spans(load_text(text, "x").groups, HOUR)
    assert default == 2 * HOUR + 3 * MINUTE
    assert metrics == {"x": 7 * HOUR + 3 * MINUTE, "z": 4 * HOUR + 5 * MINUTE + 3 * MINUTE}
