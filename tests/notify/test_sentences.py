"""The timeline in words."""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector import nouns
from detector.notify.messages import sentence
from detector.notify.messages.sentences import _WORDINGS
from detector.nouns import Change, Impact, TimelineEntry
from tests.notify.tickets import NOW, at


def said(what: str, zone: Any = UTC, **data: Any) -> str:
    return sentence(TimelineEntry(NOW, "detector", what, data), zone)


@pytest.mark.parametrize(
    ("what", "data", "expected"),
    [
        ("opened", {"source": "alert"}, "Opened from an alert"),
        ("opened", {"source": "detected", "follows": "INC-7"}, "Opened from symptoms; follows INC-7"),
        ("symptom-joined", {"symptom": {"summary": "Free space falls", "active": True}, "new": True},
         "New symptom: Free space falls"),
        ("symptom-joined", {"symptom": {"summary": "Free space falls", "active": False}, "new": False},
         "Symptom ended: Free space falls"),
        ("phase-changed", {"phase": "disrupting", "reason": "5xx over 5 %"}, "Users are hurt now: 5xx over 5 %"),
        ("phase-changed", {"phase": "over"}, "Over: every symptom has stayed quiet"),
        ("forecast-changed", {"impact": {"earliest": at("11:25"), "likely": at("11:40"), "latest": at("12:05")}},
         "Disruption is now expected 11:40 (11:25-12:05)"),
        ("forecast-changed", {"impact": [at("11:25"), at("11:40"), at("12:05")]},
         "Disruption is now expected 11:40 (11:25-12:05)"),
        ("forecast-changed", {"impact": Impact(at("11:25"), at("11:40"), at("12:05"))},
         "Disruption is now expected 11:40 (11:25-12:05)"),
        ("forecast-changed", {"impact": None}, "The forecast no longer reaches the limit"),
        ("triaged", {"priority": "P1", "previous": "P2", "category": "errors", "priority_reason": "high impact"},
         "P2 becomes P1, errors: high impact"),
        ("triaged", {"priority": "P1", "previous": None, "category": "errors"}, "P1, errors"),
        ("routed", {"tier": "L3", "team": "storage"}, "Routed to L3, team storage"),
        ("clock-started", {"clock": "first-response", "due_at": at("12:00")}, "First response clock runs, due 12:00"),
        ("clock-breached", {"clock": "resolution", "due_at": at("11:00")}, "Resolution clock breached, due 11:00"),
        ("clock-met", {"clock": "response"}, "Response clock met"),
        ("acknowledged", {"assignee": "anna"}, "Acknowledged: anna holds it, paging stops"),
        ("assigned", {"assignee": None}, "Nobody holds it any more"),
        ("escalated", {"tier": "L2", "previous": "L1", "summary": "tried a restart"},
         "Escalated from L1 to L2: tried a restart"),
        ("noted", {"text": "<b>bold</b>\nsecond line"}, "<b>bold</b> second line"),
        ("waiting", {"reason": "supplier", "text": "a new disk"}, "Waiting for a supplier: a new disk"),
        ("acknowledgement-expired", {"assignee": "ann"}, "ann has taken no step: it pages again"),
        ("resumed", {"reason": "it came"}, "It goes on: it came"),
        ("decided", {"kind": "request", "previous": "undecided"}, "It is a request"),
        ("categorised", {"category": "capacity/disk"}, "Category set to capacity/disk"),
        ("prioritised", {"priority": "P1", "reason": "the boss"}, "Priority set to P1: the boss"),
        ("replied", {"text": "We are on it"}, "To the reporter: We are on it"),
        ("answered", {"text": "Firefox"}, "The reporter: Firefox"),
        ("informed", {"tier": "L2", "text": "heads up"}, "L2 is informed: heads up"),
        ("hypothesis-stated", {"number": 1, "text": "the index"}, "Hypothesis 1: the index"),
        ("hypothesis-settled", {"number": 1, "holds": False, "text": "it is there"},
         "Hypothesis 1 rejected: it is there"),
        ("fix-applied", {"text": "reindexed"}, "Fix applied: reindexed"),
        ("service-restored", {}, "The service works again"),
        ("cause-recorded", {"cause": "a", "fix": "b", "prevention": "c"}, "Cause: a; fix: b; prevention: c"),
        ("breach-judged", {"verdict": "dismissed", "text": "a test"},
         "The suspicion of a data breach is dismissed: a test"),
        ("checked", {"item": "notify-regulator"}, "Done: notify regulator"),
        ("clock-warned", {"clock": "response", "due_at": 0}, "Response clock has a quarter left"),
        ("resolved", {"resolution": "fixed", "text": ""}, "Resolved as fixed"),
        ("resolution-proposed", {"resolution": "prevented"}, "Every symptom is quiet: resolve as prevented?"),
        ("closed", {}, "Closed"),
        ("reopened", {"reason": "the symptom returned"}, "Reopened: the symptom returned"),
        ("merged", {"into": "INC-7"}, "Merged into INC-7"),
        ("delivered", {"channel": "pager", "result": "sent"}, "pager was told"),
        ("delivered", {"channel": "pager", "result": "dead", "reason": "gone"}, "pager could not be told: gone"),
        ("something-newer", {}, "Something newer"),
    ],
)  # fmt: skip
def test_sentences(what: str, data: dict[str, Any], expected: str) -> None:
    assert said(what, **data) == expected


def test_times_in_sentences_are_the_readers() -> None:
    assert said("clock-started", ZoneInfo("Europe/Berlin"), clock="response", due_at=at("12:00")).endswith("due 13:00")


def test_every_kind_of_change_has_a_wording() -> None:
    kinds = {re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower() for kind in Change.__subclasses__()}
    assert kinds, nouns
    assert kinds <= set(_WORDINGS)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = [
    "symptom",
    "impact",
    "phase",
    "priority",
    "clock",
    "due_at",
    "text",
    "reason",
    "tier",
    "source",
    "new",
    "channel",
]


@settings(deadline=None)
@given(st.sampled_from([*_WORDINGS, "odd", ""]), st.dictionaries(st.sampled_from(NAMES), anything))
def test_no_data_breaks_a_sentence(what: str, data: dict[str, Any]) -> None:
    text = said(what, **data)
    assert "\n" not in text
    assert len(text) <= 4200
