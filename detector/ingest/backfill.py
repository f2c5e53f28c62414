"""History from a Prometheus: raw samples slice by slice in order of time, and the last week at the season's bin width.

An instant query over ``selector[span]`` answers the samples as they were stored, with their own timestamps; slices of
time and of metrics keep every answer bounded, and where one is still too large its metrics are asked for in halves.
What cannot be read is left out and said: the start goes on.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
import numpy as np

from detector.ingest.decode import Decoded
from detector.ingest.decode.labelling import metric_of, target_of
from detector.nouns import Batch, Ids, LabelSet, Times, Values
from detector.series.labels import Index

log = logging.getLogger(__name__)

SLICE_MS = 10 * 60_000
"""Span of one question for raw samples."""
METRICS = 40
"""Metrics asked for at once."""
SIDE_BY_SIDE = 4
"""Questions asked at once."""
MOST_BYTES = 64 * 1024 * 1024


class BackfillError(Exception):
    """The Prometheus could not be read; the message names its address and the reason."""


@dataclass(frozen=True, slots=True)
class HistoryChunk:
    """Samples of one slice: ``labels[i]`` has ``at[i]`` (int64, ms) and ``value[i]`` (float64)."""

    labels: tuple[LabelSet, ...]
    at: tuple[Times, ...]
    value: tuple[Values, ...]

    def decode(self, index: Index) -> Decoded:
        """As a batch in order of time, series interned. Runs on the heart thread."""
        ids = np.fromiter(
            (index.intern(labels, target_of(labels, "backfill")) for labels in self.labels), np.int32, len(self.labels)
        )
        born, gone = index.drain()
        if not self.at:
            nothing = Batch("backfill", ids, np.empty(0, np.int64), np.empty(0), born, gone)
            return Decoded(nothing)
        series = np.repeat(ids, [len(at) for at in self.at])
        at, value = np.concatenate(self.at), np.concatenate(self.value)
        order = np.argsort(at, kind="stable")
        return Decoded(Batch("backfill", series[order], at[order], value[order], born, gone), samples=len(at))

    def known(self, index: Index) -> tuple[Ids, Times, Values]:
        """The samples of the series that the index knows, series after series: ids int32[n], at, value."""
        ids = np.fromiter((index.find(labels) for labels in self.labels), np.int32, len(self.labels))
        found = [i for i in np.flatnonzero(ids >= 0).tolist() if len(self.at[i])]
        if not found:
            return np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0)
        series = np.repeat(ids[found], [len(self.at[i]) for i in found])
        return series, np.concatenate([self.at[i] for i in found]), np.concatenate([self.value[i] for i in found])


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


@dataclass(frozen=True, slots=True)
class _Slice:
    """Samples in (low, high] ms: as stored, or with ``step`` one value at every multiple of it."""

    low: int
    high: int
    step: int = 0


async def history(
    session: aiohttp.ClientSession,
    url: str,
    selectors: Sequence[str],
    start: int,
    end: int,
    progress: Callable[[float], None] = lambda _: None,
    *,
    step: int = 0,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[HistoryChunk]:
    """Raw samples in (start, end] ms, oldest first; or, with ``step``, one value at each of its multiples, all of a
    series in one chunk.

    ``progress`` is told the share that is done; ``headers`` let in. Raises BackfillError where nothing can be read;
    metrics that cannot be read are named in the log and left out.
    """
    asked = _Asked(session, url.rstrip("/"), dict(headers or {}))
    slices = list(_even(start, end, step) if step else _raw(start, end))
    if not slices:
        return
    metrics = await asked.metrics(selectors, slices[0].low, end)
    questions = [
        (selector, metrics[i : i + METRICS]) for i in range(0, len(metrics), METRICS) for selector in selectors
    ]
    steps, done = max(1, len(questions) * len(slices)), 0
    for piece in slices:
        # All metrics of a slice before the next slice: series of one target stay in order of time.
        for i in range(0, len(questions), SIDE_BY_SIDE):
            some = questions[i : i + SIDE_BY_SIDE]
            for chunks in await asyncio.gather(*(asked.samples(selector, names, piece) for selector, names in some)):
                for chunk in chunks:
                    yield chunk
            done += len(some)
            progress(done / steps)


def _even(start: int, end: int, step: int) -> Iterator[_Slice]:
    low, high = start // step * step, end // step * step
    if low < high:
        yield _Slice(low, high, step)


def _raw(start: int, end: int) -> Iterator[_Slice]:
    for edge in range(start, end, SLICE_MS):
        yield _Slice(edge, min(edge + SLICE_MS, end))


class _TooMuch(Exception):
    """The answer is larger than is read, or than the Prometheus gives."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A Prometheus: the questions, and what it answers."""

    session: aiohttp.ClientSession
    base: str
    headers: Mapping[str, str]

    async def metrics(self, selectors: Sequence[str], start: int, end: int) -> list[str]:
        params = [("match[]", selector) for selector in selectors]
        params += [("start", f"{start / 1000:.3f}"), ("end", f"{end / 1000:.3f}")]
        try:
            answer = self._decoded(_names, await self._get("/api/v1/label/__name__/values", params))
        except _TooMuch as error:
            raise BackfillError(f"{self.base}: {error}") from None
        return sorted(answer.data)

    async def samples(self, selector: str, names: Sequence[str], piece: _Slice) -> list[HistoryChunk]:
        """The chunks of one question, asked in halves where the answer is too large."""
        try:
            chunk = await self._slice(selector, names, piece)
        except _TooMuch as error:
            if len(names) == 1:
                log.warning("backfill: %s is left out: %s", names[0], error)
                return []
            half = len(names) // 2
            return [
                *await self.samples(selector, names[:half], piece),
                *await self.samples(selector, names[half:], piece),
            ]
        return [chunk] if chunk is not None else []

    async def _slice(self, selector: str, names: Sequence[str], piece: _Slice) -> HistoryChunk | None:
        narrowed = _narrowed(selector, names)
        if piece.step:
            first = piece.low + piece.step
            params = [("query", narrowed), ("start", f"{first / 1000:.3f}"), ("end", f"{piece.high / 1000:.3f}"),
                      ("step", f"{piece.step / 1000:.3f}")]  # fmt: skip
            raw = await self._get("/api/v1/query_range", params, post=True)
        else:
            params = [("query", f"{narrowed}[{piece.high - piece.low}ms]"), ("time", f"{piece.high / 1000:.3f}")]
            raw = await self._get("/api/v1/query", params, post=True)
        answer = self._decoded(_matrices, raw)
        labels, times, values = [], [], []
        for series in answer.data.result if answer.data is not None else ():
            at = np.rint(np.array([at for at, _ in series.values], np.float64) * 1000).astype(np.int64)
            # Ranges are left-open in Prometheus 3 and closed before: what lies on the edge was in the slice before.
            inside = at > piece.low
            named = _labels(series)
            if metric_of(named) and bool(inside.any()):
                labels.append(named)
                times.append(at[inside])
                values.append(np.array([float(text) for _, text in series.values], np.float64)[inside])
        return HistoryChunk(tuple(labels), tuple(times), tuple(values)) if labels else None

    async def _get(self, path: str, params: Sequence[tuple[str, str]], post: bool = False) -> bytes:
        url = self.base + path
        try:
            sent: dict[str, Any] = {"data": params} if post else {"params": params}
            async with self.session.request("POST" if post else "GET", url, headers=self.headers, **sent) as answer:
                parts, size = [], 0
                async for chunk in answer.content.iter_chunked(1 << 16):
                    size += len(chunk)
                    if size > MOST_BYTES:
                        raise _TooMuch(f"an answer has more than {MOST_BYTES} bytes")
                    parts.append(chunk)
                if answer.status in (401, 403):
                    raise BackfillError(f"{url}: {answer.status} {answer.reason}; check basic_auth or authorization")
                return b"".join(parts)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise BackfillError(f"{url}: {error or type(error).__name__}") from None

    def _decoded(self, decoder: Any, raw: bytes) -> Any:
        try:
            answer = decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise BackfillError(f"{self.base}: what answers there is not a Prometheus") from None
        if answer.status == "success":
            return answer
        if "too many samples" in answer.error or "exceeded maximum resolution" in answer.error:
            raise _TooMuch(answer.error)
        raise BackfillError(f"{self.base}: {answer.error or answer.status}")


def _narrowed(selector: str, names: Sequence[str]) -> str:
    """The selector, of these metrics only: ``up{job="a"}`` to ``{__name__="up",job="a",__name__=~"up|..."}``."""
    name, brace, inside = selector.strip().partition("{")
    inside = inside.rstrip().removesuffix("}").strip().rstrip(",") if brace else ""
    pattern = "|".join(re.escape(metric).replace("\\", "\\\\") for metric in names)
    parts = [f'__name__="{name.strip()}"' if name.strip() else "", inside, f'__name__=~"{pattern}"']
    return "{" + ",".join(part for part in parts if part) + "}"


def _labels(series: _Series) -> LabelSet:
    return tuple(sorted((name, value) for name, value in series.metric.items() if value))
