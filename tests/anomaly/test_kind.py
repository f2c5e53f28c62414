"""What the models see of a series: gauges as they are, counters as rates, constants not at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.anomaly.kind import COUNTER, GAP, GAUGE, SKIP, Kinds, kind_of


@pytest.mark.parametrize(
    ("metric", "type", "kind"),
    [
        ("http_requests_total", "", COUNTER),
        ("http_request_duration_seconds_count", "", COUNTER),
        ("http_request_duration_seconds_sum", "", COUNTER),
        ("http_request_duration_seconds_bucket", "", SKIP),
        ("node_netstat_Tcp_InSegs", "counter", COUNTER),
        ("pg_stat_activity_count", "gauge", GAUGE),
        ("pg_stat_activity_count", "", GAUGE),
        ("rpc_duration_seconds_count", "summary", COUNTER),
        ("app_build_info", "", SKIP),
        ("process_start_time_seconds", "", SKIP),
        ("up", "", SKIP),
        ("node_load1", "", GAUGE),
        ("mine", "", SKIP),
    ],
)
def test_kinds_by_type_and_name(metric: str, type: str, kind: int) -> None:
    assert kind_of(metric, type, frozenset(["mine"])) == kind


def seen(kind: int, times: list[int], values: list[float]) -> list[float]:
    kinds = Kinds()
    kinds.grow(1)
    kinds.kind[0] = kind
    _, _, x = kinds.derive(np.zeros(len(times), np.int32), np.array(times), np.array(values))
    return x.tolist()


def test_a_counter_is_its_rate_a_second_through_resets() -> None:
    times = [0, 10_000, 20_000, 30_000, 40_000]
    assert seen(COUNTER, times, [5, 15, 35, 4, 24]) == [1.0, 2.0, 0.4, 2.0]


def test_a_counter_starts_anew_after_a_gap_and_after_a_stale_marker() -> None:
    assert seen(COUNTER, [0, 1000, 2000 + GAP, 3000 + GAP], [0, 1, 1000, 1002]) == [1.0, 2.0]
    assert seen(COUNTER, [0, 1000, 2000, 3000, 4000], [0, 1, float("nan"), 50, 53]) == [1.0, 3.0]


def test_a_gauge_is_seen_from_its_first_change_on() -> None:
    assert seen(GAUGE, [0, 1, 2, 3, 4], [7, 7, 7, 8, 8]) == [8, 8]
    assert seen(GAUGE, [0, 1, 2, 3, 4], [7, 8, float("inf"), float("nan"), 9]) == [8, 9]


def test_constants_and_idle_counters_take_no_row() -> None:
    kinds = Kinds()
    kinds.grow(1000)
    kinds.kind[:] = np.tile([GAUGE, COUNTER], 500)
    ids = np.arange(1000, dtype=np.int32)
    for step in range(20):
        use, rows, _ = kinds.derive(ids, np.full(1000, step * 15_000), np.full(1000, 3.0))
        assert not use.any()
        assert len(rows) == 0
    assert kinds.rows == 0


def test_rows_come_back_when_series_go() -> None:
    kinds = Kinds()
    for generation in range(50):
        ids = np.arange(100, dtype=np.int32)
        kinds.grow(100)
        kinds.kind[ids] = GAUGE
        kinds.derive(ids, np.full(100, generation * 1000), np.zeros(100))
        _, rows, _ = kinds.derive(ids, np.full(100, generation * 1000 + 1), np.ones(100))
        assert len(set(rows.tolist())) == 100
        assert sorted(kinds.forget(ids)) == sorted(rows)
    assert kinds.rows < 2000


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(allow_nan=True, allow_infinity=True)), min_size=1, max_size=200),
    st.lists(st.integers(1, 50), max_size=6),
)
def test_batches_change_nothing_and_no_value_does_harm(samples: list[tuple[int, float]], cuts: list[int]) -> None:
    ids = np.array([id for id, _ in samples], np.int32)
    at = np.arange(len(samples), dtype=np.int64) * 1000
    value = np.array([v for _, v in samples])
    whole, parts = Kinds(), Kinds()
    for kinds in (whole, parts):
        kinds.grow(6)
        kinds.kind[:6] = [GAUGE, COUNTER, SKIP, GAUGE, COUNTER, 0]
    use, rows, x = whole.derive(ids, at, value)
    got: list[float] = []
    begin = 0
    for size in [*cuts, len(samples)]:
        part = slice(begin, begin + size)
        got += parts.derive(ids[part], at[part], value[part])[2].tolist()
        begin += size
    np.testing.assert_array_equal(np.array(got), x)
    assert np.all(rows >= 0)
    assert np.all(rows < max(whole.rows, 1))
    assert not use[np.isin(ids, [2, 5])].any()
    back = Kinds()
    back.restore({name: array.copy() for name, array in whole.state().items()})
    after = ids, at + 10_000_000, value
    np.testing.assert_array_equal(back.derive(*after)[2], whole.derive(*after)[2])


def test_a_state_that_does_not_fit_is_refused() -> None:
    kinds = Kinds()
    kinds.grow(4)
    state = kinds.state()
    state["row"] = np.full(len(state["row"]), 9, np.int32)
    with pytest.raises(ValueError, match="outside the models"):
        Kinds().restore(state)
