"""The bank: every model over every series of a shard, behind four verbs.

Samples are fed as they are accepted and wait until event time passes them; ``advance`` steps the models over them,
then forecasts limited resources and weighs what was unlikely, once an evaluation interval. Models know nothing across
series and the store keeps each series in order, so that neither the order in which series arrive nor the size of
batches changes any result. No asyncio, no clock, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.anomaly import legs, trend
from detector.anomaly.base import LARGEST, Scores, taller
from detector.anomaly.corroborate import FLOOR, Corroboration, Event
from detector.anomaly.exhaustion import packed, unpacked
from detector.anomaly.forecast import Caution, Forecaster
from detector.anomaly.golden import Golden, LatencySource, failed, is_traffic
from detector.anomaly.group import GroupModel
from detector.anomaly.kind import COUNTER, GAP, UNKNOWN, Kinds, kind_of
from detector.anomaly.options import AnomalyOptions
from detector.anomaly.resources import Resources
from detector.anomaly.sources import StoreSource
from detector.anomaly.views import Views
from detector.nouns import Control, Ids, LabelSet, Symptom, Times, Values
from detector.series.labels import Matcher
from detector.series.store import Store

_FAILURES = re.compile(r"error|fail|drop|reject|retr|timeout|abort|exception|restart")
ServiceOf = Callable[[Mapping[str, str]], str]
STATE_VERSION = 1
SIGNALS = 6
DISTANT = 6.0
"""Mahalanobis distance from which a service's golden signals count as an event."""
MATURE = 400
"""Values behind a series' calibration before its scores count as events: a younger tail is not known well enough."""
WAITING = 4_000_000
"""Samples that may wait for event time; more are stepped early: a sender in the future must not fill the memory."""
EXPORTED = 300_000
"""ms for which a score over the export floor stays visible: dashboards scrape less often than series score."""
LATENCY = Caution(way=0.4, least=0.16)
"""Latency doubles and halves in ordinary life: it must have come further than a disk, and more than doubled."""


@dataclass(frozen=True, slots=True)
class AnomalyFindings:
    """``symptoms`` new, changed or over, in a stable order; ``scores``: (labels, score) of series over the floor."""

    symptoms: tuple[Symptom, ...] = ()
    scores: tuple[tuple[Mapping[str, str], float], ...] = ()


