"""History from a Prometheus: raw samples by instant queries over a range selector, slice by slice in order of time.

An instant query over ``selector[span]`` answers the samples as they were stored, with their own timestamps; slices of
time and of metrics keep every answer bounded. What cannot be read is left out and said: the start goes on.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
import numpy as np

from detector.ingest.decode import Decoded
from detector.ingest.decode.labelling import metric_of, target_of
from detector.nouns import Batch, Born, LabelSet, Times, Values
from detector.series.labels import Index

log = logging.getLogger(__name__)

SLICE_MS = 10 * 60_000
METRICS = 40
"""Metrics asked for at once."""
MOST_BYTES = 256 * 1024 * 1024


class BackfillError(Exception):
    """The Prometheus could not be read; the message names its address and the reason."""


@dataclass(frozen=True, slots=True)
class HistoryChunk:
    """Samples of one slice: ``labels[i]`` has ``at[i]`` (int64, ms) and ``value[i]`` (float64)."""

    labels: tuple[LabelSet, ...]
    at: tuple[Times, ...]
    value: tuple[Values, ...]

    def decode(self, index: Index) -> Decoded:
        """As a batch, series interned. Runs on the heart thread."""
        born: list[Born] = []
        ids = np.empty(len(self.labels), np.int32)
        for i, labels in enumerate(self.labels):
            target = target_of(labels, "backfill")
            known = index.size
            ids[i] = index.intern(labels, target, "")
            if index.size != known:
                born.append(Born(int(ids[i]), labels, target))
        lengths = [len(at) for at in self.at]
        if not sum(lengths):
            empty = np.empty(0, np.int64)
            return Decoded(Batch("backfill", np.empty(0, np.int32), empty, np.empty(0), tuple(born)))
        series = np.repeat(ids, lengths)
        at, value = np.concatenate(self.at), np.concatenate(self.value)
        order = np.argsort(at, kind="stable")
        return Decoded(Batch("backfill", series[order], at[order], value[order], tuple(born)), samples=len(at))


class _Series(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []


class _Data(msgspec.Struct):
    result: list[_Series]


class _Matrix(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""


class _Names(msgspec.Struct):
    status: str
    data: list[str] = []
    error: str = ""


_matrices = msgspec.json.Decoder(_Matrix)
_names = msgspec.json.Decoder(_Names)


async def history(
    session: aiohttp.ClientSession,
    url: str,
    selectors: Sequence[str],
    start: int,
    end: int,
    progress: Callable[[float], None] = lambda _: None,
) -> AsyncIterator[HistoryChunk]:
    """Raw samples in (start, end] ms, oldest first; ``progress`` is told the share that is done. Raises BackfillError."""
    base = url.rstrip("/")
    metrics = await _metrics(session, base, selectors, start, end)
    groups = [metrics[i : i + METRICS] for i in range(0, len(metrics), METRICS)]
    edges = [*range(start, end, SLICE_MS), end]
    steps = max(1, len(groups) * (len(edges) - 1))
    done = 0
    for low, high in zip(edges, edges[1:], strict=False):
        # All metrics of a slice before the next slice: series of one target stay in order of time.
        for names in groups:
            for selector in selectors:
                chunk = await _slice(session, base, selector, names, low, high)
                if chunk is not None:
                    yield chunk
            done += 1
            progress(done / steps)


async def _metrics(
    session: aiohttp.ClientSession, base: str, selectors: Sequence[str], start: int, end: int
) -> list[str]:
    params = [("match[]", selector) for selector in selectors]
    params += [("start", f"{start / 1000:.3f}"), ("end", f"{end / 1000:.3f}")]
    answer = _decoded(_names, await _get(session, f"{base}/api/v1/label/__name__/values", params), base)
    if answer.status != "success":
        raise BackfillError(f"{base}: {answer.error}")
    return sorted(answer.data)


async def _slice(
    session: aiohttp.ClientSession, base: str, selector: str, names: Sequence[str], low: int, high: int
) -> HistoryChunk | None:
    pattern = "|".join(re.escape(name).replace("\\", "\\\\") for name in names)
    inside = selector.strip().removeprefix("{").removesuffix("}").strip().rstrip(",")
    narrowed = f'{{{inside}{"," if inside else ""}__name__=~"{pattern}"}}'
    # Ranges are left-open in 3.x and left-closed before: one millisecond less is the same in both.
    query = f"{narrowed}[{high - low - 1}ms]"
    params = [("query", query), ("time", f"{high / 1000:.3f}")]
    answer = _decoded(_matrices, await _get(session, f"{base}/api/v1/query", params), base)
    if answer.status != "success" or answer.data is None:
        raise BackfillError(f"{base}: {answer.error or 'no data'}")
    found = [series for series in answer.data.result if series.values and metric_of(_labels(series))]
    if not found:
        return None
    return HistoryChunk(
        tuple(_labels(series) for series in found),
        tuple(np.array([round(at * 1000) for at, _ in series.values], np.int64) for series in found),
        tuple(np.array([float(text) for _, text in series.values]) for series in found),
    )


def _labels(series: _Series) -> LabelSet:
    return tuple(sorted((name, value) for name, value in series.metric.items() if value))


async def _get(session: aiohttp.ClientSession, url: str, params: Sequence[tuple[str, str]]) -> bytes:
    try:
        async with (
            session.post(url, data=params) if url.endswith("/query") else session.get(url, params=params) as answer
        ):
            parts, size = [], 0
            async for chunk in answer.content.iter_chunked(1 << 16):
                size += len(chunk)
                if size > MOST_BYTES:
                    raise BackfillError(f"{url}: an answer has more than {MOST_BYTES} bytes")
                parts.append(chunk)
            return b"".join(parts)
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise BackfillError(f"{url}: {error or type(error).__name__}") from None


def _decoded(decoder: Any, raw: bytes, base: str) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BackfillError(f"{base}: what answers there is not a Prometheus") from None
