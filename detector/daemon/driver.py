"""Event time in the daemon: when it moves, and what is done with what an advance found."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from detector.anomaly.silence import silences
from detector.clock import Clock
from detector.config.compose import Root
from detector.nouns import Findings, Symptom
from detector.pipeline import Pipeline, StorageError
from detector.router import Router
from detector.shard import Advance
from detector.telemetry import Telemetry

log = logging.getLogger(__name__)


class Driver:
    """Advances on slotted boundaries of wall time, or follows the samples; hands symptoms to the pipeline.

    A symptom is told once, when it changes: what could not be committed is kept and told again.
    """

    def __init__(
        self, router: Router, pipeline: Pipeline, clock: Clock, telemetry: Telemetry, root: Root, follows: bool
    ) -> None:
        self.evaluated_at: int | None = None
        self.arrivals: dict[str, int] = {}
        """When each source was last heard of, ms of the clock."""
        self._router = router
        self._pipeline = pipeline
        self._clock = clock
        self._telemetry = telemetry
        self._root = root
        self._follows = follows
        self._owed: dict[str, Symptom] = {}
        self._silent: dict[str, Symptom] = {}

    def set_options(self, root: Root) -> None:
        """After a reload: from the next step on."""
        self._root = root

    def now(self) -> int:
        """The time of decisions: the clock's; where samples move time, theirs."""
        if self._follows and self.evaluated_at is not None:
            return self.evaluated_at
        return self._clock.now()

    def arrived(self, source: str) -> None:
        self.arrivals[source] = self._clock.now()

    def owe(self, symptoms: tuple[Symptom, ...]) -> None:
        """Symptoms that a replay met: told with the next step to whoever does not know them."""
        self._owed |= {symptom.id: symptom for symptom in symptoms}

    async def step(self, now: int) -> int:
        """Advance to the newest boundary that samples had time to reach; returns when (ms) the next one is due."""
        interval, lateness = self._root.evaluation.interval, self._root.evaluation.lateness
        to = (now - lateness) // interval * interval
        if not self._follows and (self.evaluated_at is None or to > self.evaluated_at):
            started = time.monotonic()
            advance = await self._router.advance(to)
            self._telemetry.advance_seconds.observe(time.monotonic() - started)
            await self.found(advance, now)
        return to + interval + lateness

    async def found(self, advance: Advance, now: int | None = None) -> None:
        """Count what an advance found and have it decided. ``now``: the decision's time; default: event time."""
        findings = advance.findings
        self.evaluated_at = findings.upto
        now = findings.upto if now is None else now
        self._count(advance)
        self._owed |= {symptom.id: symptom for symptom in findings.symptoms}
        self._owed |= {symptom.id: symptom for symptom in self._silences(now)}
        symptoms = tuple(self._owed.values())
        try:
            await self._pipeline.findings(Findings(findings.upto, symptoms), now)
            if self._follows:
                await self._pipeline.tick(now)
        except StorageError as error:
            log.error("symptoms could not be committed (%s); they are told again", error)
            return
        self._owed.clear()
        for symptom in symptoms:
            if symptom.active:
                age = max(0, self._clock.now() - symptom.last_at) / 1000
                self._telemetry.detection_latency.observe(age)

    def _silences(self, now: int) -> list[Symptom]:
        if self._follows:
            return []
        found = silences(self.arrivals, self._silent, now, self._root.anomaly.silence.after)
        for source, symptom in found.items():
            if symptom.active:
                self._silent[source] = symptom
            else:
                self._silent.pop(source, None)
        return list(found.values())

    def _count(self, advance: Advance) -> None:
        telemetry, findings = self._telemetry, advance.findings
        telemetry.event_time.set(findings.upto / 1000)
        telemetry.late.inc(findings.late)
        for group, seconds in advance.group_seconds.items():
            telemetry.rule_seconds.labels(group).observe(seconds)
        for rule, message in findings.failures:
            telemetry.rule_failures.labels(rule).inc()
            log.warning("rule %s: %s", rule, message)
        telemetry.score.clear()
        for labels, score in advance.scores:
            telemetry.score.labels(*_shown(labels)).set(score)


def _shown(labels: Mapping[str, str]) -> tuple[str, str, str]:
    service = labels.get("service") or labels.get("app") or labels.get("job") or ""
    return service, labels.get("__name__", ""), labels.get("instance", "")
