"""Recordings: an OpenMetrics file, plain or gzip, read into arrays and handed out as batches in order of time.

Files come series by series (as ``promtool tsdb dump-openmetrics`` writes them) or in order of time; both give the same
batches up to the order of samples that share a millisecond. Samples cost 20 bytes each while they
are held. Staleness markers have no place in the format: ``NaN`` is a value here.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from detector.clock import parse_rfc3339
from detector.ingest import openmetrics as om
from detector.ingest.alertmanager import webhook
from detector.ingest.decode.labelling import metric_of, target_of
from detector.nouns import Alert, Batch, Ids, LabelSet, Times, Values
from detector.series.labels import Index

CHUNK = 4 << 20
"""Bytes per read; a line has to fit into one."""

_TYPE = re.compile(r'#\s+TYPE\s+(?:"((?:[^"\\]|\\.)*)"|(\S+))\s+(\S+)\s*')
_SUFFIXES = ("_total", "_bucket", "_count", "_sum", "_created", "_gcount", "_gsum", "_info")


class RecordingError(ValueError):
    """The file cannot be read as a recording: ``file:line: what is wrong``."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")
        self.path, self.line, self.message = path, line, message


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Line:
    """A series as the file names it."""

    labels: LabelSet
    target: str
    type: str


class Recording:
    """A whole recording in memory, sorted by time. ``start``/``end``: its first and last sample, ms (0 when empty)."""

    def __init__(self, path: Path, index: Index, lines: list[Line], series: Ids, at: Times, value: Values) -> None:
        """``series`` int32[n] are positions in ``lines``; ``at`` int64[n] (ms), ascending; ``value`` float64[n]."""
        self.path, self._index, self._lines = path, index, lines
        self._series, self._at, self._value = series, at, value
        self._ids = np.full(len(lines), -1, np.int32)
        self._releases = np.zeros(len(lines), np.int32)
        self.start = int(at[0]) if len(at) else 0
        self.end = int(at[-1]) if len(at) else 0

    @property
    def samples(self) -> int:
        return len(self._at)

    @property
    def series(self) -> int:
        return len(self._lines)

    def batches(self, step_ms: int = 60_000) -> Iterator[Batch]:
        """Every sample once, in order of time: a batch holds the samples in (k * step_ms, (k + 1) * step_ms].

        Steps without a sample give no batch. Series are interned when first met (anew, where the index released
        them), so that ids do not depend on ``step_ms``. The order inside a millisecond is that of the file.
        """
        if step_ms <= 0:
            raise ValueError("step_ms must be positive")
        first = 0
        while first < len(self._at):
            boundary = -(-int(self._at[first]) // step_ms) * step_ms
            last = int(np.searchsorted(self._at, boundary, side="right"))
            yield self._batch(first, last)
            first = last

    def _batch(self, first: int, last: int) -> Batch:
        rows = self._series[first:last]
        released = self._index.releases[np.maximum(self._ids, 0)]
        known = (self._ids >= 0) & (self._releases == released)  # a swept id may name another series by now
        if (unknown := rows[~known[rows]]).size:
            fresh, where = np.unique(unknown, return_index=True)
            for row in fresh[np.argsort(where)].tolist():  # in order of appearance
                line = self._lines[row]
                self._ids[row] = id = self._index.intern(line.labels, line.target, line.type)
                self._releases[row] = self._index.releases[id]
        born, gone = self._index.drain()
        return Batch("recording", self._ids[rows], self._at[first:last], self._value[first:last], born, gone)


def read(path: Path, index: Index) -> Recording:
    """Read a whole file; raises RecordingError with file and line. A million samples take about 0.6 s."""
    reader = _Reader(path)
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            reader.feed_all(gzip.GzipFile(fileobj=raw) if packed else raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RecordingError(path, 0, f"the gzip data is damaged or was cut off: {error}") from None
    except OSError as error:
        raise RecordingError(path, 0, f"cannot be read: {error.strerror or error}") from None
    lines, series, at, value = reader.result()
    if len(at) and not bool(np.all(at[:-1] <= at[1:])):
        order = np.argsort(at, kind="stable")
        series, at, value = series[order], at[order], value[order]
    return Recording(path, index, lines, series, at, value)


class _Reader:
    """Feeds chunks to the kernel and does by hand what is rare: comments, new series, odd numbers, errors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.types: dict[str, str] = {}
        self.lines: list[Line] = []
        self.canonical: list[int] = []  # kernel's series -> position in lines: a label set may be spelled in two ways
        self.known: dict[LabelSet, int] = {}
        self.ended = False
        self.table = om.Table.empty(1 << 12, 1 << 18)
        self.state = np.zeros(om.STATE, np.int64)
        self.state[om.LINE] = 1
        self.state[om.PREVIOUS] = -1
        self.parts: list[tuple[Ids, Times, Values]] = []

    def feed_all(self, file: _Readable) -> None:
        rest = b""
        while data := file.read(CHUNK):
            block = rest + data
            cut = block.rfind(b"\n") + 1
            if cut == 0 and len(block) > CHUNK:
                raise RecordingError(self.path, int(self.state[om.LINE]), f"line longer than {CHUNK >> 20} MiB")
            self._feed(block[:cut])
            rest = block[cut:]
        if rest:
            self._feed(rest + b"\n")
        if not self.ended:
            raise RecordingError(
                self.path,
                int(self.state[om.LINE]),
                "the file does not end with '# EOF': it was cut off, or is not OpenMetrics",
            )

    def _feed(self, block: bytes) -> None:
        if not block:
            return
        data = np.frombuffer(block, np.uint8)
        room = block.count(b"\n")
        out = (np.empty(room, np.int32), np.empty(room, np.int64), np.empty(room, np.float64))
        odd = np.empty((2 * room, 5), np.int64)
        state = self.state
        state[om.AT], state[om.OUT], state[om.ODD] = 0, 0, 0
        while (code := om.scan(data, state, *self.table, *out, odd)) != om.DONE:
            self._new_series()
            if code == om.COMMENT:
                self._comment(block)
            elif code == om.FULL:
                self.table = self.table.grown(int(state[om.SERIES]), len(block))
            else:
                raise RecordingError(self.path, int(state[om.LINE]), om.MESSAGES[code])
        self._new_series()
        self._odd_numbers(block, odd, out[1], out[2])
        n = int(state[om.OUT])
        if n:
            self.parts.append((out[0][:n], out[1][:n], out[2][:n]))

    def _comment(self, block: bytes) -> None:
        """``# TYPE name type`` is kept, ``# EOF`` ends the file, everything else is passed over."""
        start = int(self.state[om.AT])
        end = block.index(b"\n", start)
        line = int(self.state[om.LINE])
        text = block[start:end].decode("utf-8", "replace").rstrip("\r")
        if self.ended:
            raise RecordingError(self.path, line, "more lines after '# EOF': two files in one? Read them one by one")
        if text.rstrip() == "# EOF":
            self.ended = True
            self.state[om.CLOSED] = 1
        elif match := _TYPE.fullmatch(text):
            name = om.unescape(match[1]) if match[1] is not None else match[2]
            self.types[name] = match[3]
        self.state[om.AT] = end + 1
        self.state[om.LINE] = line + 1

    def _new_series(self) -> None:
        for local in range(len(self.canonical), int(self.state[om.SERIES])):
            start, end = int(self.table.starts[local]), int(self.table.starts[local + 1])
            try:
                labels = om.parse_series(self.table.arena[start:end].tobytes())
            except ValueError as error:
                raise RecordingError(self.path, int(self.table.first_line[local]), str(error)) from None
            position = self.known.setdefault(labels, len(self.lines))
            if position == len(self.lines):
                self.lines.append(Line(labels, target_of(labels, "recording"), self._type_of(metric_of(labels))))
            self.canonical.append(position)

    def _type_of(self, name: str) -> str:
        found = self.types.get(name)
        if found is None:
            for suffix in _SUFFIXES:
                if name.endswith(suffix) and (found := self.types.get(name.removesuffix(suffix))) is not None:
                    break
        return "" if found in (None, "unknown", "untyped") else str(found)

    def _odd_numbers(self, block: bytes, odd: om.Integers, at: Times, value: Values) -> None:
        """Numbers beyond the kernel's exact range: rows of (sample, line, start, end, 0 value | 1 timestamp)."""
        for sample, line, start, end, which in odd[: int(self.state[om.ODD])].tolist():
            number = float(block[start:end])
            if which == 0:
                value[sample] = number
            elif abs(number) < 1e15:
                at[sample] = round(number * 1000)
            else:
                raise RecordingError(self.path, line, "the timestamp is out of range: OpenMetrics has seconds")

    def result(self) -> tuple[list[Line], Ids, Times, Values]:
        if not self.parts:
            return self.lines, np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64)
        series = np.concatenate([part[0] for part in self.parts])
        at = np.concatenate([part[1] for part in self.parts])
        value = np.concatenate([part[2] for part in self.parts])
        self.parts.clear()
        return self.lines, np.asarray(self.canonical, np.int32)[series], at, value


def read_alerts(path: Path) -> list[Alert]:
    """Webhooks kept one JSON object a line, ``{"received_at": RFC 3339, "body": webhook}``, in the order they came.

    Raises RecordingError with file and line.
    """
    alerts: list[Alert] = []
    try:
        text = path.read_bytes()
    except OSError as error:
        raise RecordingError(path, 0, f"cannot be read: {error.strerror or error}") from None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            kept = msgspec.json.decode(line, type=_KeptWebhook)
            arrived = webhook(bytes(kept.body), parse_rfc3339(kept.received_at))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise RecordingError(path, number, str(error)) from None
        if arrived.errors:
            raise RecordingError(path, number, "; ".join(arrived.errors))
        alerts.extend(arrived.alerts)
    return sorted(alerts, key=lambda alert: alert.received_at)


class _KeptWebhook(msgspec.Struct):
    received_at: str
    body: msgspec.Raw
