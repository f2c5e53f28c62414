"""What counts as foreseen, missed, twice and false, case by case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from detector.backtest.report import Fault, Truth, TruthError, judge, read_truth
from detector.clock import rfc3339

HOUR = 3_600_000
ONSET = 1_793_606_400_000
DISRUPTION = ONSET + HOUR
END = ONSET + 4 * HOUR
DISK = Fault("disk-1", "storage", "capacity/disk", ONSET, DISRUPTION, benign=False)


def incident(key: str, opened: int, service: str = "storage", category: str = "capacity/disk", *affected: str) -> Any:
    return {
        "key": key,
        "opened_at": rfc3339(opened),
        "service": service,
        "category": category,
        "affected": [{"service": name, "items": [], "how": "impacted"} for name in affected],
    }


def test_an_incident_before_the_disruption_foresees_it_and_its_lead_is_what_was_left() -> None:
    report = judge([incident("INC-1", ONSET + HOUR // 2)], Truth((DISK,)), END, 1.0)
    assert report["foreseen"] == 1
    assert report["lead_seconds"] == {"median": 1800.0, "least": 1800.0, "by_fault": {"disk-1": 1800.0}}
    assert report["lead_share_median"] == 0.5
    assert report["false_incidents"] == 0


def test_an_incident_after_the_disruption_is_no_foresight_but_not_false_either() -> None:
    report = judge([incident("INC-1", DISRUPTION + 1000)], Truth((DISK,)), END, 1.0)
    assert (report["foreseen"], report["false_incidents"]) == (0, 0)
    assert report["lead_seconds"]["by_fault"] == {"disk-1": None}
    assert report["lead_seconds"]["median"] == 0.0


@pytest.mark.parametrize("opened", [ONSET - 1, DISRUPTION + HOUR + 1])
def test_an_incident_outside_the_window_is_false(opened: int) -> None:
    assert judge([incident("INC-1", opened)], Truth((DISK,)), END, 2.0)["false_per_service_day"] == 0.5


def test_the_service_may_be_among_the_affected() -> None:
    found = incident("INC-1", ONSET + 1, "web", "latency", "storage")
    assert judge([found], Truth((DISK,)), END, 1.0)["foreseen"] == 1


def test_an_acceptable_service_matches_only_with_the_category_and_is_never_false() -> None:
    truth = Truth((DISK,), frozenset({"node"}))
    right = judge([incident("INC-1", ONSET + 1, "node")], truth, END, 1.0)
    other = judge([incident("INC-1", ONSET + 1, "node", "latency")], truth, END, 1.0)
    assert (right["foreseen"], right["false_incidents"]) == (1, 0)
    assert (other["foreseen"], other["false_incidents"]) == (0, 0)


def test_further_matches_are_duplicates() -> None:
    found = [incident(f"INC-{n}", ONSET + n) for n in range(1, 4)]
    report = judge(found, Truth((DISK,)), END, 1.0)
    assert (report["foreseen"], report["duplicates"]) == (1, 2)
    assert report["lead_seconds"]["by_fault"]["disk-1"] == pytest.approx(3600 - 0.001)


def test_a_benign_fault_makes_what_matches_it_false_and_is_not_counted_as_a_fault() -> None:
    benign = Fault("deploy", "storage", "none", ONSET, None, benign=True)
    report = judge([incident("INC-1", ONSET + 1)], Truth((benign,)), END, 1.0)
    assert (report["faults"], report["false_incidents"]) == (0, 1)


def test_what_opens_while_models_are_cold_counts_as_neither() -> None:
    truth = Truth((DISK,), warm_until=ONSET - HOUR)
    assert judge([incident("INC-1", ONSET - 2 * HOUR)], truth, END, 1.0)["false_incidents"] == 0


def test_a_truth_file_is_read_and_its_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    fault = {"id": "a", "service": "s", "category": "c", "onset": "2026-11-02T08:50:00Z", "disruption": None}
    path.write_text(json.dumps({"faults": [fault], "unknown": 1}))
    assert read_truth(path).faults[0].onset == 1_793_609_400_000
    path.write_text(json.dumps({"faults": [{**fault, "onset": "yesterday"}]}))
    with pytest.raises(TruthError, match=r"truth\.json: 'yesterday' is not an RFC 3339 time"):
        read_truth(path)
    path.write_text("{}")
    with pytest.raises(TruthError, match="'faults' is missing"):
        read_truth(path)
