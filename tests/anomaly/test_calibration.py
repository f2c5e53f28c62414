"""A score of s comes once in 10^s ordinary values, whatever their distribution; an anomaly does not hide the next."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from detector.anomaly.calibrate import Tail
from detector.anomaly.views import Views

DRAWS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda dice, shape: dice.normal(100, 10, shape),
    "lognormal": lambda dice, shape: dice.lognormal(1, 0.7, shape),
    "t3": lambda dice, shape: dice.standard_t(3, shape),
    "poisson": lambda dice, shape: dice.poisson(4, shape).astype(float),
    "exponential": lambda dice, shape: dice.exponential(3, shape),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_rate_over_s_is_ten_to_the_minus_s(name: str) -> None:
    dice = np.random.default_rng(7)
    series, length = 200, 2500
    x = DRAWS[name](dice, (length, series)).ravel()
    rows = np.tile(np.arange(series, dtype=np.int32), length)
    at = np.repeat(np.arange(length, dtype=np.int64) * 300_000, series)
    views = Views()
    views.grow(series)
    scores = views.step(rows, at, x, np.ones(len(x), np.bool_))
    scores = scores[np.isfinite(scores)]
    for s in (2, 3):
        rate = float(np.mean(scores >= s))
        assert 0.2 * 10**-s < rate < 5 * 10**-s, (s, rate)


def test_the_tail_of_an_exponential_is_exact_enough_to_read_p_from_it() -> None:
    dice = np.random.default_rng(8)
    z = dice.exponential(1.0, 300_000).astype(np.float32)
    rows = np.tile(np.arange(100, dtype=np.int32), 3000)
    tail = Tail()
    tail.grow(100)
    scores = tail.step(rows, z, np.ones(len(z), np.bool_))[100_000:]
    for s in (2, 3, 4):
        assert 0.4 * 10**-s < float(np.mean(scores >= s)) < 2.5 * 10**-s


def test_a_catastrophe_does_not_make_the_next_one_look_ordinary() -> None:
    dice = np.random.default_rng(9)
    z = dice.exponential(1.0, 4000).astype(np.float32)
    z[2000] = z[3000] = 100.0
    tail = Tail()
    tail.grow(1)
    scores = tail.step(np.zeros(4000, np.int32), z, np.ones(4000, np.bool_))
    assert scores[2000] > 6
    assert scores[3000] > 5


def test_a_lasting_shift_is_learned() -> None:
    dice = np.random.default_rng(10)
    x = np.concatenate([dice.normal(10, 1, 1500), dice.normal(30, 1, 1500)])
    views = Views()
    views.grow(1)
    at = np.arange(3000, dtype=np.int64) * 60_000
    scores = views.step(np.zeros(3000, np.int32), at, x, np.ones(3000, np.bool_))
    assert np.max(scores[1500:1505]) > 3, "the shift itself is seen"
    assert np.mean(scores[2000:] > 3) < 0.01, "and then it is the new normal"
