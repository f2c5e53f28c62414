"""A fleet of pods that a Prometheus scrapes and sends on: remote-write requests, encoded before they are needed."""

from __future__ import annotations

from collections.abc import Iterator

import cramjam
import numpy as np
import numpy.typing as npt

PER_TARGET = 50
METRICS = (
    "http_requests_total", "http_request_errors_total", "http_request_duration_seconds_sum", "process_open_fds",
    "process_resident_memory_bytes", "container_cpu_usage_seconds_total", "container_memory_working_set_bytes",
    "go_goroutines", "redis_connected_clients", "node_network_receive_bytes_total",
)  # fmt: skip
CODES = ("200", "204", "400", "404", "500")
SAMPLE = b"\x12\x10\x09" + bytes(8) + b"\x10" + bytes(6)
"""One sample: a double, and a time whose varint takes six bytes (2004 to 2109)."""


def varint(n: int) -> bytes:
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def labels(number: int, generation: int) -> list[tuple[str, str]]:
    """Eight labels, sorted, as a cluster has them."""
    pod, k = divmod(number, PER_TARGET)
    team = pod % 150
    return [
        ("__name__", METRICS[k % len(METRICS)]),
        ("cluster", "eu-central-1"),
        ("code", CODES[k // len(METRICS)]),
        ("container", f"app-{team % 30}"),
        ("instance", f"10.{pod >> 16 & 255}.{pod >> 8 & 255}.{pod & 255}:9100"),
        ("job", "pods"),
        ("namespace", f"team-{team:03d}"),
        ("pod", f"app-{team % 30}-{pod * 2654435761 & 0xFFFFFFFF:08x}-{pod + 7919 * generation & 0xFFFFF:05x}"),
    ]


def _series(number: int, generation: int) -> bytes:
    out = bytearray()
    for name, value in labels(number, generation):
        pair = b"\x0a" + varint(len(name)) + name.encode() + b"\x12" + varint(len(value)) + value.encode()
        out += b"\x0a" + varint(len(pair)) + pair
    return b"\x0a" + varint(len(out) + len(SAMPLE)) + bytes(out) + SAMPLE


class Fleet:
    """``series`` series, ``per_request`` to a request; each :meth:`scrape` is one sample of every series."""

    def __init__(
        self, series: int, per_request: int = 2000, interval: int = 15_000, generation: int = 0, shuffle: bool = False
    ) -> None:
        rng = np.random.default_rng(11)
        order = rng.permutation(series) if shuffle else np.arange(series)
        self.series = series
        self.interval = interval
        self._rng = rng
        self._requests: list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]] = []
        for start in range(0, series, per_request):
            texts = [_series(int(number), generation) for number in order[start : start + per_request]]
            ends = np.cumsum([len(text) for text in texts])
            # A sample ends its series: eight bytes of value, a tag, six of time.
            self._requests.append((np.frombuffer(b"".join(texts), np.uint8).copy(), ends - 15))
        k = order % PER_TARGET
        self._counter = np.isin(k % len(METRICS), [0, 1, 2, 5, 9])
        # An ordinary day: few errors, so that nothing is to be found.
        self._level = rng.gamma(2.0, 40.0, series) * np.where(k // len(METRICS) >= 3, 1e-3, 1.0)
        self._total = np.zeros(series)

    def _values(self) -> npt.NDArray[np.float64]:
        now = self._level * (1 + 0.1 * self._rng.standard_normal(self.series))
        self._total += np.maximum(np.round(now), 0)
        return np.where(self._counter, self._total, now)

    def scrape(self, at: int) -> Iterator[bytes]:
        """One request after the other, snappy over protobuf; all samples at ``at`` (ms)."""
        time = np.frombuffer(varint(at), np.uint8)
        assert len(time) == 6, "times outside 2004 to 2109 take another number of bytes"
        values, done = self._values(), 0
        for data, places in self._requests:
            part = values[done : done + len(places)].astype("<f8").view(np.uint8).reshape(-1, 8)
            done += len(places)
            data[places[:, None] + np.arange(8)] = part
            data[places[:, None] + np.arange(9, 15)] = time
            yield bytes(cramjam.snappy.compress_raw(data.data))
