"""Relabelling does what Prometheus documents, action by action; tests/real compares with a real one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from detector.ingest.options import RelabelConfig
from detector.ingest.relabel import Relabeller

BASE = {"a": "foo", "b": "bar", "c0": "baz", "__meta_x_env": "prod", "__meta_x_zone": "eu"}


def relabel(labels: dict[str, str], *steps: dict[str, Any]) -> dict[str, str] | None:
    return Relabeller([RelabelConfig.model_validate(step) for step in steps])(labels)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"source_labels": ["a"], "target_label": "c"}, {"c": "foo"}),
        ({"source_labels": ["a", "b"], "target_label": "c", "separator": "-"}, {"c": "foo-bar"}),
        ({"source_labels": ["a", "none"], "target_label": "c"}, {"c": "foo;"}),
        ({"source_labels": ["a"], "regex": "f(.*)", "target_label": "d", "replacement": "ch${1}-ch${1}"},
         {"d": "choo-choo"}),
        ({"source_labels": ["a"], "regex": "f(?P<rest>.*)", "target_label": "d", "replacement": "$rest.$1.$$.$9"},
         {"d": "oo.oo.$."}),
        ({"source_labels": ["a"], "regex": "(f)(.*)", "target_label": "d", "replacement": "$1x"}, {}),
        ({"source_labels": ["a"], "regex": "o", "target_label": "d", "replacement": "y"}, {}),  # anchored
        ({"source_labels": ["a"], "regex": "foo|x", "target_label": "d", "replacement": "y"}, {"d": "y"}),
        ({"source_labels": ["a"], "regex": "x|.*o", "target_label": "${1}", "replacement": "y"}, {}),
        ({"source_labels": ["a"], "regex": "(.*)", "target_label": "l_$1", "replacement": "y"}, {"l_foo": "y"}),
        ({"target_label": "b", "replacement": ""}, {"b": None}),
        ({"target_label": "b", "replacement": 7}, {"b": "7"}),
        ({"source_labels": ["a"], "target_label": "u", "action": "uppercase"}, {"u": "FOO"}),
        ({"source_labels": ["c0"], "target_label": "d", "action": "hashmod", "modulus": 1000}, {"d": "976"}),
        ({"source_labels": ["a", "b"], "target_label": "d", "action": "hashmod", "modulus": 1000}, {"d": "750"}),
        ({"regex": "__meta_x_(.+)", "action": "labelmap"}, {"env": "prod", "zone": "eu"}),
        ({"regex": "__meta_x_(.+)", "replacement": "x_${1}", "action": "labelmap"}, {"x_env": "prod", "x_zone": "eu"}),
        ({"regex": "__meta_.*", "action": "labeldrop"}, {"__meta_x_env": None, "__meta_x_zone": None}),
        ({"regex": "[ab]|c0", "action": "labelkeep"}, {"__meta_x_env": None, "__meta_x_zone": None}),
    ],
)  # fmt: skip
def test_each_action_changes_what_it_says(step: dict[str, Any], expected: dict[str, str | None]) -> None:
    want = {name: value for name, value in (BASE | expected).items() if value is not None}
    assert relabel(BASE, step) == want


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        ({"source_labels": ["a"], "regex": "fo+", "action": "keep"}, True),
        ({"source_labels": ["a"], "regex": "o+", "action": "keep"}, False),
        ({"source_labels": ["a", "b"], "regex": "foo;bar", "action": "drop"}, False),
        ({"source_labels": ["none"], "regex": "", "action": "drop"}, False),
        ({"source_labels": ["a"], "target_label": "b", "action": "keepequal"}, False),
        ({"source_labels": ["a"], "target_label": "a", "action": "keepequal"}, True),
        ({"source_labels": ["a"], "target_label": "b", "action": "dropequal"}, True),
        ({"source_labels": ["a"], "target_label": "a", "action": "dropequal"}, False),
    ],
)
def test_keeping_and_dropping(step: dict[str, Any], kept: bool) -> None:
    assert (relabel(BASE, step) == BASE) is kept


def test_steps_see_what_the_steps_before_them_did() -> None:
    assert relabel(
        {"__address__": "10.0.0.1:80"},
        {"source_labels": ["__address__"], "regex": "([^:]+):.*", "target_label": "host", "replacement": "$1"},
        {"source_labels": ["host"], "regex": "10\\..*", "action": "keep"},
        {"source_labels": ["host"], "target_label": "__address__", "replacement": "$1:9100"},
    ) == {"__address__": "10.0.0.1:9100", "host": "10.0.0.1"}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"action": "replace"}, "needs target_label"),
        ({"action": "hashmod", "target_label": "x"}, "needs a modulus"),
        ({"action": "hashmod", "target_label": "x-y", "modulus": 2}, "is not a label name"),
        ({"action": "keep", "regex": "("}, "not a regular expression of RE2: missing )"),
        ({"action": "keep", "regex": "(?=x)"}, "not a regular expression of RE2"),
        ({"action": "explode"}, "labelmap"),
        ({"action": "keep", "sources": []}, "sources"),
    ],
)
def test_a_step_that_cannot_work_is_refused_with_the_reason(step: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("(", r"\(").replace(")", r"\)")):
        RelabelConfig.model_validate(step)


@given(
    st.dictionaries(st.sampled_from(["a", "b", "__x", "c_1"]), st.text(max_size=10)),
    st.sampled_from(["$1", "${1}", "$", "${", "$$1", "x$0y", "${a}", "$1$2"]),
    st.sampled_from(["(.*)", "", "(a|b)*", "(?i)x(.)", ".+?(.)", "[^;]*;(.*)"]),
)
def test_any_labels_go_through(labels: dict[str, str], replacement: str, regex: str) -> None:
    got = relabel(
        labels, {"source_labels": ["a", "b"], "regex": regex, "replacement": replacement, "target_label": "t"},
        {"regex": regex, "replacement": "m_$1", "action": "labelmap"},
    )  # fmt: skip
    assert got is not None
    assert all(got.values())
