"""Evaluates rule groups in event time, at aligned multiples of their intervals: the same rules over the same samples
give the same result, whatever the steps in which time was moved.

Recorded series go straight into the store; alert instances become symptoms. A rule that fails is reported by name and
the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detector.nouns import Batch, Ids, LabelSet, Symptom
from detector.rules import alerting, templates
from detector.rules.alerting import Happening, Instance
from detector.rules.evidence import evidence
from detector.rules.groups import Group, Rule
from detector.rules.promql.adapter import parse
from detector.rules.promql.columns import NAME, Labels, constant
from detector.rules.promql.engine import Budget, Engine
from detector.rules.promql.errors import ExecutionError, PromQLError
from detector.rules.promql.values import Vector
from detector.rules.template_functions import TemplateError
from detector.series.store import Store

STATE_VERSION = 1
RULE_BUDGET = 100_000_000
TEMPLATE_BUDGET = 1_000_000

ServiceOf = Callable[[Mapping[str, str]], str]
_NONE: Ids = np.empty(0, np.int32)
_STALE = np.array([0x7FF0000000000002], np.uint64).view(np.float64)


def label_service(labels: Mapping[str, str]) -> str:
    """The service of labels without a catalogue: ``service``, else ``app``, ``app_kubernetes_io_name`` or ``job``."""
    return next((labels[k] for k in ("service", "app", "app_kubernetes_io_name", "job") if labels.get(k)), "")


@dataclass(frozen=True, slots=True)
class RuleFindings:
    """What the evaluations up to ``upto`` found. ``failures``: (rule, message); ``seconds``: spent, by group."""

    upto: int
    symptoms: tuple[Symptom, ...] = ()
    recorded: int = 0
    failures: tuple[tuple[str, str], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class RuleState:
    """A rule and what it remembers: its active instances, or the series it recorded last (``ids`` for ``labels``)."""

    rule: Rule
    active: dict[LabelSet, Instance] = field(default_factory=dict)
    labels: Labels | None = None
    ids: Ids = field(default_factory=lambda: _NONE)
    error: str = ""
    seconds: float = 0.0
    evaluated_at: int = 0


@dataclass(slots=True)
class GroupState:
    group: Group
    rules: list[RuleState]
    seconds: float = 0.0
    evaluated_at: int = 0


@dataclass(frozen=True, slots=True)
class PreparedRules:
    """Rules ready to take over; what did not change shares its state with what runs."""

    groups: tuple[GroupState, ...]
    service_of: ServiceOf
    external_labels: Mapping[str, str]


class Ruler:
    """All rule groups over one store. Heart thread only."""

    def __init__(
        self,
        store: Store,
        groups: Sequence[Group],
        service_of: ServiceOf = label_service,
        external_labels: Mapping[str, str] | None = None,
        engine: Engine | None = None,
    ) -> None:
        self._store = store
        self._engine = engine or Engine(store)
        self._service_of = service_of
        self._external_labels: Mapping[str, str] = external_labels or {}
        self._last: int | None = None
        self._ended: list[tuple[RuleState, Instance]] = []
        self._orphans: list[Ids] = []
        self._groups: list[GroupState] = []
        self.commit(self.prepare(groups, service_of, self._external_labels))

    @property
    def groups(self) -> Sequence[GroupState]:
        """Every group with the state of its rules, for the query API."""
        return self._groups

    def firing(self) -> dict[str, int]:
        """Firing instances of every alerting rule, by its name."""
        out: dict[str, int] = {}
        for group in self._groups:
            for state in group.rules:
                if state.rule.alerting:
                    firing = sum(1 for instance in state.active.values() if instance.fired_at)
                    out[state.rule.name] = out.get(state.rule.name, 0) + firing
        return out

    # --- evaluation ------------------------------------------------------------------------------------------------

    def evaluate(self, upto: int) -> RuleFindings:
        """Every group at its slots (multiples of its interval) in (last, upto] ms; the first call only at ``upto``
        itself, if that is a slot."""
        last = upto - 1 if self._last is None else self._last
        if upto <= last:
            return RuleFindings(upto)
        self._last = upto
        run = _Run()
        for state, instance in self._ended:
            run.symptoms.append(self._symptom(state.rule, instance, upto, active=False))
        self._ended = []
        for ids in self._orphans:
            self._store.accept(Batch("rules", ids, np.full(len(ids), upto, np.int64), np.repeat(_STALE, len(ids))))
        self._orphans = []
        for at, group in self._slots(last, upto):
            self._evaluate_group(group, at, run)
        return RuleFindings(upto, tuple(run.symptoms), run.recorded, tuple(run.failures), run.seconds)

    def skip_to(self, at: int) -> None:
        """Do not make up for the evaluations before ``at`` ms (the daemon was down, and nothing came in)."""
        self._last = max(at, self._last or at)

    def _slots(self, last: int, upto: int) -> list[tuple[int, GroupState]]:
        slots: list[tuple[int, int]] = []
        for i, state in enumerate(self._groups):
            interval = state.group.interval
            slots += ((at, i) for at in range((last // interval + 1) * interval, upto + 1, interval))
        return [(at, self._groups[i]) for at, i in sorted(slots)]

    def _evaluate_group(self, state: GroupState, at: int, run: _Run) -> None:
        begun = time.perf_counter()
        for rule in state.rules:
            rule_begun = time.perf_counter()
            try:
                self._evaluate_rule(state.group, rule, at, run)
                rule.error = ""
            except PromQLError as error:
                rule.error = str(error)
                run.failures.append((rule.rule.name, rule.error))
            rule.seconds = time.perf_counter() - rule_begun
            rule.evaluated_at = at
        state.seconds = time.perf_counter() - begun
        state.evaluated_at = at
        run.seconds[state.group.name] = run.seconds.get(state.group.name, 0.0) + state.seconds

    def _evaluate_rule(self, group: Group, state: RuleState, at: int, run: _Run) -> None:
        rule = state.rule
        when = at - group.offset
        value = self._engine.instant(rule.expr, when, Budget(RULE_BUDGET))
        if isinstance(value, float):
            value = Vector(constant(self._engine.texts, {}), np.array([value]))
        assert isinstance(value, Vector)
        if group.limit and len(value.value) > group.limit:
            raise ExecutionError(f"exceeded limit of {group.limit} with {len(value.value)} results")
        if not rule.alerting:
            run.recorded += self._record(state, value, when)
        elif len(value.value) or state.active:
            self._alert(state, value, at, run)

    # --- recording -------------------------------------------------------------------------------------------------

    def _record(self, state: RuleState, vector: Vector, at: int) -> int:
        """Write the vector under the rule's name; a stale marker for what it had before and has not now."""
        before = state.ids
        # The engine hands out the same labels until the index changes: then the ids are still those of last time.
        if vector.labels is not state.labels:
            state.ids = self._recorded_ids(state.rule, vector.labels)
            state.labels = vector.labels
        ids, value = state.ids, vector.value
        if ids is not before and len(gone := np.setdiff1d(before, ids)):
            ids = np.concatenate([ids, gone])
            value = np.concatenate([value, np.repeat(_STALE, len(gone))])
        if len(ids):
            self._store.accept(Batch("rules", ids, np.full(len(ids), at, np.int64), value))
        return len(ids)

    def _recorded_ids(self, rule: Rule, labels: Labels) -> Ids:
        own = {name: template.source for name, template in rule.labels}
        intern = self._store.index.intern
        ids = np.empty(labels.size, np.int32)
        sets: set[LabelSet] = set()
        for i, sample in enumerate(labels.label_sets()):
            merged = {**sample, **own, NAME: rule.name}
            key: LabelSet = tuple(sorted((name, text) for name, text in merged.items() if text))
            if key in sets:
                raise ExecutionError("vector contains metrics with the same labelset after applying rule labels")
            sets.add(key)
            ids[i] = intern(key, "rules", "gauge")
        return ids

    # --- alerting --------------------------------------------------------------------------------------------------

    def _alert(self, state: RuleState, vector: Vector, at: int, run: _Run) -> None:
        rule = state.rule
        context = self._context(at)
        samples = zip(vector.labels.label_sets(), vector.value.tolist(), strict=True)
        happened = alerting.advance(rule, state.active, alerting.found(rule, samples, context), at)
        if not happened:
            return
        self._draw(rule, happened, at)
        for what, instance in happened:
            if what != "over":
                alerting.annotate(rule, instance, context)
                instance.told_at, instance.told_value = at, instance.value
            run.symptoms.append(self._symptom(rule, instance, at, active=what != "over"))

    def _draw(self, rule: Rule, happened: Sequence[tuple[Happening, Instance]], at: int) -> None:
        # After a restart the picture is gone: the next news brings one.
        fired = [i for what, i in happened if what == "fired" or (what == "news" and i.evidence is None)]
        if fired:
            pictures = evidence(self._engine, rule, [instance.sample for instance in fired], at)
            for instance, picture in zip(fired, pictures, strict=True):
                instance.evidence = picture

    def _symptom(self, rule: Rule, instance: Instance, at: int, *, active: bool) -> Symptom:
        service = self._service_of({**self._external_labels, **dict(instance.labels)})
        return alerting.symptom(rule, instance, service, at, active=active)

    def _context(self, at: int) -> templates.Context:
        budget = Budget(TEMPLATE_BUDGET)

        def query(text: str) -> list[dict[str, Any]]:
            try:
                value = self._engine.instant(parse(text), at, budget)
                budget.spend(1_000)  # a loop of cheap queries ends too
            except PromQLError as error:
                raise TemplateError(f"error executing query: {error}") from None
            if isinstance(value, float):
                return [{"Labels": {}, "Value": value}]
            if not isinstance(value, Vector):
                raise TemplateError("query returned no vector")
            sets = value.labels.label_sets()
            return [{"Labels": s, "Value": v} for s, v in zip(sets, value.value.tolist(), strict=True)]

        return templates.Context({}, 0.0, self._external_labels, query=query)

    # --- reload ----------------------------------------------------------------------------------------------------

    def prepare(
        self, groups: Sequence[Group], service_of: ServiceOf, external_labels: Mapping[str, str]
    ) -> PreparedRules:
        """Rules that could take over; touches nothing that runs. A rule of the same content in a group of the same
        name and file keeps its state."""
        known = {group.group.key: group for group in self._groups}
        return PreparedRules(
            tuple(GroupState(g, _kept_states(g, known.get(g.key))) for g in groups), service_of, external_labels
        )

    def commit(self, prepared: PreparedRules) -> None:
        """Take over prepared rules; alerts and recorded series of rules that are gone end at the
        next evaluation."""
        kept = {id(state) for group in prepared.groups for state in group.rules}
        for group in self._groups:
            for state in group.rules:
                if id(state) not in kept:
                    self._ended += [(state, i) for _, i in sorted(state.active.items()) if i.fired_at]
                    self._orphans += [state.ids] if len(state.ids) else []
        self._groups = list(prepared.groups)
        self._service_of = prepared.service_of
        self._external_labels = prepared.external_labels

    # --- state -----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """JSON-able: when it last evaluated, and the active instances by group and rule."""
        rules = {key: alerting.dump(state.active.values()) for key, state in self._states() if state.active}
        return {"version": STATE_VERSION, "last": self._last, "rules": rules}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over :meth:`state` for the rules that are still the same; ValueError for an unknown version."""
        if state["version"] != STATE_VERSION:
            raise ValueError(f"the state of the rules has version {state['version']}, not {STATE_VERSION}")
        self._last = state["last"]
        for key, rule in self._states():
            rule.active = alerting.revive(state["rules"].get(key, ()))
            rule.labels, rule.ids = None, _NONE

    def _states(self) -> list[tuple[str, RuleState]]:
        out: list[tuple[str, RuleState]] = []
        for group in self._groups:
            seen: dict[str, int] = {}
            for state in group.rules:
                digest = state.rule.digest
                seen[digest] = seen.get(digest, 0) + 1
                out.append((f"{group.group.key};{digest};{seen[digest]}", state))
        return out


class _Run:
    """What one call of evaluate collects."""

    __slots__ = ("failures", "recorded", "seconds", "symptoms")

    def __init__(self) -> None:
        self.symptoms: list[Symptom] = []
        self.failures: list[tuple[str, str]] = []
        self.seconds: dict[str, float] = {}
        self.recorded = 0


def _kept_states(group: Group, known: GroupState | None) -> list[RuleState]:
    """A state for every rule of ``group``: that of an equal rule in ``known``, each taken once, or a new one."""
    old: dict[str, list[RuleState]] = {}
    for state in known.rules if known is not None else ():
        old.setdefault(state.rule.digest, []).append(state)
    return [old[r.digest].pop(0) if old.get(r.digest) else RuleState(r) for r in group.rules]
