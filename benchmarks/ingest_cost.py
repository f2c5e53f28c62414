"""CPU per million samples and bytes per active series, the daemon beside Prometheus, in one run.

    python -m benchmarks.ingest_cost [--series 100000] [--rounds 5] [--steps 56] [--command 'CMD {address} {dir}']
    python -m benchmarks.ingest_cost --in-process       # decoding, journal and store alone, without a daemon

Both servers get the same requests, round by round, in turns. The daemon does everything it does (shipped
configuration: models, rules, forecasts, journal), Prometheus its ingest. ``rounds * steps`` scrapes of 15 s fill
the ring.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from benchmarks.fleet import Fleet

TICKS = os.sysconf("SC_CLK_TCK")
HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
           "X-Prometheus-Remote-Write-Version": "0.1.0"}  # fmt: skip
DAEMON = f"{sys.executable} -m detector run --listen {{address}} --data-dir {{dir}} --event-time samples"
PROMETHEUS = ("{binary} --config.file={dir}/prometheus.yml --storage.tsdb.path={dir}/data --log.level=error "
              "--web.listen-address={address} --web.enable-remote-write-receiver")  # fmt: skip


@dataclass
class Server:
    """A started process with its children; ``cost`` CPU seconds per million samples, one figure a round."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    idle: int = 0
    cost: list[float] = field(default_factory=list)

    def _family(self) -> Iterator[Path]:
        parents: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        found = [self.process.pid]
        for pid in found:
            found += parents.get(pid, [])
        yield from (Path(f"/proc/{pid}") for pid in found)

    def cpu_seconds(self) -> float:
        total = 0
        for process in self._family():
            # The time of children that ended counts as well.
            total += sum(int(ticks) for ticks in (process / "stat").read_text().rsplit(")", 1)[1].split()[11:15])
        return total / TICKS

    def resident_bytes(self) -> int:
        pages = sum(int((process / "statm").read_text().split()[1]) for process in self._family())
        return pages * os.sysconf("SC_PAGE_SIZE")

    def send(self, bodies: Iterator[bytes] | list[bytes]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        for body in bodies:
            connection.request("POST", "/api/v1/write", body, HEADERS)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 204:
                raise SystemExit(f"{self.name} answered {answer.status}: {said[:300]!r}")
        connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(name: str, template: str, directory: Path) -> Iterator[Server]:
    home, port = directory / name, free_port()
    home.mkdir()
    (home / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    command = template.format(address=f"127.0.0.1:{port}", dir=home, binary=shutil.which("prometheus"))
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(shlex.split(command), stdout=log, stderr=subprocess.STDOUT)
    try:
        _await_port(name, process, port, directory / f"{name}.log")
        yield Server(name, process, port)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _await_port(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{name} did not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.1)


def measure(servers: list[Server], options: argparse.Namespace) -> None:
    """Fill in ``idle`` and ``cost``."""
    fleet = Fleet(options.series, options.per_request, shuffle=options.shuffle)
    now = int(time.time() * 1000) - (options.rounds * options.steps + 2) * fleet.interval
    small = list(Fleet(2000, 1000, generation=9).scrape(now))
    for server in servers:
        server.send(small)  # what is loaded at first use, compiled code among it, is not the series' memory
    time.sleep(options.settle + 8)
    for server in servers:
        server.idle = server.resident_bytes()
    first = list(fleet.scrape(now + fleet.interval))
    for server in servers:
        server.send(first)
    time.sleep(options.settle)
    now += fleet.interval
    for round_ in range(options.rounds):
        bodies = []
        for _ in range(options.steps):
            now += fleet.interval
            bodies += list(fleet.scrape(now))
        for server in servers if round_ % 2 == 0 else servers[::-1]:
            before = server.cpu_seconds()
            server.send(bodies)
            time.sleep(options.settle)
            server.cost.append((server.cpu_seconds() - before) / (options.series * options.steps) * 1e6)


def report(servers: list[Server], series: int, slots: int) -> None:
    print(f"{series} series, {slots} scrapes of 15 s")
    figures = {s.name: (statistics.median(s.cost), (s.resident_bytes() - s.idle) / series) for s in servers}
    for name, (cpu, size) in figures.items():
        print(f"  {name:12} {cpu:7.3f} CPU s per million samples   {size:8.0f} bytes per series")
    if len(figures) == 2:
        (cpu, size), (their_cpu, their_size) = figures["detector"], figures["prometheus"]
        print(f"  ratio        {cpu / their_cpu:7.3f} CPU (at most 0.5), {size / their_size:.3f} memory (at most 0.6)")


def in_process(options: argparse.Namespace) -> None:
    """The heart's part of an arrival, step by step, in this process."""
    from detector.ingest.decode import Decoded
    from detector.ingest.decode.remote_write import RemoteWriteDecoder
    from detector.series.journal import Journal
    from detector.series.limits import Limits
    from detector.series.store import Store

    fleet = Fleet(options.series, options.per_request, shuffle=options.shuffle)
    limits, now = Limits(), 1_700_000_000_000
    store, decoder = Store(limits, evict=False), RemoteWriteDecoder()
    spent = dict.fromkeys(("decode", "journal", "store"), 0)
    stored = 0
    with tempfile.TemporaryDirectory() as directory:
        journal = Journal(Path(directory))
        for step in range(options.rounds * options.steps + 1):
            now += fleet.interval
            for seq, body in enumerate(fleet.scrape(now), 1 + step * -(-options.series // options.per_request)):
                marks = [time.thread_time_ns()]
                decoded = decoder.decode(body, store.index, limits)
                assert isinstance(decoded, Decoded)
                marks.append(time.thread_time_ns())
                journal.append_batch(seq, decoded.batch, store.index)
                marks.append(time.thread_time_ns())
                accepted = store.accept(decoded.batch)
                marks.append(time.thread_time_ns())
                if step:
                    stored += accepted.stored
                    for part, (a, b) in zip(spent, pairwise(marks), strict=True):
                        spent[part] += b - a
        journal.close()
    store.sweep(now)
    cost = {part: round(ns / stored / 1000, 3) for part, ns in spent.items()}
    parts = {**store.memory(), "texts": decoder.cache.bytes()}
    size = {part: round(n / options.series) for part, n in parts.items()}
    print(json.dumps({"cpu_s_per_million": cost, "sum": round(sum(cost.values()), 3)}))
    print(json.dumps({"bytes_per_series": size, "sum": sum(size.values())}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", default=DAEMON, help="the daemon, with {address} and {dir}")
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--per-request", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=56)
    parser.add_argument("--settle", type=float, default=2.0, help="seconds for work in the background")
    parser.add_argument("--shuffle", action="store_true", help="series in random order: worst for locality")
    parser.add_argument("--in-process", action="store_true")
    options = parser.parse_args()
    if options.in_process:
        in_process(options)
        return
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ingest-cost-")))
        servers = [stack.enter_context(started("detector", options.command, directory))]
        if shutil.which("prometheus"):
            servers.append(stack.enter_context(started("prometheus", PROMETHEUS, directory)))
        else:
            print("prometheus is not installed (Debian package prometheus): no ratios", file=sys.stderr)
        measure(servers, options)
        report(servers, options.series, options.rounds * options.steps)


if __name__ == "__main__":
    main()
