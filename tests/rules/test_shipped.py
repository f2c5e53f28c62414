"""Each shipped alert: a story in which it must fire, and one that looks alike in which it must not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from detector.nouns import LabelSet
from detector.rules.groups import Group, load
from detector.rules.promql.spans import required_span
from tests.rules.scene import Scene, Shape, counter, labels_of, wave

CONFIG = Path(__file__).resolve().parents[2] / "config" / "rules"
CATEGORIES = {
    "availability", "errors", "latency", "traffic", "saturation", "capacity/disk", "capacity/memory", "capacity/cpu",
    "capacity/file-descriptors", "capacity/connections", "capacity/queue", "monitoring",
}  # fmt: skip
H = 3600.0
GIB = float(1 << 30)
Series = Mapping[LabelSet, Shape]
WEB = {"job": "web", "instance": "a:1", "service": "shop"}
NODE = {"job": "node", "instance": "n1:9100"}
DISK = {**NODE, "mountpoint": "/data", "device": "/dev/vdb"}


@cache
def shipped() -> tuple[Group, ...]:
    loaded = load(sorted(CONFIG.glob("*.yml")))
    assert not loaded.problems
    return loaded.groups


@cache
def pruned(name: str) -> tuple[Group, ...]:
    """The rules that the alert ``name`` needs: itself, and what is recorded for it."""
    rules = {rule.name: rule for group in shipped() for rule in group.rules}
    needed, todo = set[str](), [name]
    while todo:
        rule = rules[todo.pop()]
        needed.add(rule.name)
        todo += {m for m in required_span(rule.expr) if m in rules} - needed
    groups = (
        Group(g.name, g.file, g.interval, g.offset, g.limit,
              tuple(r for r in g.rules if r.name in needed))
        for g in shipped()
    )  # fmt: skip
    return tuple(group for group in groups if group.rules)


@dataclass(frozen=True)
class Story:
    rule: str
    must: Series
    must_not: Series
    seconds: float


def level(value: float) -> Shape:
    return lambda t: value


def until(t0: float, before: Shape, after: Shape | None = None) -> Shape:
    """``before`` up to ``t0`` seconds, then ``after`` (None: no samples)."""
    return lambda t: before(t) if t < t0 else after(t) if after is not None else None


def web(errors: Callable[[float], float], rate: Callable[[float], float] = lambda t: 20.0) -> Series:
    """Requests with an error share."""
    return {
        labels_of("http_requests_total", code="200", **WEB): counter(lambda t: rate(t) * (1 - errors(t))),
        labels_of("http_requests_total", code="500", **WEB): counter(lambda t: rate(t) * errors(t)),
    }


def latency(seconds: Callable[[float], float], rate: float = 20.0) -> Series:
    """A service whose 90th percentile is ``seconds(t)``: all answers uniform below t / 0.9."""
    bounds = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]
    out: dict[LabelSet, Shape] = dict(web(lambda t: 0.0, lambda t: rate))

    def bucket(bound: float) -> Shape:
        return counter(lambda t: rate * min(1.0, bound / (seconds(t) / 0.9)))

    for bound in bounds:
        out[labels_of("http_request_duration_seconds_bucket", le=str(bound), **WEB)] = bucket(bound)
    out[labels_of("http_request_duration_seconds_bucket", le="+Inf", **WEB)] = counter(lambda t: rate)
    return out


def disk(free: Shape, size: float = 100 * GIB, name: str = "avail_bytes", total: str = "size_bytes") -> Series:
    return {
        labels_of(f"node_filesystem_{name}", **DISK): free,
        labels_of(f"node_filesystem_{total}", **DISK): level(size),
        labels_of("node_filesystem_readonly", **DISK): level(0),
    }


def pair(used: str, limit: str, shape: Shape, most: float, **labels: str) -> Series:
    return {labels_of(used, **labels): shape, labels_of(limit, **labels): level(most)}


def postgres(used: Shape) -> Series:
    labels = {"job": "pg", "service": "pg", "instance": "pg:9187"}
    return {
        labels_of("pg_stat_activity_count", state="active", **labels): used,
        labels_of("pg_settings_max_connections", **labels): level(100),
        labels_of("pg_settings_superuser_reserved_connections", **labels): level(3),
    }


def line(start: float, per_hour: float, begin: float = 0.0) -> Shape:
    return lambda t: start + per_hour * max(0.0, t - begin) / H


def sawtooth(high: float, low: float, period: float) -> Shape:
    return lambda t: high - (high - low) * ((t % period) / period)


def flap(times: float, begin: float, period: float) -> Shape:
    """1, and 0 for half of each of ``times`` periods from ``begin`` on."""

    def shape(t: float) -> float:
        k = (t - begin) / period
        return 0.0 if 0 <= k < times and k % 1 < 0.5 else 1.0

    return shape


UP = labels_of("up", job="web", instance="a:1")


def ups(n: int, shape: Callable[[int], Shape]) -> Series:
    return {labels_of("up", job="web", instance=f"i{i}:1"): shape(i) for i in range(n)}


STORIES = [
    Story("TargetDown", {UP: until(600, level(1), level(0))}, {UP: flap(1, 600, 90)}, 900),
    Story("ServiceDown", {labels_of("pg_up", **NODE): until(600, level(1), level(0))},
          {labels_of("pg_up", **NODE): flap(1, 600, 60)}, 900),
    Story("JobVanished", {UP: until(900, level(1))}, {UP: until(900, level(1), level(0))}, 1800),
    Story("TargetsVanished", ups(8, lambda i: until(1200, level(1), level(1) if i < 3 else None)),
          ups(8, lambda i: until(1200, level(1), level(1) if i < 6 else None)), 2400),
    Story("MetricsVanished", {UP: until(900, level(1))}, {}, 1700),
    Story("TargetFlapping", {UP: flap(4, 600, 120)}, {UP: flap(2, 600, 120)}, 1500),
    Story("ProcessRestarting", {labels_of("process_start_time_seconds", **WEB): lambda t: t // 200},
          {labels_of("process_start_time_seconds", **WEB): lambda t: float(t > 600) + float(t > 900)}, 1200),
    Story("PodCrashLooping",
          {labels_of("kube_pod_container_status_restarts_total", pod="p", container="c"): lambda t: t // 150},
          {labels_of("kube_pod_container_status_restarts_total", pod="p", container="c"): lambda t: t // 800}, 1500),
    Story("LatencyRising", latency(lambda t: 0.06 + max(0.0, t - 3600) / 3600 * 0.6),
          latency(lambda t: 0.12 + 0.1 * wave(t, 3 * H)), 2.2 * H),
    Story("LatencyHigh", latency(lambda t: 0.1 if t < 3600 else 3.0), latency(lambda t: 3.0), 1.5 * H),
    Story("ErrorsRising", web(lambda t: 0.001 if t < 3600 else 0.03), web(lambda t: 0.03), 1.5 * H),
    Story("ErrorsHigh", web(lambda t: 0.0 if t < 1800 else 0.2),
          web(lambda t: 0.2 if 1800 < t < 1830 else 0.0), 0.7 * H),
    Story("TrafficDropped", web(lambda t: 0.0, lambda t: 20.0 if t < 3600 else 1.0),
          web(lambda t: 0.0, lambda t: 4 + 16 * wave(t)), 1.8 * H),
    Story("DiskWillFill", disk(line(50 * GIB, -30 * GIB)), disk(sawtooth(60 * GIB, 22 * GIB, 1.2 * H)), 2.6 * H),
    Story("InodesWillRunOut", disk(line(6e5, -4e5), 1e6, "files_free", "files"),
          disk(line(3e5, -1e5), 1e6, "files_free", "files"), 1.4 * H),
    Story("FileDescriptorsWillRunOut", pair("process_open_fds", "process_max_fds", line(200, 500), 1024, **WEB),
          pair("process_open_fds", "process_max_fds", lambda t: 700 + 20 * math.sin(t / 300), 1024, **WEB), 1.5 * H),
    Story("ContainerMemoryWillExceed",
          pair("container_memory_working_set_bytes", "container_spec_memory_limit_bytes",
          line(GIB, GIB), 3 * GIB, **NODE),
          pair("container_memory_working_set_bytes", "container_spec_memory_limit_bytes", line(GIB, GIB), 0, **NODE),
          1.8 * H),
    Story("RedisMemoryWillExceed",
          pair("redis_memory_used_bytes", "redis_memory_max_bytes", line(GIB, GIB), 3 * GIB, **NODE),
          pair("redis_memory_used_bytes", "redis_memory_max_bytes", level(2.5 * GIB), 3 * GIB, **NODE), 1.8 * H),
    Story("PostgresConnectionsWillRunOut", postgres(line(20, 50)),
          postgres(lambda t: 70 + 3 * math.sin(t / 200)), 1.4 * H),
    Story("DiskSpaceLow", disk(level(5 * GIB)), disk(level(9 * GIB)), 600),
    Story("DiskFull", disk(until(600, level(5 * GIB), level(0))), disk(level(2 * GIB)), 900),
    Story("HostMemoryLow",
          pair("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes", level(0.3 * GIB), 16 * GIB, **NODE),
          pair("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes", level(2 * GIB), 16 * GIB, **NODE), 600),
    Story("FileDescriptorsHigh", pair("process_open_fds", "process_max_fds", level(1000), 1024, **WEB),
          pair("process_open_fds", "process_max_fds", level(800), 1024, **WEB), 600),
    Story("PostgresConnectionsHigh", postgres(level(95)), postgres(level(80)), 600),
    Story("ErrorBudgetBurnsFast", web(lambda t: 0.0 if t < 1800 else 0.5),
          web(lambda t: 0.5 if 1800 < t < 2100 else 0.0), 1.5 * H),
    Story("ErrorBudgetBurns", web(lambda t: 0.08), web(lambda t: 0.08 if t < 1200 else 0.0), 1.5 * H),
    Story("ErrorBudgetBurnsSlowly", web(lambda t: 0.04), web(lambda t: 0.02), 6.6 * H),
    Story("ErrorBudgetErodes", web(lambda t: 0.015), web(lambda t: 0.005), 26 * H),
]  # fmt: skip
SLOW = {"ErrorBudgetErodes", "ErrorBudgetBurnsSlowly", "LatencyRising"}


def alerts() -> set[str]:
    return {rule.name for group in shipped() for rule in group.rules if rule.alerting}


def test_every_alert_has_its_stories() -> None:
    assert alerts() == {story.rule for story in STORIES}


@pytest.mark.parametrize(
    "story", [pytest.param(s, id=s.rule, marks=[pytest.mark.slow] if s.rule in SLOW else []) for s in STORIES]
)
def test_fires_when_it_must_and_only_then(story: Story) -> None:
    assert Scene(pruned(story.rule), story.must).run(story.seconds).fired == {story.rule}
    assert Scene(pruned(story.rule), story.must_not).run(story.seconds).fired == set()


@pytest.mark.parametrize("group", shipped(), ids=lambda group: group.name)
def test_labels_say_what_correlation_reads(group: Group) -> None:
    for rule in group.rules:
        if not rule.alerting:
            continue
        labels = {name: template.source for name, template in rule.labels}
        annotations = {name for name, _ in rule.annotations}
        assert labels["category"] in CATEGORIES
        assert labels["severity"] in {"critical", "warning", "info"}
        assert labels.get("phase") in {None, "predicted", "disruption"}
        assert labels["kind"]
        # A warning of what is to come must not count as the disruption itself.
        assert labels["severity"] != "critical" or labels.get("phase") != "predicted"
        assert {"summary", "runbook"} <= annotations


def test_a_forecast_says_when() -> None:
    scene = Scene(pruned("DiskWillFill"), disk(line(50 * GIB, -30 * GIB))).run(1.4 * H)
    symptom = scene.symptoms[0]
    assert symptom.impact is not None
    full = 50 / 30 * H  # seconds after the start
    left = (symptom.impact.likely - symptom.last_at) / 1000
    assert left == pytest.approx(full - (symptom.last_at - 1_800_000_000_000) / 1000, rel=0.05)
    assert symptom.item == "n1:9100 /data"
    assert symptom.category == "capacity/disk"
    assert not symptom.disruption
    assert symptom.evidence is not None
    assert symptom.evidence.value


def test_a_service_without_the_label_counts_under_its_job() -> None:
    series = {labels_of("http_requests_total", job="api", instance="x", code="500"): counter(lambda t: 5.0)}
    scene = Scene(pruned("ErrorsHigh"), series).run(900)
    assert {s.service for s in scene.symptoms} == {"api"}
