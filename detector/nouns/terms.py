"""The closed lists of words that the other nouns use."""

from __future__ import annotations

from typing import Literal

Phase = Literal["predicted", "disrupting", "recovering", "over"]
State = Literal["logged", "triaged", "diagnosing", "waiting", "resolved", "closed", "reopened", "merged"]
Kind = Literal["undecided", "incident", "request"]
Source = Literal["detected", "alert", "report"]
DetectorName = Literal["rule", "forecast", "anomaly", "silence", "group", "alert"]
Mode = Literal["shadow", "ticket", "page"]
Priority = Literal["P1", "P2", "P3", "P4"]
Tier = Literal["L1", "L2", "L3"]
Level = Literal["high", "medium", "low"]
Wait = Literal["user", "supplier", "change"]
Relation = Literal[
    "related", "caused-by", "causes", "follows", "followed-by", "split-from", "split-into", "problem"
]  # fmt: skip
ProblemState = Literal["open", "known-error", "closed"]
PublicStatus = Literal["investigating", "identified", "monitoring", "resolved"]
"""What the public is told of an incident, in Statuspage's words."""
Resolution = Literal[
    "fixed", "prevented", "self-recovered", "false-alarm", "not-worth-waking", "duplicate", "known-error",
    "declined", "unknown",
]  # fmt: skip
