"""The index finds what a plain loop over label sets finds, through births, releases and reuse of ids."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.nouns import Ids, LabelSet
from detector.series.labels import Index, Matcher

NAMES = ["__name__", "a", "b", "le"]
VALUES = ["up", "x", "y", "xy", "0.5", "é\n"]
PATTERNS = ["x.*", "", ".*", ".+", "x|y", "[xy]+", "(?i)X", "0.5", "é."]

label_sets = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES)).map(lambda d: tuple(sorted(d.items())))
matchers = st.one_of(
    st.builds(Matcher, st.sampled_from([*NAMES, "none"]), st.sampled_from(["=", "!="]), st.sampled_from(["", *VALUES])),
    st.builds(Matcher, st.sampled_from([*NAMES, "none"]), st.sampled_from(["=~", "!~"]), st.sampled_from(PATTERNS)),
)


def fits(labels: LabelSet, m: Matcher) -> bool:
    text = dict(labels).get(m.name, "")
    if m.op in ("=", "!="):
        return (text == m.value) == (m.op == "=")
    return (re.fullmatch(m.value, text, re.DOTALL) is not None) == (m.op == "=~")


def ids(*numbers: int) -> Ids:
    return np.array(numbers, np.int32)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_selection_agrees_with_a_plain_loop_through_births_and_releases(data: st.DataObject) -> None:
    index, plain = Index(), dict[int, LabelSet]()
    for _ in range(data.draw(st.integers(1, 6))):
        for labels in data.draw(st.lists(label_sets, max_size=12)):
            id = index.intern(labels, "t")
            assert plain.get(id, labels) == labels
            plain[id] = labels
        if plain and data.draw(st.booleans()):
            out = data.draw(st.sets(st.sampled_from(sorted(plain))))
            index.release(ids(*out))
            for id in out:
                del plain[id]
        asked = data.draw(st.lists(matchers, max_size=3))
        expected = sorted(id for id, labels in plain.items() if all(fits(labels, m) for m in asked))
        assert index.select(asked).tolist() == expected
        assert index.select(asked).tolist() == expected
        assert index.label_names() == sorted({n for labels in plain.values() for n, _ in labels})
        for name in NAMES:
            assert index.label_values(name) == sorted({v for ls in plain.values() for n, v in ls if n == name})
    for id, labels in plain.items():
        assert tuple(index.labels_of(id).items()) == labels
        assert index.find(labels) == id
        assert index.string(int(index.label_column(ids(id), "a")[0])) == dict(labels).get("a", "")


def test_one_label_set_is_one_series() -> None:
    index = Index()
    first = index.intern((("a", "1"),), "t")
    assert index.intern((("a", "1"),), "other") == first
    assert index.target_of(first) == "t"


def test_births_and_releases_are_told_once_in_order() -> None:
    index = Index()
    a = index.intern((("a", "1"),), "t", "counter")
    born, gone = index.drain()
    assert [(b.id, b.labels, b.target, b.type) for b in born] == [(a, (("a", "1"),), "t", "counter")]
    assert len(gone) == 0
    index.release(ids(a))
    b = index.intern((("a", "2"),), "t")
    assert b == a
    born, gone = index.drain()
    assert gone.tolist() == [a]
    assert born[0].labels == (("a", "2"),)
    assert index.drain()[0] == ()


def test_a_series_that_came_and_went_unseen_is_not_told() -> None:
    index = Index()
    index.release(ids(index.intern((("a", "1"),), "t")))
    born, gone = index.drain()
    assert (born, gone.tolist()) == ((), [])


def test_the_limit_holds_for_new_series_only() -> None:
    index = Index()
    a = index.intern((("a", "1"),), "t", limit=1)
    assert index.intern((("a", "2"),), "t", limit=1) == -1
    assert index.intern((("a", "1"),), "t", limit=1) == a


def test_a_pattern_that_is_not_re2_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(\?=x\)"):
        Matcher("a", "=~", "(?=x)")


def test_texts_vanish_with_their_last_series() -> None:
    index = Index()
    for i in range(5000):
        id = index.intern((("__name__", "m"), ("pod", f"pod-{i}")), f"target-{i}")
        index.release(ids(id))
    assert len(index.strings) < 10
    assert index.capacity == 1
    assert index.bytes() < 40_000
