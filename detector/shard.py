"""The arrays storey as one plain class: series, rules and models behind six verbs.

No asyncio, no clock, no I/O, no globals: event time is always an argument, so that this class can be the heart
thread's, a backtest's, or another process's. What goes in is numbered (``seq``) and replayable; what comes out are
Findings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from detector.anomaly.bank import Bank
from detector.anomaly.options import AnomalyOptions
from detector.nouns import Batch, Control, Findings
from detector.rules import api
from detector.rules.groups import Group, spans
from detector.rules.promql.engine import Engine
from detector.rules.ruler import PreparedRules, Ruler
from detector.series.limits import Depth, Limits
from detector.series.store import Accepted, Store

STATE_VERSION = 1
HOLE_MS = 3_600_000

ServiceOf = Callable[[Mapping[str, str]], str]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a reload may change upstairs."""

    limits: Limits
    groups: tuple[Group, ...]
    anomaly: AnomalyOptions
    service_of: ServiceOf
    external_labels: Mapping[str, str] = field(default_factory=dict)

    def depth(self) -> Depth:
        """How far back the rings must reach for the rules, and for the trends of the forecasts."""
        default, metrics = spans(self.groups)
        floor = Depth().default
        return Depth(max(floor, default), {name: max(floor, span) for name, span in metrics.items()})


@dataclass(frozen=True, slots=True)
class Query:
    """A question to the Prometheus HTTP API: ``what`` is its path word, ``params`` all values of each parameter."""

    what: str
    params: Mapping[str, tuple[str, ...]]
    now: int


@dataclass(frozen=True, slots=True)
class Advance:
    """What one advance found and what it cost; ``scores`` are (labels, score) of series over the export floor."""

    findings: Findings
    scores: tuple[tuple[Mapping[str, str], float], ...] = ()
    group_seconds: Mapping[str, float] = field(default_factory=dict)
    newest: int = 0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan that was checked against what runs; committing it cannot fail."""

    plan: Plan
    rules: PreparedRules


class Shard:
    """One shard of the arrays storey. Not thread-safe: it has one owner."""

    def __init__(self, plan: Plan, *, evict: bool = True) -> None:
        self.store = Store(plan.limits, plan.depth(), evict=evict)
        self.engine = Engine(self.store)
        self.ruler = Ruler(self.store, plan.groups, plan.service_of, plan.external_labels, self.engine)
        self.bank = Bank(self.store, plan.anomaly, plan.service_of)
        self.seq = 0
        self.upto = 0
        self._plan = plan
        self._late = 0
        self._dropped: dict[str, int] = {}

    def accept(self, seq: int, batch: Batch) -> Accepted | None:
        """Store the batch and hand it to the models; None when ``seq`` was seen before (idempotent)."""
        if seq <= self.seq:
            return None
        self.seq = seq
        accepted = self.store.accept(batch, event_time=self.upto)
        kept = accepted.kept
        self.bank.feed(batch.series[kept], batch.at[kept], batch.value[kept])
        self._late += accepted.late
        for reason, count in accepted.rejected.items():
            self._dropped[reason] = self._dropped.get(reason, 0) + count
        return accepted

    def advance(self, to: int) -> Advance:
        """Move event time to ``to`` (ms): evaluate rules, step models, forecast. Going back is a no-op."""
        if to <= self.upto:
            return Advance(Findings(self.upto))
        if self.upto and to - self.upto > HOLE_MS:
            # As Prometheus does after a long stop: what was missed is not evaluated late, one slot after the other.
            self.ruler.skip_to(to - 1)
        self.upto = to
        ruled = self.ruler.evaluate(to)
        modelled = self.bank.advance(to)
        self.bank.forget(self.store.sweep(to))
        findings = Findings(
            upto=to,
            symptoms=(*ruled.symptoms, *modelled.symptoms),
            recorded=ruled.recorded,
            late=self._late,
            dropped=self._dropped,
            failures=ruled.failures,
        )
        self._late, self._dropped = 0, {}
        return Advance(findings, modelled.scores, ruled.seconds)

    def query(self, query: Query) -> tuple[int, dict[str, Any]]:
        """The answer of the Prometheus HTTP API: status and JSON-ready body; never raises on what a user may ask."""
        return api.answer(self.store, self.engine, self.ruler, query.what, query.params, query.now)

    def control(self, seq: int, control: Control) -> None:
        """The desk's word to the models."""
        if seq > self.seq:
            self.seq = seq
            self.bank.control(control)

    def prepare(self, plan: Plan) -> Prepared:
        """Check ``plan`` against what runs; touches nothing."""
        return Prepared(plan, self.ruler.prepare(plan.groups, plan.service_of, plan.external_labels))

    def commit(self, prepared: Prepared) -> None:
        """Take over a prepared plan; what did not change keeps its state."""
        plan = prepared.plan
        self._plan = plan
        self.store.set_limits(plan.limits)
        self.store.set_depth(plan.depth())
        self.ruler.commit(prepared.rules)
        self.bank.reconfigure(plan.anomaly, plan.service_of)

    def state(self) -> dict[str, Any]:
        """Everything that a restart needs: named arrays and JSON-able values."""
        return {
            "version": STATE_VERSION,
            "seq": self.seq,
            "upto": self.upto,
            "store": self.store.state(),
            "rules": self.ruler.state(),
            "models": self.bank.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over :meth:`state`; ValueError names the part whose version is unknown."""
        if state["version"] != STATE_VERSION:
            raise ValueError(f"the snapshot has version {state['version']}, this program reads {STATE_VERSION}")
        self.store.restore(state["store"])
        self.ruler.restore(state["rules"])
        self.bank.restore(state["models"])
        self.seq, self.upto = int(state["seq"]), int(state["upto"])
