"""The life of an alerting rule's instances: pending, firing, kept firing, over; and the symptom that each becomes.

Decisions follow Prometheus's ``rules/alerting.go``: an instance is a label set; it is pending from the first evaluation
that finds it, fires when it was found for ``for``, and is over when it is not found any more (for ``keep_firing_for``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from detector.nouns import Evidence, Impact, LabelSet, Symptom
from detector.rules import templates
from detector.rules.evidence import is_plain
from detector.rules.groups import Rule
from detector.rules.promql.columns import NAME
from detector.rules.promql.errors import ExecutionError
from detector.series.identity import symptom_id

NEWS_EVERY_MS = 60_000
"""How long a firing instance stays unmentioned at least, however its value moves."""
NEWS_CHANGE = 0.1
"""A relative change of the value from which it is news."""
_PLACES = ("mountpoint", "persistentvolumeclaim", "volume", "device", "container", "name", "queue", "topic", "pool",
           "datname", "db", "area", "id")  # fmt: skip

IMPACT = "impact_seconds"
"""The annotation by which a forecast rule says how far away the disruption is."""

Happening = Literal["fired", "news", "over"]


@dataclass(slots=True)
class Instance:
    """One alert. ``sample`` are the labels that the expression gave it; times in ms, 0: not yet."""

    labels: LabelSet
    sample: Mapping[str, str]
    active_at: int
    value: float
    last_at: int
    fired_at: int = 0
    missing_since: int = 0
    told_at: int = 0
    told_value: float = math.nan
    annotations: dict[str, str] = field(default_factory=dict)
    evidence: Evidence | None = None

    @property
    def state(self) -> Literal["pending", "firing"]:
        return "firing" if self.fired_at else "pending"


Found = Mapping[LabelSet, tuple[Mapping[str, str], float]]


def found(rule: Rule, samples: Iterable[tuple[dict[str, str], float]], context: templates.Context) -> Found:
    """The instances that one evaluation found, by their alert labels; raises :class:`ExecutionError` for duplicates."""
    out: dict[LabelSet, tuple[Mapping[str, str], float]] = {}
    for sample, value in samples:
        sample.pop(NAME, None)
        labels = _alert_labels(rule, sample, value, context)
        if labels in out:
            raise ExecutionError("vector contains metrics with the same labelset after applying alert labels")
        out[labels] = (sample, value)
    return out


def _alert_labels(rule: Rule, sample: Mapping[str, str], value: float, context: templates.Context) -> LabelSet:
    labels = dict(sample)
    if rule.labels:
        here = _context(context, sample, value)
        for name, template in rule.labels:
            labels[name] = templates.expand(template, here)
    labels["alertname"] = rule.name
    return tuple(sorted((name, text) for name, text in labels.items() if text))


def _context(shared: templates.Context, sample: Mapping[str, str], value: float) -> templates.Context:
    return templates.Context(sample, value, shared.external_labels, shared.external_url, shared.query)


def advance(rule: Rule, active: dict[LabelSet, Instance], now: Found, at: int) -> list[tuple[Happening, Instance]]:
    """Move the instances of ``rule`` to ``at`` given what was found; what is worth telling, in a stable order."""
    happened: list[tuple[Happening, Instance]] = []
    for labels, (sample, value) in now.items():
        instance = active.get(labels)
        if instance is None:
            instance = active[labels] = Instance(labels, sample, at, value, at)
        instance.value, instance.last_at, instance.missing_since = value, at, 0
    for labels, instance in sorted(active.items()):
        if labels not in now and not _kept(rule, instance, at):
            del active[labels]
            if instance.fired_at:
                happened.append(("over", instance))
            continue
        if not instance.fired_at and at - instance.active_at >= rule.hold:
            instance.fired_at = at
            happened.append(("fired", instance))
        elif instance.fired_at and _is_news(rule, instance, at):
            happened.append(("news", instance))
    return happened


def _kept(rule: Rule, instance: Instance, at: int) -> bool:
    """Whether an instance that was not found goes on firing for a while."""
    if not instance.fired_at or not rule.keep:
        return False
    instance.missing_since = instance.missing_since or at
    return at - instance.missing_since < rule.keep


def _is_news(rule: Rule, instance: Instance, at: int) -> bool:
    """Whether the value moved; of a forecast (the value is the seconds left): whether its hour did."""
    if instance.last_at != at or at - instance.told_at < NEWS_EVERY_MS:
        return False
    expected = instance.told_value
    if any(name == IMPACT for name, _ in rule.annotations):
        expected -= (at - instance.told_at) / 1000
    return abs(instance.value - expected) > NEWS_CHANGE * max(abs(instance.told_value), 1e-9)


def annotate(rule: Rule, instance: Instance, context: templates.Context) -> None:
    """Expand the annotations for the instance's present value."""
    here = _context(context, instance.sample, instance.value)
    instance.annotations = {name: templates.expand(template, here) for name, template in rule.annotations}


