"""The bank as the shard drives it: batches, freezes, births and deaths, restarts, reloads, real recordings."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.anomaly import bank as bank_module
from detector.anomaly.bank import Bank
from detector.anomaly.options import AnomalyOptions, ForecastOptions
from detector.anomaly.season import BINS, DAY, HOUR
from detector.ingest.recordings import read
from detector.nouns import Batch, Control, Symptom
from detector.series.store import Store
from tests.anomaly.feeding import SECOND, Feed, every, run, service_of

SCRAPE = 15 * SECOND


def busy(count: int = 900, series: int = 6, seed: int = 0) -> Feed:
    dice = np.random.default_rng(seed)
    feed = Feed(every(SCRAPE, count))
    for i in range(series):
        feed.add(f"load_{i}", dice.normal(100, 5, count))
        feed.add(f"work_{i}_total", np.cumsum(dice.poisson(20, count)))
    feed.add("constant", 5).add("x_bucket", np.cumsum(dice.poisson(3, count)), le="1")
    leak = np.concatenate([np.full(count - 300, 50.0), 50 + 3.1 * np.arange(300)]) + dice.normal(0, 3, count)
    return feed.add("db_connections_used", leak).add("db_connections_max", 1000)


def through(bank: Bank, store: Store, batches: Iterable[tuple[int, Batch]]) -> list[Any]:
    found: list[Any] = []
    for end, batch in batches:
        kept = store.accept(batch).kept
        bank.feed(batch.series[kept], batch.at[kept], batch.value[kept])
        findings = bank.advance(end)
        found.append((findings.symptoms, findings.scores))
    return found


@pytest.mark.parametrize("chunk", [pytest.param(1, marks=pytest.mark.slow), 5, 1000])
def test_how_samples_are_cut_into_batches_changes_nothing(chunk: int) -> None:
    whole, one = run(busy())
    parts, two = run(busy(), chunk=chunk)
    assert whole == parts
    assert whole, "the leak is found"
    np.testing.assert_array_equal(one.state()["views"]["final/tail"], two.state()["views"]["final/tail"])


def test_samples_ahead_of_event_time_wait_for_it() -> None:
    feed = busy(900)
    store = Store(evict=False)
    bank = Bank(store, AnomalyOptions(), service_of)
    batches = list(feed.batches(store, SCRAPE))
    for _, batch in batches:
        store.accept(batch)
        bank.feed(batch.series, batch.at, batch.value)
    ahead = [symptom for end, _ in batches for symptom in bank.advance(end).symptoms]
    stepwise, other = run(feed)
    assert ahead == stepwise
    np.testing.assert_array_equal(bank.state()["views"]["final/tail"], other.state()["views"]["final/tail"])


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_module, "WAITING", 100)
    store = Store()
    bank = Bank(store, AnomalyOptions(), service_of)
    id = store.index.intern((("__name__", "x"),), "t")
    for at in range(1000):
        bank.feed(np.array([id], np.int32), np.array([at]), np.array([float(at % 7)]))
    assert len(bank.state()["waiting"]["ids"]) <= 100


def jsonable(state: Any, arrays: dict[str, np.ndarray], path: str = "") -> Any:
    """The state as a snapshot keeps it: arrays by name, everything else through JSON."""
    if isinstance(state, np.ndarray):
        arrays[path] = state.copy()
        return {"array": path}
    if isinstance(state, dict):
        return {key: jsonable(value, arrays, f"{path}/{key}") for key, value in state.items()}
    return json.loads(json.dumps(state))


def rebuilt(state: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(state, dict):
        return arrays[state["array"]] if set(state) == {"array"} else {k: rebuilt(v, arrays) for k, v in state.items()}
    return state


@pytest.mark.parametrize("stop", [300, 750, 880])
def test_a_restart_changes_nothing(stop: int) -> None:
    store, other_store = Store(), Store()
    bank = Bank(store, AnomalyOptions(), service_of)
    batches = list(busy().batches(store, SCRAPE))
    list(busy().batches(other_store, SCRAPE))
    through(bank, store, batches[:stop])
    arrays: dict[str, np.ndarray] = {}
    packed = jsonable(bank.state(), arrays)
    for _, batch in batches[:stop]:
        other_store.accept(batch)
    back = Bank(other_store, AnomalyOptions(), service_of)
    back.restore(rebuilt(packed, arrays))
    assert through(back, other_store, batches[stop:]) == through(bank, store, batches[stop:])


def test_a_state_of_another_version_is_refused() -> None:
    bank = Bank(Store(), AnomalyOptions(), service_of)
    with pytest.raises(ValueError, match="version 99, this program reads"):
        bank.restore({**bank.state(), "version": 99})


def test_a_frozen_series_is_scored_and_not_learned_from_until_it_thaws() -> None:
    store = Store()
    bank = Bank(store, AnomalyOptions(), service_of)
    batches = list(busy(1200).batches(store, SCRAPE))
    through(bank, store, batches[:600])
    labels = (("job", "app"), ("__name__", "load_0"))
    bank.control(Control("freeze", (labels,)))
    before = {name: array.copy() for name, array in bank.state()["views"].items()}
    row = bank._kinds.row[0]
    through(bank, store, batches[600:700])
    after = bank.state()["views"]
    np.testing.assert_array_equal(before["level/rest"][row], after["level/rest"][row])
    assert not np.array_equal(before["level/rest"], after["level/rest"])
    bank.control(Control("thaw", (labels,)))
    through(bank, store, batches[700:800])
    assert not np.array_equal(before["level/rest"][row], bank.state()["views"]["level/rest"][row])


def test_a_week_of_the_past_teaches_the_time_of_day() -> None:
    """A gauge and a counter with the same daily wave: what they did at every hour is known an hour after the start."""
    hours = np.arange(-7 * 24, 1) * HOUR + DAY * 20_000
    edge = int(hours[-1])

    def wave(at: np.ndarray) -> np.ndarray:
        return 100 + 40 * np.sin(2 * np.pi * at / DAY)

    def total(at: np.ndarray) -> np.ndarray:
        # The integral of the wave, per second.
        return 100 * (at - at[0]) / 1000 + 40 * DAY / 2000 / np.pi * (1 - np.cos(2 * np.pi * (at - DAY * 19_000) / DAY))

    store = Store(evict=False)
    bank = Bank(store, AnomalyOptions(), service_of)
    feed = Feed(every(SCRAPE, 264, edge))
    feed.add("load", wave(feed.at)).add("work_total", total(feed.at)).add("flat", 5)
    through(bank, store, feed.batches(store, SCRAPE))
    index = store.index
    ids = [index.find(tuple(sorted(labels.items()))) for labels, _ in feed.series]
    taught = bank.teach(
        np.repeat(np.array(ids, np.int32), len(hours)), np.tile(hours, 3),
        np.concatenate([wave(hours), total(hours), np.full(len(hours), 5.0)]),
    )  # fmt: skip
    assert taught == 2, "what never varies has no model to teach"
    season, kinds = bank.state()["views"], bank.state()["kinds"]
    for id in ids[:2]:
        slot = season["season/slot"][kinds["row"][id]]
        profile = season["season/pool"][slot, :BINS] + season["season/base"][slot]
        np.testing.assert_allclose(profile, wave((np.arange(BINS) + 0.5) * HOUR), atol=1.0)


def test_a_freeze_needs_as_many_thaws_and_nothing_freezes_everything() -> None:
    store = Store()
    bank = Bank(store, AnomalyOptions(), service_of)
    through(bank, store, list(busy(350).batches(store, SCRAPE)))
    for kind in ("freeze", "freeze", "thaw"):
        bank.control(Control(kind, ((("__name__", "load_1"),),)))  # type: ignore[arg-type]
    assert bank._frozen.sum() == 1
    bank.control(Control("thaw", ((("__name__", "load_1"),),)))
    bank.control(Control("freeze", ((), (("x", ""),))))
    bank.control(Control("feedback", data={"resolution": "false-alarm"}))
    assert bank._frozen.sum() == 0


def test_series_that_come_and_go_leave_memory_flat() -> None:
    store = Store()
    bank = Bank(store, AnomalyOptions(), service_of)
    sizes = []
    dice = np.random.default_rng(0)
    for generation in range(60):
        names = [(("__name__", "load"), ("pod", f"{generation}-{i}")) for i in range(200)]
        ids = np.array([store.index.intern(labels, f"t{generation}") for labels in names], np.int32)
        for step in range(3):
            at = np.full(200, (generation * 3 + step + 1) * SCRAPE)
            batch = Batch("t", ids, at, dice.random(200))
            kept = store.accept(batch).kept
            bank.feed(ids[kept], at[kept], batch.value[kept])
            bank.advance(int(at[0]))
        store.release(ids)
        bank.forget(ids)
        sizes.append(sum(bank.bytes().values()))
    assert sizes[-1] == sizes[5]


def test_a_resource_that_vanishes_ends_its_symptom() -> None:
    store = Store()
    bank = Bank(store, AnomalyOptions(), service_of)
    batches = list(busy().batches(store, SCRAPE))
    told = [s for symptoms, _ in through(bank, store, batches) for s in symptoms]
    assert told[-1].active
    gone = np.arange(store.series_count, dtype=np.int32)
    store.release(gone)
    bank.forget(gone)
    (ended,) = bank.advance(batches[-1][0] + SCRAPE).symptoms
    assert (ended.id, ended.active) == (told[-1].id, False)


def test_a_reload_keeps_warm_models_and_open_symptoms() -> None:
    store = Store()
    bank = Bank(store, AnomalyOptions(), service_of)
    batches = list(busy().batches(store, SCRAPE))
    told = [s for symptoms, _ in through(bank, store, batches[:850]) for s in symptoms]
    assert told
    bank.reconfigure(AnomalyOptions(forecast=ForecastOptions(window=150), ignore=("load_1",)), service_of)
    after = [s for symptoms, _ in through(bank, store, batches[850:]) for s in symptoms]
    assert {s.id for s in after} <= {s.id for s in told}, "no second symptom of the same trouble"
    assert after


def test_high_scores_are_exported_with_labels_highest_first() -> None:
    feed = busy(900)
    dice = np.random.default_rng(5)
    odd = dice.normal(10, 1, 900)
    odd[890] = 80
    feed.add("odd", odd)
    store = Store()
    found = through(Bank(store, AnomalyOptions(), service_of), store, feed.batches(store, SCRAPE))
    scores = found[-1][1]
    assert scores[0][0]["__name__"] == "odd"
    assert scores[0][1] > 4
    assert [score for _, score in scores] == sorted((score for _, score in scores), reverse=True)
    nothing = AnomalyOptions(export_floor=20.0)
    store = Store()
    assert through(Bank(store, nothing, service_of), store, feed.batches(store, SCRAPE))[-1][1] == ()


def test_a_single_series_alarm_opens_nothing() -> None:
    feed = busy(900)
    series = [(labels, values) for labels, values in feed.series if "connections" not in labels["__name__"]]
    odd = np.random.default_rng(6).normal(10, 1, 900)
    odd[700:] += 100
    assert run(replace(feed, series=series).add("odd", odd))[0] == []


def test_nan_stale_and_infinite_values_pass_through() -> None:
    values = np.random.default_rng(7).normal(10, 1, 300)
    values[::5], values[1::7], values[2::11] = np.nan, np.inf, -np.inf
    feed = Feed(every(SCRAPE, 300)).add("x", values).add("y_total", values).add("a_used", values).add("a_max", values)
    run(feed)


FORESEEABLE = {
    "disk_fill": ("capacity/disk", 14 * 60),
    "pg_connection_leak": ("capacity/connections", 23 * 60),
    "queue_backlog": ("capacity/queue", 11 * 60),
    "latency_creep": ("latency", 0),
}


def replayed(folder: Path) -> tuple[list[Symptom], list[int], dict[str, Any]]:
    truth = json.loads((folder / "truth.json").read_text())
    store = Store()
    bank = Bank(store, AnomalyOptions(), service_of)
    found: list[Symptom] = []
    when: list[int] = []
    for batch in read(folder / "samples.om.gz", store.index).batches(SCRAPE):
        kept = store.accept(batch).kept
        bank.feed(batch.series[kept], batch.at[kept], batch.value[kept])
        upto = -(-int(batch.at[-1]) // SCRAPE) * SCRAPE
        symptoms = bank.advance(upto).symptoms
        found += symptoms
        when += [upto] * len(symptoms)
    return found, when, truth


def ms(text: str) -> int:
    return int(np.datetime64(text.removesuffix("Z"), "ms").astype(np.int64))


@pytest.mark.parametrize("name", FORESEEABLE)
def test_real_faults_are_foreseen_earlier_than_common_rules_do(shared_data: Path, name: str) -> None:
    found, when, truth = replayed(shared_data / "recordings" / name)
    category, reference = FORESEEABLE[name]
    (fault,) = truth["faults"]
    assert {symptom.category for symptom in found} == {category}
    assert ms(fault["onset"]) < when[0], "not before there was anything to see"
    lead = (ms(fault["disruption"]) - when[0]) / 1000
    assert lead > reference
    impact = found[0].impact
    assert impact is not None
    assert abs(impact.likely - ms(fault["disruption"])) < 0.5 * lead * 1000


@pytest.mark.parametrize("name", ["benign_daily_wave", "benign_deploy", "benign_log_rotation"])
def test_ordinary_life_is_silent(shared_data: Path, name: str) -> None:
    assert replayed(shared_data / "recordings" / name)[0] == []


@pytest.mark.slow
def test_a_day_of_ordinary_life_is_silent(shared_data: Path) -> None:
    assert replayed(shared_data / "recordings" / "benign_day")[0] == []
