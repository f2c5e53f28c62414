"""From unlikely values to one statement about a service.

Ten thousand series at one false alarm in a hundred thousand samples still alarm all day, so a single series never
opens anything. What counts is how many series of *different metrics* of one service turn unlikely within five minutes,
weighed by how unlikely, and calibrated once more against the same service's own past: deploys, batch jobs and spikes
move many series at once and do so every day, so the model watches a service for a day before it speaks. It then needs
what this service has not done before. More requests are no trouble by themselves, nor are the counters that they drive:
while traffic is what stands out, only what it does not explain counts (errors, gauges, whatever falls).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from detector.anomaly.calibrate import Tail
from detector.nouns import Symptom
from detector.series.identity import symptom_id
from detector.words import plain

FLOOR = 3.0
CEILING = 6.0  # one series, however unlikely, is worth two at the floor
WINDOW = 300_000
METRICS = 4
WATCHES = 86_400_000
ALARM = 5.0
NEWS = 2.0  # times the most there has been
FORGETS = 14 * 86_400_000.0
QUIET = 600_000


@dataclass(frozen=True, slots=True)
class Event:
    """A value of ``series`` that scored ``score`` >= FLOOR at ``at``. ``work``: a counter that speeds up and counts no
    failures; ``traffic``: one that counts requests."""

    service: str
    metric: str
    series: int
    at: int
    score: float
    work: bool = False
    traffic: bool = False


@dataclass(slots=True)
class _Watch:
    """One service: since when it is watched, what happened lately, the most there was, and an open symptom."""

    row: int
    since: int
    recent: dict[int, Event] = field(default_factory=dict)
    most: float = 0.0
    most_at: int = 0
    symptom: Symptom | None = None
    quiet_since: int = 0

    def telling(self) -> list[Event]:
        """What happened lately and is not explained by more requests."""
        events = list(self.recent.values())
        return [event for event in events if not event.work] if any(e.traffic for e in events) else events


class Corroboration:
    """Calibrated statements about services from single series' events. Fed once an evaluation."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watch] = {}
        self._tail = Tail()

    def watch(self, service: str, upto: int) -> None:
        """Begin to watch a service: the day before it may be spoken about runs from here."""
        if service not in self._watched:
            self._watched[service] = _Watch(len(self._watched), upto)
            self._tail.grow(len(self._watched))

    def step(self, events: Iterable[Event], upto: int) -> list[Symptom]:
        """New events since the last step; symptoms that are new, changed or over, by service."""
        for event in events:
            self.watch(event.service, upto)
            recent = self._watched[event.service].recent
            known = recent.get(event.series)
            if known is None or event.score >= known.score or event.at - known.at > WINDOW:
                recent[event.series] = event
        names = sorted(self._watched)
        if not names:
            return []
        weights = [self._weight(self._watched[name], upto) for name in names]
        rows = np.array([self._watched[name].row for name in names], np.int32)
        learn = np.array([self._watched[name].symptom is None for name in names])
        scores = self._tail.step(rows, np.array(weights, np.float32), learn)
        found = []
        for name, weight, score in zip(names, weights, scores.tolist(), strict=True):
            news = self._judge(name, self._watched[name], weight, score, upto)
            if news is not None:
                found.append(news)
        return found

    def _weight(self, watch: _Watch, upto: int) -> float:
        for series in [series for series, event in watch.recent.items() if event.at <= upto - WINDOW]:
            del watch.recent[series]
        return math.fsum(min(event.score, CEILING) / FLOOR for event in watch.telling())

    def _judge(self, service: str, watch: _Watch, weight: float, score: float, upto: int) -> Symptom | None:
        most = watch.most * math.exp(-(upto - watch.most_at) / FORGETS)
        metrics = {event.metric for event in watch.telling()}
        alarm = (
            score >= ALARM
            and len(metrics) >= METRICS
            and weight > NEWS * most
            and upto - watch.since >= WATCHES
        )  # fmt: skip
        if watch.symptom is not None:
            return self._go_on(watch, score, upto)
        if not alarm:
            if weight > most:
                watch.most, watch.most_at = weight, upto
            return None
        watch.symptom = self._symptom(service, watch, score, upto)
        watch.quiet_since = upto
        return watch.symptom

    def _go_on(self, watch: _Watch, score: float, upto: int) -> Symptom | None:
        """An open one ends after ten quiet minutes; what it was is then remembered as something that happens."""
        assert watch.symptom is not None
        if score >= FLOOR:
            watch.quiet_since = upto
            return None
        if upto - watch.quiet_since < QUIET:
            return None
        over = replace(watch.symptom, active=False, last_at=upto)
        watch.symptom = None
        return over

    def _symptom(self, service: str, watch: _Watch, score: float, upto: int) -> Symptom:
        events = sorted(watch.telling(), key=lambda event: (-event.score, event.metric, event.series))
        metrics = list(dict.fromkeys(plain(event.metric, 80) for event in events))
        first_at = min(event.at for event in events)
        labels = {"service": service}
        named = ", ".join(metrics[:3]) + (f" and {len(metrics) - 3} more" if len(metrics) > 3 else "")
        return Symptom(
            id=symptom_id("group", labels, first_at), detector="group", kind="anomaly", name="ServiceAnomaly",
            service=service, labels=labels, metric="", score=round(score, 2), value=float(len(events)),
            lower=None, upper=None, first_at=first_at, last_at=upto, active=True,
            summary=f"{len(events)} series of {plain(service, 80)} behave as they have not before: {named}",
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        return {
            "tail": self._tail.state()["tail"],
            "watched": [
                [name, w.row, w.since, [asdict(e) for e in w.recent.values()], w.most, w.most_at,
                 None if w.symptom is None else asdict(w.symptom), w.quiet_since]
                for name, w in self._watched.items()
            ],
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        self._tail.restore({"tail": state["tail"]})
        for name, row, since, recent, most, most_at, symptom, quiet_since in state["watched"]:
            events = {event["series"]: Event(**event) for event in recent}
            told = None if symptom is None else Symptom(**symptom)
            self._watched[name] = _Watch(row, since, events, most, most_at, told, quiet_since)