class Bank:
    """Models, forecasts and corroboration over one store. Single owner, like the store."""

    def __init__(self, store: Store, options: AnomalyOptions, service_of: ServiceOf) -> None:
        self._store = store
        self._waiting: list[tuple[Ids, Times, Values]] = []
        self._waits = 0
        self._kinds = Kinds()
        self._views = Views()
        self._capacity = 0
        self._frozen = np.zeros(0, np.bool_)
        self._freezes: dict[LabelSet, int] = {}
        self._service: dict[int, str] = {}
        self._noted = np.zeros(0, np.float32)
        self._noted_at = np.zeros(0, np.int64)
        self._shown: dict[int, Mapping[str, str]] = {}
        self._groups: dict[str, GroupModel] = {}
        self._corroboration = Corroboration()
        self._events: list[Event] = []
        self._ended: list[Symptom] = []
        self._upto = 0
        self._arm(options, service_of)

    def _arm(self, options: AnomalyOptions, service_of: ServiceOf) -> None:
        self._options = options
        self._service_of = service_of
        self._ignore = frozenset(options.ignore)
        self._golden = Golden(self._store, service_of)
        found = Resources(self._store, options.forecast, service_of)
        self._limited = Forecaster(StoreSource(self._store, found), options.forecast)
        self._latency: Forecaster | None = None
        if options.forecast.latency_objective is not None:
            source = LatencySource(self._golden, options.forecast.latency_objective)
            self._latency = Forecaster(source, options.forecast, LATENCY)

    # --- samples ----------------------------------------------------------------------------------------------------

    def feed(self, ids: Ids, at: Times, value: Values) -> None:
        """Samples that the store has accepted, each series in order of time."""
        if not len(ids):
            return
        self._waiting.append((ids, at, value))
        self._waits += len(ids)
        if self._waits > WAITING:
            self._step(*self._due(None))

    def teach(self, ids: Ids, at: Times, value: Values) -> int:
        """The season's profile from samples at its bins' edges, each series' together and oldest first; for series
        that have varied since they are here. Returns how many were taught."""
        self._step(*self._due(None))
        known = ids < len(self._kinds.row)
        ids, at, value = ids[known], at[known], value[known]
        rows = self._kinds.row[ids]
        pair = (ids[1:] == ids[:-1]) & (rows[1:] >= 0) & (at[1:] - at[:-1] <= GAP)
        # Between two edges: a counter's rate, or the middle of a gauge's two values; at the middle of the bin.
        change, span = value[1:] - value[:-1], np.maximum(at[1:] - at[:-1], 1)
        rate = np.where(change >= 0, change, value[1:]) * 1000.0 / span
        x = np.where(self._kinds.kind[ids[1:]] == COUNTER, rate, (value[1:] + value[:-1]) / 2)
        pair &= np.isfinite(x)
        self._views.season.teach(rows[1:][pair], (at[1:] - span // 2)[pair], np.clip(x[pair], -LARGEST, LARGEST))
        return len(np.unique(rows[1:][pair]))

    def forget(self, ids: Ids) -> None:
        """These series are gone and their ids may be used again; symptoms about them end with the next advance."""
        if not len(ids):
            return
        if self._waits:
            kept = [(i, a, v) for i, a, v in (_without(chunk, ids) for chunk in self._waiting) if len(i)]
            self._waiting, self._waits = kept, sum(len(chunk[0]) for chunk in kept)
        self._views.reset(self._kinds.forget(ids))
        known = ids[ids < len(self._frozen)]
        self._frozen[known] = False
        self._noted[known] = 0.0
        gone = ids.tolist()
        for id in gone:
            self._service.pop(id, None)
            self._shown.pop(id, None)
        self._events = [event for event in self._events if event.series not in set(gone)]
        self._ended += self._limited.forget(gone, self._upto)
        self._golden.forget(ids)

    def advance(self, upto: int) -> AnomalyFindings:
        """Move event time to ``upto``: step the models, and on an evaluation's boundary forecast and weigh."""
        self._step(*self._due(upto))
        symptoms, self._ended = self._ended, []
        due = upto // self._options.interval > self._upto // self._options.interval
        self._upto = upto
        if due:
            symptoms = symptoms + self._evaluate(upto)
        return AnomalyFindings(tuple(symptoms), self._export(upto))

    def _due(self, upto: int | None) -> tuple[Ids, Times, Values]:
        """What waits and is not after ``upto`` (None: everything); the rest goes on waiting, in order."""
        if not self._waiting:
            return np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64)
        ids, at, value = (np.concatenate(arrays) for arrays in zip(*self._waiting, strict=True))
        self._waiting.clear()
        self._waits = 0
        if upto is None or int(at.max()) <= upto:
            return ids, at, value
        now = at <= upto
        self._waiting.append((ids[~now], at[~now], value[~now]))
        self._waits = int(len(now) - np.count_nonzero(now))
        return ids[now], at[now], value[now]

    def _step(self, ids: Ids, at: Times, value: Values) -> None:
        """Step every model over these samples and keep what scored over the floor."""
        if not len(ids):
            return
        self._births(ids)
        seen, rows, x = self._kinds.derive(ids, at, value)
        if not len(rows):
            return
        if self._kinds.rows > self._capacity:
            self._capacity = self._kinds.rows
            self._views.grow(self._capacity)
        ids, at = ids[seen], at[seen]
        learn = ~self._frozen[ids] if self._freezes else np.ones(len(ids), np.bool_)
        scores = self._views.step(rows, at, x, learn)
        high = np.flatnonzero(scores >= min(FLOOR, self._options.export_floor))
        high = high[self._views.seen(rows[high]) >= MATURE]
        if len(high):
            higher = x[high] > self._views.level.band(rows[high], 0.0)[0]
            self._note(ids[high], at[high], scores[high], higher & (self._kinds.kind[ids[high]] == COUNTER))

    def _note(self, ids: Ids, at: Times, scores: Scores, faster: npt.NDArray[np.bool_]) -> None:
        """Keep high scores for export, and those over the floor as events; ``faster``: counters that speed up."""
        stale = self._noted_at[ids] <= at - EXPORTED
        better = stale | (scores >= self._noted[ids])
        self._noted[ids[better]], self._noted_at[ids[better]] = scores[better], at[better]
        for i in np.flatnonzero(scores >= FLOOR).tolist():
            id = int(ids[i])
            labels = self._store.index.labels_of(id)
            metric = labels["__name__"]
            work = bool(faster[i]) and not failed(labels) and not _FAILURES.search(metric[-80:])
            traffic = work and is_traffic(metric)
            score, when = float(scores[i]), int(at[i])
            self._events.append(Event(self._named(id, labels), metric, id, when, score, work, traffic))

    def _named(self, id: int, labels: Mapping[str, str]) -> str:
        service = self._service.get(id)
        if service is None:
            service = self._service[id] = self._service_of(labels)
        return service

    def _births(self, ids: Ids) -> None:
        top = int(ids.max()) + 1
        if top > len(self._kinds.kind):
            self._kinds.grow(top)
            self._fit()
        new = self._kinds.unknown(ids)
        if not len(new):
            return
        index = self._store.index
        codes, one, place = np.unique(index.label_column(new, "__name__"), return_index=True, return_inverse=True)
        names = [index.string(int(code)) for code in codes]
        types = [index.type_of(int(new[i])) for i in one]
        kinds = [kind_of(name, type, self._ignore) for name, type in zip(names, types, strict=True)]
        self._kinds.kind[new] = np.array(kinds, np.uint8)[place]
        self._limited.births(names)
        self._golden.births(names)
        if self._latency is not None:
            self._latency.births(names)
        if self._freezes:
            self._refreeze()

    def _fit(self) -> None:
        """Room for what is kept by id."""
        size = len(self._kinds.kind)
        self._frozen = taller(self._frozen, size)
        self._noted = taller(self._noted, size)
        self._noted_at = taller(self._noted_at, size)

    # --- evaluation -------------------------------------------------------------------------------------------------

    def _evaluate(self, upto: int) -> list[Symptom]:
        symptoms = self._limited.evaluate(upto)
        self._golden.tick(upto)
        if self._latency is not None:
            symptoms += self._latency.evaluate(upto)
        events, self._events = self._events, []
        if self._options.groups:
            for service in self._golden.services():
                self._corroboration.watch(service, upto)
            if self._options.group_model:
                events += self._group_events(upto)
            symptoms += self._corroboration.step(events, upto)
        return symptoms

    def _group_events(self, upto: int) -> list[Event]:
        """The golden signals of a service taken together, as one more series of it."""
        events = []
        for n, service in enumerate(self._golden.services()):
            signals = dict(sorted(self._golden.signals(service).items())[:SIGNALS])
            if len(signals) < 2:
                continue
            model = self._groups.setdefault(service, GroupModel())
            distance = model.score(signals)
            model.learn(signals)
            if distance >= DISTANT:
                events.append(Event(service, "golden signals", -1 - n, upto, FLOOR * distance / DISTANT))
        return events

    def _export(self, upto: int) -> tuple[tuple[Mapping[str, str], float], ...]:
        """The highest scores over the export floor that are still fresh, highest first."""
        size = min(len(self._noted), len(self._kinds.kind))
        fresh = (self._noted[:size] >= self._options.export_floor) & (self._noted_at[:size] > upto - EXPORTED)
        ids = np.flatnonzero(fresh & (self._noted[:size] > 0))
        ids = ids[np.argsort(-self._noted[ids], kind="stable")][: self._options.export_limit]
        index, shown = self._store.index, self._shown
        self._shown = {id: shown[id] if id in shown else index.labels_of(id) for id in ids.tolist()}
        return tuple((labels, round(float(self._noted[id]), 3)) for id, labels in self._shown.items())

    # --- the desk's word, reload, state -----------------------------------------------------------------------------

    def control(self, control: Control) -> None:
        """Freeze or thaw every series that carries one of the label sets; a frozen one is scored but not learned from.

        Each freeze needs its thaw. Feedback trains nothing yet.
        """
        if control.kind == "feedback":
            return
        for labels in control.labels:
            own = tuple((name, value) for name, value in labels if value)
            if not own:
                continue
            count = self._freezes.get(own, 0) + (1 if control.kind == "freeze" else -1)
            if count > 0:
                self._freezes[own] = count
            else:
                self._freezes.pop(own, None)
        self._refreeze()

    def _refreeze(self) -> None:
        self._frozen[:] = False
        for labels in self._freezes:
            ids = self._store.index.select([Matcher(name, "=", value) for name, value in labels])
            self._frozen[ids[ids < len(self._frozen)]] = True

    def reconfigure(self, options: AnomalyOptions, service_of: ServiceOf) -> None:
        """Take over new options; warm models, trends and open symptoms stay."""
        limited, latency = self._limited.state(), self._latency.state() if self._latency is not None else None
        histories = self._golden.latencies
        ignored = self._ignore
        self._arm(options, service_of)
        self._service.clear()
        self._limited.restore(limited)
        if latency is not None and self._latency is not None:
            self._latency.restore(latency)
        if ignored != self._ignore:
            self._kinds.kind[:] = UNKNOWN
        self._rebirth()
        for key, known in histories.items():
            if (now := self._golden.latencies.get(key)) is not None:
                now.at, now.value = known.at, known.value

    def _rebirth(self) -> None:
        names = self._store.index.label_values("__name__")
        self._limited.births(names)
        self._golden.births(names)
        if self._latency is not None:
            self._latency.births(names)

    def bytes(self) -> dict[str, int]:
        """Memory of the arrays by part."""
        marks = self._noted.nbytes + self._noted_at.nbytes + self._frozen.nbytes
        return {
            "kinds": self._kinds.bytes(), "views": self._views.bytes(), "legs": self._limited.bytes(), "marks": marks,
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Nested dictionaries of named arrays and JSON-able values; with :meth:`restore` as if nothing had happened."""
        ids, at, value = self._due(None)
        self.feed(ids, at, value)
        return {
            "version": STATE_VERSION,
            "upto": self._upto,
            "waiting": {"ids": ids, "at": at, "value": value},
            "kinds": self._kinds.state(),
            "views": self._views.state(),
            "limited": self._limited.state(),
            "latency": None if self._latency is None else self._latency.state(),
            "golden": self._golden.state(),
            "groups": {service: model.past() for service, model in self._groups.items()},
            "corroboration": self._corroboration.state(),
            "noted": {"score": self._noted, "at": self._noted_at},
            "events": [asdict(event) for event in self._events],
            "ended": [packed(symptom) for symptom in self._ended],
            "freezes": [[[list(pair) for pair in labels], count] for labels, count in self._freezes.items()],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over :meth:`state` into a fresh bank over the restored store; ValueError for another version."""
        if state["version"] != STATE_VERSION:
            raise ValueError(f"the models' state has version {state['version']}, this program reads {STATE_VERSION}")
        self._upto = int(state["upto"])
        self._kinds.restore(state["kinds"])
        self._views.restore(state["views"])
        self._capacity = self._kinds.rows
        self._frozen = np.zeros(0, np.bool_)
        waiting = state["waiting"]
        self.feed(waiting["ids"], waiting["at"], waiting["value"])
        self._golden.restore(state["golden"])
        self._limited.restore(state["limited"])
        if self._latency is not None and state["latency"] is not None:
            self._latency.restore(state["latency"])
        self._rebirth()
        self._groups = {service: GroupModel(past) for service, past in state["groups"].items()}
        self._corroboration.restore(state["corroboration"])
        self._noted = np.array(state["noted"]["score"], np.float32)
        self._noted_at = np.array(state["noted"]["at"], np.int64)
        self._events = [Event(**event) for event in state["events"]]
        self._ended = [unpacked(symptom) for symptom in state["ended"]]
        self._freezes = {tuple((n, v) for n, v in labels): int(count) for labels, count in state["freezes"]}
        self._fit()
        self._refreeze()


def _without(chunk: tuple[Ids, Times, Values], ids: Ids) -> tuple[Ids, Times, Values]:
    keep = ~np.isin(chunk[0], ids)
    return chunk[0][keep], chunk[1][keep], chunk[2][keep]


def warm() -> None:
    """Compile every kernel of this room (or load them from numba's cache): call it at start, off the event loop."""
    ids, at = np.zeros(3, np.int32), np.arange(3, dtype=np.int64)
    kinds, views = Kinds(), Views()
    kinds.grow(1)
    kinds.kind[0] = kind_of("gauge")
    kinds.derive(ids, at, np.arange(3.0))
    views.grow(1)
    views.step(ids, at, np.arange(3.0), np.ones(3, np.bool_))
    first, share = np.array([0, 40]), np.linspace(0.1, 0.9, 40)
    times = np.arange(40, dtype=np.int64) * 1000
    legs.follow(legs.fresh(1), np.zeros(1, np.int64), first, times, share)
    out, begin, good = np.zeros((1, trend.WIDTH)), np.zeros(1, np.int64), np.zeros(1, np.bool_)
    trend.fits(first, times, share, 120, np.zeros(1), np.ones(1), out, begin, good)
