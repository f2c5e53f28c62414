"""What is said about whole services: golden signals, their model, corroboration, silence."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.anomaly.corroborate import WATCHES, Corroboration, Event
from detector.anomaly.golden import Golden, failed, is_latency, is_requests
from detector.anomaly.group import LEARNS, GroupModel
from detector.anomaly.silence import silences
from detector.nouns import Batch, Symptom
from detector.series.store import Store
from tests.anomaly.feeding import MINUTE, SECOND, Feed, every, run, service_of

EDGES = ["0.05", "0.1", "0.25", "0.5", "1.0", "+Inf"]


def histogram(feed: Feed, seconds: np.ndarray, rate: float = 100.0) -> Feed:
    """A latency histogram of exponentially distributed answers whose 99th percentile is ``seconds``."""
    for edge in EDGES:
        below = 1 - np.exp(-float(edge) * math.log(100) / seconds) if edge != "+Inf" else np.ones(len(seconds))
        feed.add("http_request_duration_seconds_bucket", np.cumsum(rate * below), le=edge, service="shop")
    return feed


def ticked(feed: Feed, step: int = 15 * SECOND) -> Golden:
    store = Store()
    golden = Golden(store, service_of)
    for n, (end, batch) in enumerate(feed.batches(store, step)):
        store.accept(batch)
        if n == 0:
            golden.births(store.index.label_values("__name__"))
        golden.tick(end)
    return golden


def test_the_slow_answers_of_a_service_over_all_its_series() -> None:
    feed = histogram(Feed(every(15 * SECOND, 60)), np.full(60, 0.3))
    golden = ticked(feed)
    # Between the edges 0.25 and 0.5 a straight line is all that a histogram tells.
    assert golden.signals("shop")["latency http_request_duration_seconds_bucket"] == pytest.approx(0.3, abs=0.12)


def test_traffic_and_errors_through_restarts() -> None:
    feed = Feed(every(15 * SECOND, 60))
    good = np.cumsum(np.full(60, 90.0))
    good[40:] -= good[39]
    feed.add("http_requests_total", good, code="200", service="shop")
    feed.add("http_requests_total", np.cumsum(np.full(60, 10.0)), code="503", service="shop")
    signals = ticked(feed).signals("shop")
    assert signals["traffic"] == pytest.approx(2000, rel=0.01)
    assert signals["errors"] == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize(("labels", "bad"), [
    ({"code": "500"}, True), ({"status": "5xx"}, True), ({"grpc_code": "Unavailable"}, True), ({"code": "404"}, False),
    ({"code": "200"}, False), ({}, False), ({"code": "5000"}, False),
])  # fmt: skip
def test_what_counts_as_failed(labels: dict[str, str], bad: bool) -> None:
    assert failed(labels) is bad


def test_request_metrics_by_name() -> None:
    assert is_latency("http_request_duration_seconds_bucket")
    assert not is_latency("app_job_age_seconds_bucket")
    assert not is_latency("http_request_size_bytes_bucket")
    assert is_requests("grpc_server_handled_total")
    assert not is_requests("app_jobs_processed_total")


def test_few_requests_and_broken_histograms_have_no_percentile() -> None:
    assert "latency" not in str(
        ticked(histogram(Feed(every(15 * SECOND, 60)), np.full(60, 0.3), rate=1)).signals("shop")
    )
    broken = Feed(every(15 * SECOND, 60))
    for edge in ("0.1", "much", ""):
        broken.add("http_request_duration_seconds_bucket", np.cumsum(np.full(60, 100.0)), le=edge, service="shop")
    assert ticked(broken).signals("shop") == {}


def test_latency_that_creeps_towards_the_objective_is_foreseen() -> None:
    creep = np.concatenate([np.full(200, 0.06), 0.06 * np.exp(np.arange(200) / 200 * math.log(0.6 / 0.06))])
    found = run(histogram(Feed(every(15 * SECOND, 400)), creep))[0]
    assert found
    first = found[0]
    assert (first.detector, first.kind, first.category, first.service) == ("forecast", "latency", "latency", "shop")
    assert first.last_at < every(15 * SECOND, 380)[-1] - 5 * MINUTE
    assert first.evidence is not None
    assert first.evidence.limit == pytest.approx(0.5)
    assert first.summary.startswith("Latency of shop: slow answers take ")


def test_latency_that_steps_or_waves_is_not() -> None:
    steps = np.where(np.arange(400) < 250, 0.06, 0.2)
    assert run(histogram(Feed(every(15 * SECOND, 400)), steps))[0] == []
    waves = 0.06 * (1.5 + np.sin(np.arange(600) / 40) / 2)
    assert run(histogram(Feed(every(15 * SECOND, 600)), waves))[0] == []


def test_latency_that_rises_without_traffic_is_further_away_than_with_it() -> None:
    dice = np.random.default_rng(0)
    model = GroupModel()
    for _ in range(500):
        load = dice.uniform(100, 1000)
        model.learn({"traffic": load, "latency": 0.02 + load / 10_000 * dice.normal(1, 0.02)})
    together = model.score({"traffic": 950.0, "latency": 0.115})
    alone = model.score({"traffic": 120.0, "latency": 0.115})
    assert together < 4
    assert alone > 3 * together


def test_the_group_model_says_nothing_young_or_about_other_signals() -> None:
    model = GroupModel()
    for i in range(LEARNS - 1):
        model.learn({"traffic": float(i), "errors": 0.0})
    assert math.isnan(model.score({"traffic": 1.0, "errors": 0.0}))
    model.learn({"traffic": 1.0, "errors": 0.0})
    assert model.score({"traffic": 30.0, "errors": 0.0}) >= 0
    assert math.isnan(model.score({"traffic": 1.0}))
    model.learn({"traffic": 1.0})
    assert math.isnan(model.score({"traffic": 1.0}))


def test_the_group_model_continues_from_its_past_and_forgets_what_is_old() -> None:
    dice = np.random.default_rng(1)
    model = GroupModel()
    for _ in range(1500):
        model.learn({"traffic": dice.uniform(1, 10), "errors": dice.uniform(0, 0.1)})
    assert len(model.past()) == 960
    back = GroupModel(json.loads(json.dumps(model.past())))
    probe = {"traffic": 50.0, "errors": 0.5}
    assert back.score(probe) == pytest.approx(model.score(probe), rel=1e-3)


def test_importing_the_room_imports_no_river() -> None:
    program = "import detector.anomaly.bank, sys; print([m for m in sys.modules if m.split('.')[0] == 'river'])"
    root = Path(__file__).parent.parent.parent
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert out.stdout.strip() == "[]"


def day(corroboration: Corroboration, seed: int = 0, upto: int = WATCHES) -> None:
    """An ordinary day of a service: a few unlikely series now and then, and a deploy that moves twenty."""
    dice = np.random.default_rng(seed)
    corroboration.watch("shop", 0)
    for at in range(0, upto + 15 * SECOND, 15 * SECOND):
        events = (
            [Event("shop", f"m{dice.integers(30)}", int(dice.integers(300)), at, 3.2)] if dice.random() < 0.05 else []
        )
        if at % (6 * 3600 * SECOND) == 3 * 3600 * SECOND:
            events += [Event("shop", f"m{i}", i, at, 4.0) for i in range(20)]
        assert corroboration.step(events, at) == []


def storm(at: int, series: int = 80, metrics: int = 20) -> list[Event]:
    return [Event("shop", f"m{i % metrics}", 1000 + i, at, 5.0) for i in range(series)]


def test_many_metrics_at_once_as_never_before_are_a_symptom_that_ends() -> None:
    corroboration = Corroboration()
    day(corroboration)
    at = WATCHES + 30 * SECOND
    (symptom,) = corroboration.step(storm(at), at)
    assert (symptom.detector, symptom.kind, symptom.service, symptom.active) == ("group", "anomaly", "shop", True)
    assert symptom.summary.startswith("80 series of shop behave as they have not before: m0, m1, m10 and 17 more")
    assert symptom.score >= 5
    found: list[Symptom] = []
    for later in range(at + 15 * SECOND, at + 30 * MINUTE, 15 * SECOND):
        found += corroboration.step([], later)
    assert [(s.id, s.active) for s in found] == [(symptom.id, False)]


@pytest.mark.parametrize(
    "events",
    [
        storm(WATCHES, series=80, metrics=2),
        storm(WATCHES, series=1, metrics=1),
        [Event("shop", f"m{i}", i, WATCHES, 4.0) for i in range(24)],
    ],
    ids=["two metrics", "one series", "a deploy like the others"],
)
def test_a_single_series_or_what_happens_every_day_is_none(events: list[Event]) -> None:
    corroboration = Corroboration()
    day(corroboration)
    at = WATCHES + 30 * SECOND
    assert corroboration.step(events, at) == []


@pytest.mark.parametrize("failing", [False, True])
def test_what_more_requests_drive_is_no_trouble_unless_more_stands_out(failing: bool) -> None:
    corroboration = Corroboration()
    day(corroboration)
    at = WATCHES + 30 * SECOND
    requests = [Event("shop", "http_requests_total", i, at, 5.0, work=True, traffic=True) for i in range(8)]
    driven = [Event("shop", f"work_{i % 9}_total", 100 + i, at, 5.0, work=True) for i in range(72)]
    errors = storm(at) if failing else []
    found = corroboration.step([*requests, *driven, *errors], at)
    assert [symptom.value for symptom in found] == ([80.0] if failing else [])


def test_nothing_is_said_about_a_service_on_its_first_day() -> None:
    corroboration = Corroboration()
    day(corroboration, upto=WATCHES // 2)
    assert corroboration.step(storm(WATCHES // 2 + 30 * SECOND), WATCHES // 2 + 30 * SECOND) == []


def test_corroboration_survives_a_restart() -> None:
    one, two = Corroboration(), Corroboration()
    day(one, upto=WATCHES)
    state = one.state()
    packed = json.loads(json.dumps({"watched": state["watched"]}))
    two.restore({"tail": state["tail"].copy(), **packed})
    at = WATCHES + 30 * SECOND
    assert two.step(storm(at), at) == one.step(storm(at), at) != []


def test_a_source_that_falls_silent_and_one_that_comes_back() -> None:
    silent = silences({"push a": 0, "push b": 9 * MINUTE}, {}, 10 * MINUTE, 5 * MINUTE)
    assert list(silent) == ["push a"]
    symptom = silent["push a"]
    assert (symptom.detector, symptom.category, symptom.first_at) == ("silence", "monitoring", 5 * MINUTE)
    assert symptom.summary.startswith("Nothing has arrived from push a for 10 min")
    assert silences({"push a": 0}, silent, 11 * MINUTE, 5 * MINUTE) == {}
    back = silences({"push a": 12 * MINUTE}, silent, 12 * MINUTE, 5 * MINUTE)
    assert (back["push a"].id, back["push a"].active) == (symptom.id, False)
    gone = silences({}, silent, 12 * MINUTE, 5 * MINUTE)
    assert not gone["push a"].active


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=30), st.integers(0, 10**13), max_size=10), st.integers(0, 10**13))
def test_no_name_of_a_source_breaks_silence(arrivals: dict[str, int], upto: int) -> None:
    told = silences(arrivals, {}, upto, 300_000)
    for symptom in told.values():
        assert "\n" not in symptom.summary


def test_a_batch_is_what_the_store_takes() -> None:
    # The feeding of these tests speaks the same nouns as the shard.
    store = Store()
    (_, batch), *_ = Feed(every(SECOND, 3)).add("x", np.arange(3.0)).batches(store, SECOND)
    assert isinstance(batch, Batch)
    assert store.accept(batch).stored == 1
