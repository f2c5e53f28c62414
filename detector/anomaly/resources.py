"""The limited resources among the series of a store, found by name once and then kept in step with births and deaths.

A resource is what is used (one series, or several that are summed), what limits it (a series, a number, or what there
was at most), and how people call it. Labels are read once per series of a metric that has a limit, never of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from detector.anomaly import limits
from detector.anomaly.options import Category, ForecastOptions, LimitOptions
from detector.nouns import Ids
from detector.series.labels import Matcher
from detector.series.store import Store

ServiceOf = Callable[[Mapping[str, str]], str]
Key = tuple[str, tuple[tuple[str, str], ...]]
"""A resource's identity: used metric and the labels that it is counted by."""


@dataclass(slots=True)
class Resource:
    """What runs out. ``used``: ids that are summed; ``row``: its row in the legs.

    Rising, it runs up to the value of series ``limit``, or to ``number`` where that is -1. ``falling``, it runs down to
    ``number`` (0 unless an option says otherwise) from the value of series ``limit``, or from the most that was seen.
    """

    key: Key
    metric: str
    limit_metric: str
    labels: Mapping[str, str]
    service: str
    category: Category
    item: str
    falling: bool
    used: list[int]
    limit: int = -1
    number: float = 0.0
    row: int = -1


@dataclass(frozen=True, slots=True)
class _Rule:
    """One way to find resources: a pair of names or an option."""

    used: str
    limit: str | float | None
    falling: bool
    category: Category
    by: tuple[str, ...] | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    item: tuple[str, ...] = ()


class Resources:
    """Every limited resource of ``store``; :meth:`refresh` after series were born, :meth:`forget` after they went."""

    def __init__(self, store: Store, options: ForecastOptions, service_of: ServiceOf) -> None:
        self._store = store
        self._options = options
        self._service_of = service_of
        self._names: set[str] = set()
        self._readings: dict[str, limits.Reading | None] = {}
        self._rules: list[_Rule] = []
        self._labels: dict[int, dict[str, str]] = {}
        self.found: dict[Key, Resource] = {}

    def refresh(self) -> list[Resource]:
        """Look for new resources; returns those that are new. Cheap when no metric with a limit has new series."""
        names = set(self._store.index.label_values("__name__"))
        if names != self._names:
            self._readings = {name: self._readings.get(name) or limits.read(name) for name in sorted(names)}
            self._names = names
            told = [reading for reading in self._readings.values() if reading is not None]
            self._rules = _rules(names, told, self._options)
        fresh: list[Resource] = []
        for rule in self._rules:
            fresh += self._apply(rule)
        return fresh

    def interesting(self, names: Iterable[str]) -> bool:
        """Whether a series of one of these metrics may be part of a resource."""
        known = {rule.used for rule in self._rules} | {rule.limit for rule in self._rules}
        return any(name not in self._names or name in known for name in names)

    def forget(self, ids: Iterable[int]) -> list[Resource]:
        """These series are gone; returns the resources that went with them."""
        gone = {id for id in ids if self._labels.pop(id, None) is not None}
        if not gone:
            return []
        lost = []
        for key, resource in list(self.found.items()):
            resource.used = [id for id in resource.used if id not in gone]
            if not resource.used or resource.limit in gone:
                lost.append(resource)
                del self.found[key]
        return lost

    def _apply(self, rule: _Rule) -> list[Resource]:
        limit_of = self._limits(rule)
        fresh: list[Resource] = []
        for id in self._select(rule.used):
            labels = self._label_set(id)
            if any(labels.get(name) != value for name, value in rule.where.items()):
                continue
            own = _own(labels, rule.by)
            key: Key = (rule.used, own)
            resource = self.found.get(key)
            if resource is not None:
                if id not in resource.used and rule.by is not None:
                    resource.used.append(id)
                    resource.used.sort()
                continue
            limit = limit_of.get(own) if isinstance(rule.limit, str) else -1
            if limit is None:
                continue
            resource = self._resource(rule, key, id, limit)
            self.found[key] = resource
            fresh.append(resource)
        return fresh

    def _resource(self, rule: _Rule, key: Key, id: int, limit: int) -> Resource:
        labels = self._label_set(id)
        shown = labels if rule.by is None else {"__name__": rule.used, **dict(key[1])}
        return Resource(
            key=key,
            metric=rule.used,
            limit_metric=rule.limit if isinstance(rule.limit, str) else "",
            labels=shown,
            service=self._service_of(labels),
            category=rule.category,
            item=" ".join(labels[name] for name in rule.item if labels.get(name)) or limits.item(shown),
            falling=rule.falling,
            used=[id],
            limit=limit,
            number=float(rule.limit) if isinstance(rule.limit, int | float) else 0.0,
        )

    def _limits(self, rule: _Rule) -> dict[tuple[tuple[str, str], ...], int]:
        if not isinstance(rule.limit, str):
            return {}
        return {_own(self._label_set(id), rule.by): id for id in self._select(rule.limit)}

    def _select(self, metric: str) -> list[int]:
        ids: Ids = self._store.index.select([Matcher("__name__", "=", metric)])
        return [int(id) for id in ids]

    def _label_set(self, id: int) -> dict[str, str]:
        labels = self._labels.get(id)
        if labels is None:
            labels = self._labels[id] = self._store.index.labels_of(id)
        return labels


def _own(labels: Mapping[str, str], by: tuple[str, ...] | None) -> tuple[tuple[str, str], ...]:
    if by is None:
        return tuple(sorted((name, value) for name, value in labels.items() if name != "__name__"))
    return tuple((name, labels[name]) for name in sorted(by) if labels.get(name))


def _rules(names: set[str], readings: Sequence[limits.Reading], options: ForecastOptions) -> list[_Rule]:
    """Options first: what somebody stated beats what the names suggest."""
    stated = [_stated(option) for option in (*options.more_limits, *options.limits) if _present(option, names)]
    taken = {rule.used for rule in stated}
    told = [
        _Rule(pair.used, pair.limit or pair.total, pair.falling, pair.category)
        for pair in (limits.paired(readings) if options.pairs else ())
        if pair.used not in taken
    ]
    return stated + told


def _stated(option: LimitOptions) -> _Rule:
    return _Rule(option.used, option.limit, option.falling, option.category, option.by, option.where, option.item)


def _present(option: LimitOptions, names: set[str]) -> bool:
    return option.used in names and (not isinstance(option.limit, str) or option.limit in names)
