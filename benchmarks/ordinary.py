"""A generated week of ordinary load: what must not wake anybody.

    python -m benchmarks.ordinary [--days 7] [--seed 1]

Three services of two pods, their database, cache, queue and two machines, scraped every 15 s from a Monday on: days
and nights and a quieter weekend, noise that lasts for minutes, short spikes, two deploys a day (new pods, counters
from zero, a burst of errors), a nightly batch job (connections, processor, a queue that fills and drains, temporary
files), logs that are rotated, memory that grows into a plateau, and a disk that fills by half a percent a day.
Prints what the shipped configuration opened, which should be nothing, and how long the replay took.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from detector.backtest.run import Outcome, Replay
from detector.config.compose import load
from detector.ingest.recordings import Line, Recording
from detector.nouns import Ids, Times, Values
from detector.series.labels import Index

STEP = 15
DAY = 86_400
MONDAY = 1_793_577_600
"""2026-11-02 00:00:00 UTC, seconds."""
GIB = 2.0**30
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SERVICES = (("shop", 40.0, 13.0), ("search", 90.0, 15.5), ("payments", 12.0, 12.0))
"""Name, requests a second at an ordinary noon, hour of its peak (UTC)."""
PODS = 2
DEPLOYS = (9.5, 14.25)
"""Hours of the day; each service's own are a little later than the one's before."""
BATCH = (2.0, 2.75)

Array = npt.NDArray[np.float64]


class Week:
    """The samples, made series by series over one axis of time."""

    def __init__(self, days: float, seed: int) -> None:
        self.t: Array = np.arange(0.0, days * DAY, STEP)
        self._dice = np.random.default_rng(seed)
        self._lines: list[Line] = []
        self._parts: list[tuple[Ids, Times, Values]] = []
        hour = self.t / 3600 % 24
        self._batch: Array = ((hour >= BATCH[0]) & (hour < BATCH[1])).astype(np.float64)
        loads = {name: self._service(name, noon, peak) for name, noon, peak in SERVICES}
        self._stores(sum(loads.values()) / sum(noon for _, noon, _ in SERVICES))
        self._queue()
        for number in range(2):
            self._machine(f"node-{number}", loads["shop"] / SERVICES[0][1])

    def recording(self, index: Index) -> Recording:
        series, at, value = (np.concatenate(arrays) for arrays in zip(*self._parts, strict=True))
        order = np.argsort(at, kind="stable")
        return Recording(Path("ordinary"), index, self._lines, series[order], at[order], value[order])

    # --- pieces -----------------------------------------------------------------------------------------------------

    def _add(self, name: str, value: Array | float, labels: Mapping[str, str], rows: slice = slice(None)) -> None:
        # Every target is scraped at a moment of its own.
        instance = labels["instance"]
        at = ((self.t[rows] + MONDAY) * 1000).astype(np.int64) + sum(instance.encode()) * 7919 % (STEP * 1000)
        kept = self._dice.random(len(at)) > 1e-4  # a scrape is missed now and then
        value = np.broadcast_to(np.asarray(value, np.float64), self.t.shape)[rows]
        line = Line(tuple(sorted({"__name__": name, **labels}.items())), instance, "")
        self._parts.append((np.full(int(kept.sum()), len(self._lines), np.int32), at[kept], value[kept]))
        self._lines.append(line)

    def _wander(self, spread: float, minutes: float) -> Array:
        """Noise with a memory of so many minutes, around 0."""
        keep = np.exp(-STEP / (60 * minutes))
        shocks = self._dice.normal(0, spread * np.sqrt(1 - keep * keep), len(self.t))
        out, now = np.empty(len(self.t)), 0.0
        for i, shock in enumerate(shocks.tolist()):
            now = keep * now + shock
            out[i] = now
        return out

    def _demand(self, noon: float, peak: float) -> Array:
        """Requests a second: the day, the weekend, noise, and a spike or two a day of one to four minutes."""
        hour, day = self.t / 3600 % 24, self.t // DAY
        daily = 0.6 + 0.4 * np.cos(2 * np.pi * (hour - peak) / 24)
        weekend = np.where(day % 7 >= 5, 0.6, 1.0)
        spikes = np.ones(len(self.t))
        for start in self._dice.uniform(0, self.t[-1], self._dice.poisson(1.5 * (self.t[-1] / DAY))).tolist():
            length = self._dice.uniform(60, 240)
            spikes[(self.t >= start) & (self.t < start + length)] = self._dice.uniform(1.5, 2.5)
        demand: Array = noon * daily * weekend * np.exp(self._wander(0.08, 20)) * spikes
        return demand

    def _lives(self, shift: float) -> list[slice]:
        """From deploy to deploy."""
        edges = [0]
        for day in range(int(self.t[-1] // DAY) + 1):
            if day % 7 < 5:
                edges += [round((day * DAY + (hour + shift) * 3600) / STEP) for hour in DEPLOYS]
        edges = [edge for edge in edges if edge < len(self.t)]
        return [slice(a, b) for a, b in zip(edges, [*edges[1:], len(self.t)], strict=True) if b > a]

    # --- things -----------------------------------------------------------------------------------------------------

    def _service(self, name: str, noon: float, peak: float) -> Array:
        demand = self._demand(noon, peak)
        shift = 0.4 * [service[0] for service in SERVICES].index(name)
        for number in range(PODS):
            for life, rows in enumerate(self._lives(shift)):
                pod = {"job": name, "service": name, "instance": f"{name}-{life}-{number}:8080"}
                self._pod(pod, demand / PODS, noon / PODS, rows)
        return demand

    def _pod(self, pod: dict[str, str], demand: Array, noon: float, rows: slice) -> None:
        age = self.t - self.t[rows.start]
        young = (age >= 0) & (age < 45) & (rows.start > 0)
        errors = np.where(young, 0.02, 0.0008)
        arrived = self._dice.poisson(demand * STEP)
        failed = self._dice.binomial(arrived, errors)
        missing = self._dice.binomial(arrived - failed, 0.01)
        counts = {"200": arrived - failed - missing, "404": missing, "500": failed}

        def total(events: npt.NDArray[np.int64]) -> Array:
            since: Array = np.cumsum(np.where(age >= 0, events, 0)).astype(np.float64)
            return since

        for code, events in counts.items():
            self._add("http_requests_total", total(events), {**pod, "code": code}, rows)
        # Latency: log-normal, a third longer at the usual peak, colder just after a deploy.
        median = 0.06 * (1 + 0.35 * np.minimum(demand / noon, 1.5)) * np.where(young, 1.6, 1.0)
        median = median * np.exp(self._wander(0.05, 10))
        below = np.array([_normal(np.log(bound / median) / 0.6) for bound in BOUNDS])
        inside = np.array([self._dice.binomial(arrived, share) for share in below])
        inside = np.maximum.accumulate(inside, axis=0)
        for bound, events in zip(BOUNDS, inside, strict=True):
            self._add("http_request_duration_seconds_bucket", total(events), {**pod, "le": f"{bound:g}"}, rows)
        self._add("http_request_duration_seconds_bucket", total(arrived), {**pod, "le": "+Inf"}, rows)
        self._add("http_request_duration_seconds_count", total(arrived), pod, rows)
        spent = np.cumsum(np.where(age >= 0, arrived * median * 1.2, 0.0))
        self._add("http_request_duration_seconds_sum", spent, pod, rows)
        # Memory grows into a plateau (caches, pages) over two hours, with the collector's saw on top.
        grown = 0.3 + 0.25 * (1 - np.exp(-np.maximum(age, 0) / 7200)) + 0.05 * demand / noon
        saw = 0.06 * (age / (180 + 60 * noon / np.maximum(demand, 1e-9)) % 1)
        self._add("container_memory_working_set_bytes", GIB * (grown + saw + self._wander(0.004, 3)), pod, rows)
        self._add("container_spec_memory_limit_bytes", GIB, pod, rows)
        self._add("process_resident_memory_bytes", GIB * (grown + saw), pod, rows)
        self._add("process_open_fds", np.round(30 + 2.5 * demand + self._wander(2, 2)), pod, rows)
        self._add("process_max_fds", 1024, pod, rows)
        self._add("process_cpu_seconds_total", np.cumsum(demand * median * 0.4 * STEP), pod, rows)
        self._add("process_start_time_seconds", MONDAY + self.t[rows.start], pod, rows)
        self._add("up", 1, pod, rows)

    def _stores(self, load: Array) -> None:
        database = {"job": "postgres", "service": "orders-db", "instance": "db-0:9187"}
        active = np.round(4 + 22 * load + 25 * self._batch + np.abs(self._wander(2.5, 4)))
        self._add("pg_stat_activity_count", active, {**database, "datname": "orders", "state": "active"})
        idle = np.round(10 + 6 * load + self._wander(1, 30))
        self._add("pg_stat_activity_count", idle, {**database, "datname": "orders", "state": "idle"})
        self._add("pg_settings_max_connections", 100, database)
        self._add("up", 1, database)
        cache = {"job": "redis", "service": "cache", "instance": "redis-0:9121"}
        self._add("redis_memory_used_bytes", GIB * (0.4 + 0.15 * load + self._wander(0.01, 60)), cache)
        self._add("redis_memory_max_bytes", GIB, cache)
        self._add("redis_connected_clients", np.round(12 + 10 * load), cache)
        self._add("up", 1, cache)

    def _queue(self) -> None:
        """A queue that the batch job fills to a third within three minutes; workers drain it within the hour."""
        queue = {"job": "mail", "service": "mail", "instance": "mail-0:8080"}
        depth, out = 0.0, np.empty(len(self.t))
        arrivals = self._dice.poisson(STEP * (3.0 + 20.0 * (self._batch * ((self.t / 3600 % 24) < BATCH[0] + 0.05))))
        for i, come in enumerate(arrivals.tolist()):
            depth = max(0.0, depth + come - STEP * 4.5)
            out[i] = depth
        self._add("mail_queue_depth", out, queue)
        self._add("mail_queue_capacity", 10_000, queue)
        self._add("up", 1, queue)

    def _machine(self, host: str, load: Array) -> None:
        node = {"job": "node", "instance": f"{host}:9100"}
        hours = self.t / 3600
        root = {**node, "mountpoint": "/", "device": "vda1", "fstype": "ext4"}
        # Half a percent a day for good; the batch job's temporary files, up to four percent, go with it.
        temporary = 0.04 * np.where(self._batch > 0, (hours % 24 - BATCH[0]) / (BATCH[1] - BATCH[0]), 0.0)
        self._add("node_filesystem_avail_bytes", 100 * GIB * (0.55 - 0.005 * hours / 24 - temporary), root)
        self._add("node_filesystem_size_bytes", 100 * GIB, root)
        logs = {**node, "mountpoint": "/var/log", "device": "vdb1", "fstype": "ext4"}
        written = np.cumsum(load) * STEP / 3600 * 0.055  # of the disk an hour, rotated at 40 %
        self._add("node_filesystem_avail_bytes", 20 * GIB * (0.9 - written % 0.4), logs)
        self._add("node_filesystem_size_bytes", 20 * GIB, logs)
        self._add("node_filesystem_files_free", np.round(6.5e6 - 2000 * (written % 0.4)), root)
        self._add("node_filesystem_files", 6.55e6, root)
        memory = 16 * GIB
        self._add("node_memory_MemAvailable_bytes", memory * (0.5 - 0.1 * load - 0.1 * self._batch), node)
        self._add("node_memory_MemTotal_bytes", memory, node)
        busy = np.clip(0.12 + 0.25 * load + 0.45 * self._batch + self._wander(0.03, 2), 0.01, 0.97)
        self._add("node_load1", 4 * busy * np.exp(self._wander(0.15, 1)), node)
        for cpu in range(4):
            for mode, share in (("user", 0.8 * busy), ("system", 0.2 * busy), ("idle", 1 - busy)):
                seconds = np.cumsum(share * STEP * np.exp(self._wander(0.05, 1)))
                self._add("node_cpu_seconds_total", seconds, {**node, "cpu": str(cpu), "mode": mode})
        self._add("node_network_receive_bytes_total", np.cumsum(2e5 * load * STEP), {**node, "device": "eth0"})
        self._add("up", 1, node)


def _normal(z: Array) -> Array:
    """The normal distribution function, within 1e-7 (Abramowitz and Stegun 26.2.17)."""
    k = 1 / (1 + 0.2316419 * np.abs(z))
    poly = k * (0.319381530 + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429))))
    upper = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * poly
    below: Array = np.where(z >= 0, 1 - upper, upper)
    return below


def replay(days: float, seed: int, note: Callable[[str], None] = lambda _: None) -> Outcome:
    """The week through the shipped configuration."""
    run = Replay(load(None))
    recording = Week(days, seed).recording(run.shard.store.index)
    note(f"{recording.series} series, {recording.samples} samples over {days:g} days")
    return asyncio.run(run.run(recording, []))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    outcome = replay(options.days, options.seed, print)
    print(f"{len(outcome.incidents)} incidents opened, {time.perf_counter() - started:.0f} s to generate and replay")
    for found in outcome.incidents:
        print(f"  {found['opened_at']} {found['title']}")


if __name__ == "__main__":
    main()
