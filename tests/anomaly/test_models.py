"""Every model against a plain reference, and what all of them promise: order, batches, state, hostile values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.anomaly.base import LARGEST, Model
from detector.anomaly.calibrate import Tail
from detector.anomaly.combine import Combination
from detector.anomaly.fluctuation import Fluctuation
from detector.anomaly.level import Level
from detector.anomaly.season import BINS, DAY, HOUR, Season
from detector.anomaly.views import Views
from tests.anomaly import reference

MODELS = [Level, Season, Fluctuation]


def steps(model: Model, at: np.ndarray, x: np.ndarray, row: int = 0) -> np.ndarray:
    rows = np.full(len(x), row, np.int32)
    return model.step(rows, at, np.asarray(x, np.float64), np.ones(len(x), np.bool_))


def every(minutes: float, count: int) -> np.ndarray:
    return (np.arange(count) * minutes * 60_000).astype(np.int64)


def near(got: np.ndarray, expected: list[float]) -> None:
    np.testing.assert_allclose(got, np.array(expected), rtol=2e-2, atol=2e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 1.0, 50.0]), st.floats(-100, 100))
def test_level_scores_as_its_reference(seed: int, spread: float, centre: float) -> None:
    x = np.random.default_rng(seed).normal(centre, spread, 150)
    model = Level()
    model.grow(1)
    near(steps(model, every(1, 150), x), reference.level_scores(x.tolist()))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 1.0, 50.0]))
def test_fluctuation_scores_as_its_reference(seed: int, spread: float) -> None:
    x = np.random.default_rng(seed).normal(5.0, spread, 150)
    model = Fluctuation()
    model.grow(1)
    near(steps(model, every(1, 150), x), reference.fluctuation_scores(x.tolist()))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([5.0, 15.0, 47.0]))
def test_season_scores_as_its_reference(seed: int, minutes: float) -> None:
    count = int(3 * 1440 / minutes)
    at = every(minutes, count)
    wave = 10 * np.sin(at / DAY * 2 * np.pi)
    x = wave + np.random.default_rng(seed).normal(100, 1, count)
    model = Season()
    model.grow(1)
    near(steps(model, at, x), reference.season_scores(at.tolist(), x.tolist()))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_tail_scores_as_its_reference(seed: int) -> None:
    z = np.random.default_rng(seed).exponential(2.0, 600).astype(np.float32)
    tail = Tail()
    tail.grow(1)
    got = tail.step(np.zeros(600, np.int32), z, np.ones(600, np.bool_))
    near(got, reference.tail_scores([float(v) for v in z]))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_the_combination_scores_as_its_reference(seed: int, signed: bool) -> None:
    dice = np.random.default_rng(seed)
    x = dice.normal(0.0 if signed else 100.0, 5.0, 300)
    views = dice.exponential(1.0, (3, 300)).astype(np.float32)
    views[:, :30] = np.nan
    views[1, dice.random(300) < 0.3] = np.nan
    model = Combination()
    model.grow(1)
    got = model.step(np.zeros(300, np.int32), x, views, np.ones(300, np.bool_))
    near(got, reference.combined_scores(x.tolist(), [[float(v) for v in view] for view in views]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 400), min_size=1, max_size=8))
def test_neither_batch_size_nor_the_order_of_series_changes_a_score(seed: int, cuts: list[int]) -> None:
    dice = np.random.default_rng(seed)
    n, series = 400, 4
    at = np.repeat(every(30, n), series)
    rows = np.tile(np.arange(series, dtype=np.int32), n)
    x = dice.normal(10, 1, n * series)
    whole, parts = Views(), Views()
    whole.grow(series)
    parts.grow(series)
    learn = np.ones(n * series, np.bool_)
    expected = whole.step(rows, at, x, learn)
    got = np.empty_like(expected)
    begin = 0
    for size in [*cuts, n * series]:
        end = min(begin + size, n * series)
        # Within a batch the samples of one series keep their order, the series do not.
        order = begin + np.argsort(dice.permutation(series)[rows[begin:end]], kind="stable")
        got[order] = parts.step(rows[order], at[order], x[order], learn[order])
        begin = end
    np.testing.assert_array_equal(got, expected)


def test_scores_of_a_prefix_are_the_prefix_of_the_scores() -> None:
    x = np.random.default_rng(1).normal(0, 1, 1000)
    at = every(10, 1000)
    whole, half = Views(), Views()
    whole.grow(1)
    half.grow(1)
    rows, learn = np.zeros(1000, np.int32), np.ones(1000, np.bool_)
    np.testing.assert_array_equal(
        whole.step(rows, at, x, learn)[:500], half.step(rows[:500], at[:500], x[:500], learn[:500])
    )


def test_state_and_restore_change_nothing() -> None:
    dice = np.random.default_rng(2)
    at, rows = np.repeat(every(30, 300), 5), np.tile(np.arange(5, dtype=np.int32), 300)
    x, learn = dice.normal(50, 3, 1500), np.ones(1500, np.bool_)
    going, stopped = Views(), Views()
    going.grow(5)
    stopped.grow(5)
    half = slice(0, 750), slice(750, 1500)
    for views in (going, stopped):
        views.step(rows[half[0]], at[half[0]], x[half[0]], learn[half[0]])
    back = Views()
    back.restore({name: array.copy() for name, array in stopped.state().items()})
    rest = half[1]
    np.testing.assert_array_equal(
        going.step(rows[rest], at[rest], x[rest], learn[rest]), back.step(rows[rest], at[rest], x[rest], learn[rest])
    )


def test_state_of_another_shape_is_refused_by_name() -> None:
    model = Level()
    model.grow(3)
    state = model.state()
    state["rest"] = np.zeros((3, 7), np.float32)
    with pytest.raises(ValueError, match="'rest'"):
        Level().restore(state)
    with pytest.raises(ValueError, match="found nothing"):
        Tail().restore({})


def test_a_season_slot_outside_the_pool_is_refused() -> None:
    model = Season()
    model.grow(1)
    steps(model, every(30, 10), np.arange(10.0))
    state = {name: array.copy() for name, array in model.state().items()}
    state["slot"][0] = 10_000
    with pytest.raises(ValueError, match="outside the pool"):
        Season().restore(state)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.sampled_from([0.0, -0.0, 5e-324, LARGEST, -LARGEST, 1e300, -1e300]), st.floats(
    allow_nan=False, allow_infinity=False)), min_size=1, max_size=300))  # fmt: skip
def test_no_finite_value_poisons_a_series(hostile: list[float]) -> None:
    views = Views()
    views.grow(1)
    learn = np.ones(len(hostile), np.bool_)
    first = views.step(np.zeros(len(hostile), np.int32), every(30, len(hostile)), np.array(hostile), learn)
    assert not np.any(np.isinf(first))
    calm = np.random.default_rng(0).normal(10, 1, 2000)
    at = every(30, len(hostile) + 2000)[len(hostile) :]
    later = views.step(np.zeros(2000, np.int32), at, calm, np.ones(2000, np.bool_))
    assert np.all(np.isfinite(later[-1000:]))
    assert np.all(later >= 0, where=np.isfinite(later))


@pytest.mark.parametrize("make", MODELS)
def test_a_reset_row_is_as_new(make: type[Model]) -> None:
    at, x = every(30, 200), np.random.default_rng(3).normal(0, 1, 200)
    used, new = make(), make()
    used.grow(2)
    new.grow(2)
    steps(used, at, 1000 + x, row=1)
    used.reset(np.array([1], np.int32))
    np.testing.assert_array_equal(steps(used, at, x, row=1), steps(new, at, x, row=1))


def test_a_row_that_may_not_learn_is_scored_and_unchanged() -> None:
    at, x = every(30, 200), np.random.default_rng(4).normal(0, 1, 200)
    views = Views()
    views.grow(1)
    rows = np.zeros(200, np.int32)
    views.step(rows, at, x, np.ones(200, np.bool_))
    before = {name: array.copy() for name, array in views.state().items()}
    later = at + 200 * 1_800_000
    scores = views.step(rows, later, x + 50, np.zeros(200, np.bool_))
    assert np.nanmax(scores) > 3
    after = views.state()
    learned = [name for name in before if not name.startswith("combination")]
    for name in learned:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)


def test_a_season_is_given_only_to_series_that_last() -> None:
    model = Season()
    model.grow(100)
    rows = np.arange(100, dtype=np.int32)
    learn = np.ones(100, np.bool_)
    for at in range(0, HOUR, 60_000):
        model.step(rows, np.full(100, at), np.ones(100), learn)
    assert model.profiles() == 0
    model.step(rows[:30], np.full(30, HOUR), np.ones(30), learn[:30])
    assert model.profiles() == 30
    model.reset(rows[:10])
    assert model.profiles() == 20
    model.step(rows[:10], np.full(10, 0), np.ones(10), learn[:10])
    model.step(rows[:10], np.full(10, HOUR), np.ones(10), learn[:10])
    assert model.profiles() == 30
    assert model.state()["pool"].shape[1] == BINS + 3


def test_shift_and_scale_of_a_series_do_not_matter() -> None:
    at, x = every(30, 500), np.random.default_rng(5).normal(100, 5, 500)
    plain, scaled = Views(), Views()
    rows, learn = np.zeros(500, np.int32), np.ones(500, np.bool_)
    plain.grow(1)
    scaled.grow(1)
    near(scaled.step(rows, at, 1e6 * x, learn), plain.step(rows, at, x, learn).tolist())
