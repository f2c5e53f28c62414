"""The shipped rules over real recordings: silent on the harmless ones, and first to speak on some of the faults."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from detector.clock import parse_rfc3339
from detector.ingest.recordings import read
from detector.nouns import Symptom
from detector.rules.groups import load, spans
from detector.rules.ruler import Ruler
from detector.series.limits import Depth, Limits
from detector.series.store import Store

CONFIG = Path(__file__).resolve().parents[2] / "config" / "rules"
STEP_MS = 15_000


@dataclass(frozen=True)
class Replay:
    symptoms: list[Symptom]
    failures: set[tuple[str, str]]


def replay(folder: Path) -> Replay:
    """The recording through store and rules, slot by slot; what fired (news and ends left out)."""
    groups = load(sorted(CONFIG.glob("*.yml"))).groups
    store = Store(Limits(), Depth(*spans(groups)))
    ruler = Ruler(store, groups)
    fired: dict[str, Symptom] = {}
    failures: set[tuple[str, str]] = set()
    recording = read(folder / "samples.om.gz", store.index)
    upto = recording.start // STEP_MS * STEP_MS
    for batch in recording.batches(STEP_MS):
        store.accept(batch)
        upto = -(-int(batch.at[-1]) // STEP_MS) * STEP_MS
        found = ruler.evaluate(upto)
        failures |= set(found.failures)
        for symptom in found.symptoms:
            if symptom.active:
                fired.setdefault(symptom.id, symptom)
        store.sweep(upto)
    return Replay(list(fired.values()), failures)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["benign_daily_wave", "benign_deploy", "benign_log_rotation", "benign_day"])
def test_harmless_recordings_fire_nothing(shared_data: Path, name: str) -> None:
    folder = shared_data / "recordings" / name
    warm = parse_rfc3339(json.loads((folder / "truth.json").read_text())["warm_until"])
    result = replay(folder)
    assert [(s.name, s.labels) for s in result.symptoms if s.last_at >= warm] == []
    assert not result.failures


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("disk_fill", "DiskWillFill"),
        ("latency_creep", "LatencyRising"),
        ("pg_connection_leak", "PostgresConnectionsWillRunOut"),
    ],
)
def test_faults_are_foreseen_by_a_rule(shared_data: Path, name: str, rule: str) -> None:
    folder = shared_data / "recordings" / name
    fault = json.loads((folder / "truth.json").read_text())["faults"][0]
    onset, disruption = parse_rfc3339(fault["onset"]), parse_rfc3339(fault["disruption"])
    result = replay(folder)
    times = [s.last_at for s in result.symptoms if s.name == rule and not s.disruption]
    assert times, {(s.name, s.service) for s in result.symptoms}
    assert onset <= min(times) < disruption
    assert not result.failures
