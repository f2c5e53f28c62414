"""Faults that grow are forecast in time and with the right time; what only looks like one is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.anomaly import legs, trend
from detector.anomaly.options import AnomalyOptions, ForecastOptions, LimitOptions
from detector.nouns import Symptom
from tests.anomaly.feeding import MINUTE, SECOND, Feed, every, run

QUIET = 200  # samples of calm before the fault
SCRAPE = 15 * SECOND


def noise(count: int, seed: int = 0, size: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, size, count)


def opened(symptoms: list[Symptom]) -> list[Symptom]:
    first: dict[str, Symptom] = {}
    for symptom in symptoms:
        first.setdefault(symptom.id, symptom)
    return list(first.values())


def connections(values: np.ndarray, scrape: int = SCRAPE, limit: float = 1000.0) -> list[Symptom]:
    feed = Feed(every(scrape, len(values)))
    feed.add("db_connections_used", np.maximum(values, 0)).add("db_connections_max", limit)
    return run(feed)[0]


def leak(grow: np.ndarray, seed: int = 0, calm: int = QUIET) -> np.ndarray:
    return np.concatenate([np.full(calm, 50.0), 50 + grow]) + noise(calm + len(grow), seed, 4)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("samples", [100, 240, 400])
def test_a_linear_leak_is_foreseen_and_its_time_is_right(seed: int, samples: int) -> None:
    grow = 950 * np.arange(samples) / samples
    found = opened(connections(leak(grow, seed)))
    assert len(found) == 1
    (symptom,) = found
    full = int(every(SCRAPE, QUIET + samples + 1)[-1])
    left = full - symptom.last_at
    assert left > 0.4 * samples * SCRAPE, "early"
    assert symptom.impact is not None
    assert abs(symptom.impact.likely - full) < 0.3 * left, "and right"
    assert symptom.impact.earliest <= symptom.impact.likely <= symptom.impact.latest


@pytest.mark.parametrize("seed", range(3))
def test_an_exponential_leak_is_foreseen(seed: int) -> None:
    grow = 950 * np.expm1(np.arange(240) / 80) / np.expm1(3)
    found = opened(connections(leak(grow, seed)))
    assert len(found) == 1
    assert found[0].last_at < every(SCRAPE, QUIET + 240)[-1] - 10 * MINUTE


@pytest.mark.parametrize("calm", [45, 90, 600])
@pytest.mark.parametrize("samples", [180, 240])
def test_a_leak_of_minutes_is_foreseen_when_servers_are_scraped_every_second(calm: int, samples: int) -> None:
    grow = 950 * np.arange(samples) / samples
    found = opened(connections(leak(grow, calm=calm), scrape=SECOND))
    assert len(found) == 1
    full = int(every(SECOND, calm + samples + 1)[-1])
    left = full - found[0].last_at
    assert left > 0.3 * samples * SECOND
    assert found[0].impact is not None
    assert abs(found[0].impact.likely - full) < 0.3 * left


def test_a_disk_that_fills_is_told_in_words_people_use() -> None:
    size = 64 * 2**20
    free = np.concatenate([np.full(QUIET, 60e6), 60e6 * (1 - np.arange(150) / 200)]) + noise(QUIET + 150, 1, 2e4)
    feed = Feed(every(SCRAPE, len(free)))
    mount = {"mountpoint": "/data", "instance": "db:9100", "job": "node"}
    feed.add("node_filesystem_avail_bytes", free, **mount).add("node_filesystem_size_bytes", size, **mount)
    (symptom,) = opened(run(feed)[0])
    assert (symptom.detector, symptom.kind, symptom.category) == ("forecast", "exhaustion", "capacity/disk")
    assert (symptom.service, symptom.item) == ("node", "db:9100 /data")
    assert symptom.summary.startswith("Space of db:9100 /data: ")
    assert "MiB left and falling, used up in about" in symptom.summary
    assert symptom.evidence is not None
    assert symptom.evidence.unit == "bytes"
    assert symptom.evidence.limit == 0
    assert len(symptom.evidence.at) == len(symptom.evidence.value) > 30
    ahead = symptom.evidence.forecast
    assert [point[0] for point in ahead] == sorted(point[0] for point in ahead)
    assert all(low <= likely <= high for _, low, likely, high in ahead)


HARMLESS = {
    "sawtooth from the first sample": lambda n: 100 + 600 * (np.arange(n) % 160) / 160,
    "long sawtooth from the first sample": lambda n: 50 + 700 * (np.arange(n) % 640) / 640,
    "sawtooth after quiet": lambda n: np.concatenate([np.full(300, 60.0), 60 + 200 * (np.arange(n - 300) % 120) / 120]),
    "daily wave": lambda n: 300 + 200 * np.sin(np.arange(n) / 300),
    "steep wave": lambda n: 250 + 180 * np.sin(np.arange(n) / 30),
    "step": lambda n: np.where(np.arange(n) < n // 2, 100.0, 600.0),
    "spikes": lambda n: np.where(np.arange(n) % 200 < 3, 900.0, 100.0),
    "batch jobs": lambda n: np.where(np.arange(n) % 400 < 60, 700.0, 100.0),
    "warming caches": lambda n: 100 + 600 * (1 - np.exp(-np.arange(n) / 60)),
    "restarts": lambda n: 100 + 400 * (1 - np.exp(-(np.arange(n) % 500) / 80)),
    "slow growth far from the limit": lambda n: 100 + np.arange(n) * 0.05,
    "nothing": lambda n: np.full(n, 400.0),
    "full and content": lambda n: np.full(n, 990.0),
}


@pytest.mark.parametrize("seed", range(3))
def test_what_only_looks_like_a_leak_is_not_forecast(seed: int) -> None:
    feed = Feed(every(SCRAPE, 1500))
    for n, (name, shape) in enumerate(HARMLESS.items()):
        values = np.maximum(shape(1500) + noise(1500, 100 * seed + n, 8), 0)
        feed.add("db_connections_used", values, instance=name).add("db_connections_max", 1000, instance=name)
    assert {symptom.item for symptom in run(feed)[0]} == set()


def test_a_leak_beyond_what_a_sawtooth_has_come_back_from_is_news() -> None:
    saw = 100 + 400 * (np.arange(800) % 160) / 160
    values = np.concatenate([saw, 100 + 2.5 * np.arange(340)]) + noise(1140, 0, 4)
    found = opened(connections(values))
    assert len(found) == 1
    assert found[0].value is not None
    assert found[0].value > 500


def test_a_wave_that_was_taken_for_a_leak_once_is_not_taken_for_one_again() -> None:
    values = 480 + 430 * np.sin(np.arange(4000) / 40 - 1.5) + noise(4000, 0, 4)
    assert len(opened(connections(values))) <= 1


def test_a_forecast_ends_when_the_trend_turns_and_keeps_its_id_until_then() -> None:
    values = np.concatenate([leak(3 * np.arange(200)), np.full(60, 650.0), np.linspace(650, 100, 60)])
    found = connections(values + noise(len(values), 3, 4))
    assert len({symptom.id for symptom in found}) == 1
    assert [symptom.active for symptom in found].count(False) == 1
    assert not found[-1].active


def test_a_resource_at_its_limit_stays_a_symptom() -> None:
    found = connections(np.concatenate([leak(950 * np.arange(240) / 240), np.full(300, 1000.0)]))
    assert len({symptom.id for symptom in found}) == 1
    assert all(symptom.active for symptom in found)
    assert found[-1].summary.endswith("at its limit")


@pytest.mark.parametrize("limit", [0.0, float("inf"), float("nan"), 1.8e19, -1.0])
def test_a_limit_that_is_none_forecasts_nothing(limit: float) -> None:
    assert connections(leak(950 * np.arange(240) / 240), limit=limit) == []


def test_connections_summed_over_states_run_into_the_servers_maximum() -> None:
    n = QUIET + 200
    feed = Feed(every(SCRAPE, n))
    for state, values in (("idle", np.maximum(np.arange(n) - QUIET, 0) * 0.5), ("active", np.full(n, 5.0))):
        feed.add("pg_stat_activity_count", np.round(values), state=state, server="pg:5432")
    feed.add("pg_settings_max_connections", 100, server="pg:5432")
    found = opened(run(feed)[0])
    assert [symptom.category for symptom in found] == ["capacity/connections"]
    assert found[0].labels == {"__name__": "pg_stat_activity_count", "instance": "a:1", "server": "pg:5432"}


def test_a_limit_of_ones_own_needs_a_line() -> None:
    own = LimitOptions(used="orders_waiting", limit=500, category="capacity/queue", item=("instance",))
    options = AnomalyOptions(forecast=ForecastOptions(more_limits=(own,)))
    n = QUIET + 150
    feed = Feed(every(SCRAPE, n)).add("orders_waiting", np.maximum(np.arange(n) - QUIET, 0) * 2.0)
    assert run(feed)[0] == []
    (symptom,) = opened(run(feed, options=options)[0])
    assert (symptom.category, symptom.item) == ("capacity/queue", "a:1")


def test_a_falling_limit_is_a_floor_and_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="runs down to a number"):
        LimitOptions(used="certs_left", limit="other", falling=True)
    own = LimitOptions(used="tickets_left", limit=100, falling=True)
    n = QUIET + 200
    feed = Feed(every(SCRAPE, n)).add("tickets_left", 1000 - np.maximum(np.arange(n) - QUIET, 0) * 4.0)
    (symptom,) = opened(run(feed, options=AnomalyOptions(forecast=ForecastOptions(more_limits=(own,))))[0])
    assert symptom.evidence is not None
    assert symptom.evidence.limit == 100


def test_the_pool_of_four_that_is_used_a_little_more_is_no_trend() -> None:
    n = 600
    used = np.where(np.arange(n) < 300, 0.0, np.where(np.arange(n) < 400, 1.0, 2.0))
    feed = Feed(every(SCRAPE, n)).add("app_db_pool_in_use", used).add("app_db_pool_size", 4)
    assert run(feed)[0] == []


def test_a_small_pool_that_leaks_is_foreseen_though_it_goes_up_and_down_by_one() -> None:
    n = 600
    dice = np.random.default_rng(0)
    used = np.round(1 + np.maximum(np.arange(n) - 300, 0) * 19 / 300 + dice.normal(0, 0.4, n))
    feed = Feed(every(SCRAPE, n)).add("app_db_pool_in_use", np.clip(used, 0, 20)).add("app_db_pool_size", 20)
    found = opened(run(feed)[0])
    assert len(found) == 1
    assert found[0].last_at < every(SCRAPE, 500)[-1]


def test_a_servers_first_minute_does_not_count_as_a_rise() -> None:
    values = leak(950 * np.arange(240) / 240, calm=120)
    values[:8] = 5
    assert opened(connections(values))[0].last_at < every(SCRAPE, 230)[-1]


def test_nan_is_a_value_and_hurts_nothing() -> None:
    values = leak(950 * np.arange(240) / 240)
    values[::7] = np.nan
    feed = Feed(every(SCRAPE, len(values))).add("x_used", values).add("x_limit", 1000)
    run(feed)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=64), min_size=60, max_size=200))
def test_no_values_break_the_forecast(values: list[float]) -> None:
    share = np.array(values)
    at = every(SECOND, len(values))
    state = legs.fresh(1)
    first = np.array([0, len(values)])
    legs.follow(state, np.zeros(1, np.int64), first, at, share)
    out, begin, good = np.zeros((1, trend.WIDTH)), np.zeros(1, np.int64), np.zeros(1, np.bool_)
    trend.fits(first, at, share, 120, np.zeros(1), np.ones(1), out, begin, good)
    assert 0 <= begin[0] < len(values)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.2, 5), st.floats(0.05, 0.9), st.integers(0, 1000))
def test_theil_and_sen_find_the_line_through_noise_and_outliers(rise: float, level: float, seed: int) -> None:
    dice = np.random.default_rng(seed)
    at = every(SECOND, 120)
    slope = rise / 120_000
    share = level + slope * (at - at[-1]) + dice.normal(0, 0.002, 120)
    share[dice.random(120) < 0.05] += 3.0
    out = np.zeros(trend.WIDTH)
    assert trend.fit(at, share, out)
    assert out[trend.SLOPE] == pytest.approx(slope, rel=0.15, abs=0.02 / 120_000)
    assert out[trend.LEVEL] == pytest.approx(level, abs=0.02 + 0.05 * abs(rise))


def zigzag(shares: list[float]) -> np.ndarray:
    state = legs.fresh(1)
    legs.follow(state, np.zeros(1, np.int64), np.array([0, len(shares)]), every(SECOND, len(shares)), np.array(shares))
    return state[0]


def test_a_leg_begins_where_it_leaves_its_foot_and_is_remembered_when_it_comes_back() -> None:
    state = zigzag([0.1] * 30 + [0.1 + 0.01 * i for i in range(50)])
    assert state[legs.RISING] == 1
    assert state[legs.BASE] == pytest.approx(0.1)
    assert 30 <= state[legs.BASE_SEEN] <= 36
    fallen = zigzag([0.1] * 30 + [0.1 + 0.01 * i for i in range(50)] + [0.2])
    assert fallen[legs.RECOVERED] == pytest.approx(0.59)


def test_whoever_reached_the_limit_was_not_harmless() -> None:
    assert zigzag([*np.linspace(0.1, 0.99, 80), 0.2])[legs.RECOVERED] == 0


def test_a_level_that_was_there_from_the_start_and_fell_is_remembered_too() -> None:
    assert zigzag([0.6] * 10 + [0.1] * 10)[legs.RECOVERED] == 0.6


def test_news_is_what_lies_beyond_the_range_that_a_resource_moves_in() -> None:
    quiet, busy = legs.fresh(2)
    quiet[[legs.RECOVERED, legs.LOWEST]] = 0.12, 0.1
    busy[[legs.RECOVERED, legs.LOWEST]] = 0.7, 0.0
    assert legs.news(np.array([quiet, busy]), 0).tolist() == pytest.approx([0.208, 0.84])


def test_what_was_remembered_is_forgotten_in_weeks() -> None:
    state = legs.fresh(1)
    state[0, legs.RECOVERED] = 0.6
    later = legs.recovered(state, 7 * 86_400_000)
    assert later[0] == pytest.approx(0.6 / np.e, rel=1e-6)


def test_batch_sizes_change_no_symptom() -> None:
    values = leak(950 * np.arange(240) / 240)
    feed = Feed(every(SCRAPE, len(values))).add("x_used", values).add("x_limit", 1000)
    whole = run(feed)[0]
    assert whole
    assert run(feed, chunk=1)[0] == whole
    assert [replace(symptom, last_at=0) for symptom in run(feed, chunk=3)[0]] == [
        replace(symptom, last_at=0) for symptom in whole
    ]
