"""What the daemon says of itself: alive, ready, what is watched, what does not work right now."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from detector.clock import Clock
from detector.config.compose import Loaded
from detector.daemon.driver import Driver
from detector.daemon.intake import DaemonIntake
from detector.incidents.mute import covers_too_much
from detector.ingest.scrape import Scraper
from detector.notify.deliver import Deliverer
from detector.oncall.schedule import on_call
from detector.pipeline import Pipeline, StorageError
from detector.web.deps import OnCallFact, ServiceFact, SourceFact, StatusFacts

ARRIVES_MS = 300_000
KEEPS_UP = 4
"""Evaluations that may be owed before it counts as not keeping up."""


class Health:
    """Facts for pages and probes; ``loaded`` is asked anew, because a reload replaces it."""

    def __init__(
        self,
        loaded: Callable[[], Loaded],
        pipeline: Pipeline,
        driver: Driver,
        intake: DaemonIntake,
        scraper: Scraper,
        deliverer: Deliverer,
        clock: Clock,
        series: Callable[[], int],
    ) -> None:
        self._loaded = loaded
        self._pipeline = pipeline
        self._driver = driver
        self._intake = intake
        self._scraper = scraper
        self._deliverer = deliverer
        self._clock = clock
        self._series = series
        self._since = clock.now()

    def ready(self) -> list[str]:
        """Why requests are not served as they should be; empty: they are."""
        return [self._intake.closed] if self._intake.closed is not None else []

    def problems(self) -> list[str]:
        """What does not work right now, one sentence each."""
        found = [f"rule {problem} was left out" for problem in self._loaded().problems]
        if self._intake.full is not None:
            found.append(f"samples cannot be made durable: {self._intake.full}")
        if self._pipeline.failing is not None:
            found.append(f"the database cannot be written: {self._pipeline.failing}")
        now = self._clock.now()
        wide = [s for s in self._pipeline.noise.silences if s.starts_at <= now < s.ends_at and covers_too_much(s)]
        found += [f"a silence of {silence.created_by or 'nobody'} mutes everything" for silence in wide]
        found += [f"target {state.target.url}: {state.error}" for state in self._scraper.states if state.error]
        found += [f"channel {name} fails: {reason}" for name, (_, reason) in self._deliverer.failing.items()]
        return found

    async def works(self) -> str | None:
        """For the heartbeat: samples arrive, evaluations keep up, the database can be written; else what does not."""
        now = self._clock.now()
        last = max(self._driver.arrivals.values(), default=None)
        if last is None or now - last > ARRIVES_MS:
            return "no samples arrive"
        evaluation = self._loaded().root.evaluation
        owed = now - evaluation.lateness - (self._driver.evaluated_at or 0)
        if owed > KEEPS_UP * evaluation.interval:
            return "evaluations do not keep up"
        try:
            await self._pipeline.desk.writable()
        except StorageError as error:
            return f"the database cannot be written: {error}"
        return None

    def status(self) -> StatusFacts:
        loaded = self._loaded()
        sources = [SourceFact(name, "push", at) for name, at in sorted(self._driver.arrivals.items())]
        sources += [SourceFact(s.target.url, "scrape", s.last_at) for s in self._scraper.states]
        return StatusFacts(
            version=version("proactive-detector"),
            since=self._since,
            series=self._series(),
            rules=sum(len(group.rules) for group in loaded.groups),
            evaluated_at=self._driver.evaluated_at,
            sources=sources,
            problems=self.problems(),
        )

    def services(self) -> list[ServiceFact]:
        entries = self._loaded().catalogue.entries.values()
        return [ServiceFact(e.name, e.team, e.criticality, e.depends_on, e.runbook) for e in entries]

    def oncall(self) -> list[OnCallFact]:
        root = self._loaded().root
        reached = {p.name: tuple(dict.fromkeys(r.channel for r in p.rules)) for p in root.oncall.people}
        facts = []
        for schedule in root.oncall.schedules:
            people = on_call(schedule, self._clock.now())
            facts.append(OnCallFact(schedule.name, people, [name for who in people for name in reached[who]]))
        channels = [channel.name for channel in root.channels if "page" in channel.urgencies]
        return [*facts, OnCallFact("everybody", (), channels)] if channels else facts