# --- the symptom ---------------------------------------------------------------------------------------------------


def symptom(rule: Rule, instance: Instance, service: str, at: int, *, active: bool) -> Symptom:
    """The instance as the other rooms know it; its id derives from its labels and when it became active."""
    labels = dict(instance.labels)
    category = labels.get("category")
    value = instance.value if math.isfinite(instance.value) else None
    # A metric whose unit is not the value's would have the value read as bytes where it is a share.
    unit, metric = instance.evidence.unit if instance.evidence else "", rule.metric
    return Symptom(
        id=symptom_id("rule", labels, instance.active_at),
        detector="rule",
        kind=labels.get("kind") or "threshold",
        name=rule.name,
        service=service,
        labels=labels,
        metric=metric if unit or is_plain(rule.expr) else "",
        score=0.0,
        value=value,
        lower=None,
        upper=None,
        first_at=instance.active_at,
        last_at=instance.last_at,
        active=active,
        summary=_summary(rule, instance),
        category=category,
        severity=labels.get("severity"),
        item=_item(labels) if category is not None and category.startswith("capacity/") else "",
        disruption=labels.get("phase") == "disruption",
        impact=_impact(instance.annotations, at) if active else None,
        evidence=instance.evidence,
        annotations=dict(instance.annotations),
    )


def _summary(rule: Rule, instance: Instance) -> str:
    for name in ("summary", "message", "title", "description"):
        if text := instance.annotations.get(name):
            return text
    return f"{rule.name}: {rule.text} is {instance.value:.4g}"


def _item(labels: Mapping[str, str]) -> str:
    """The resource that runs out, in words of its labels: a pod, else the instance and the place in it."""
    where = [labels.get("namespace", ""), labels["pod"]] if labels.get("pod") else [labels.get("instance", "")]
    place = next((labels[name] for name in _PLACES if labels.get(name)), "")
    return " ".join(part for part in (*where, place) if part)


def _impact(annotations: Mapping[str, str], at: int) -> Impact | None:
    """A forecast rule says by the annotation :data:`IMPACT` how far away the disruption is. A straight line through
    noisy samples is no better than a fifth either way, so that is the interval."""
    try:
        seconds = float(annotations[IMPACT])
    except (KeyError, ValueError):
        return None
    if not 0 <= seconds < 10 * 365 * 86_400:
        return None
    ms = seconds * 1000
    return Impact(at + int(0.8 * ms), at + int(ms), at + int(1.25 * ms))


# --- state ---------------------------------------------------------------------------------------------------------


def dump(instances: Iterable[Instance]) -> list[dict[str, Any]]:
    """JSON-able; NaN and infinities as text. Evidence is made anew when there is news."""
    return [
        {
            "labels": [list(pair) for pair in i.labels],
            "sample": dict(i.sample),
            "annotations": dict(i.annotations),
            "times": [i.active_at, i.last_at, i.fired_at, i.missing_since, i.told_at],
            "values": [repr(i.value), repr(i.told_value)],
        }
        for i in instances
    ]


def revive(dumped: Sequence[Mapping[str, Any]]) -> dict[LabelSet, Instance]:
    """What :func:`dump` wrote."""
    out = {}
    for item in dumped:
        labels: LabelSet = tuple((name, value) for name, value in item["labels"])
        active_at, last_at, fired_at, missing_since, told_at = item["times"]
        value, told_value = (float(v) for v in item["values"])
        out[labels] = Instance(
            labels, item["sample"], active_at, value, last_at, fired_at, missing_since, told_at, told_value,
            dict(item["annotations"]),
        )  # fmt: skip
    return out
