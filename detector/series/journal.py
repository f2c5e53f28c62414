"""The journal: every arrival, advance and control in order, on disk before the sender is told.

A batch's record holds its samples by the ids of the process that wrote it, and describes each id the first time a
segment uses it: so every segment can be read by itself, by another process, whose ids are others.
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from detector.nouns import Batch, Born, Control, Ids, Times
from detector.series import segments
from detector.series.compiled import grown
from detector.series.labels import Index
from detector.series.segments import JournalFull, Segment
from detector.series.texts import pack_texts, unpack_texts

log = logging.getLogger(__name__)

SEGMENT_BYTES = 64 << 20
LAST = 1 << 62
BATCH, ADVANCE, CONTROL = 1, 2, 3
BATCH_HEAD = struct.Struct("<BQBIIIIB3xq")
"""Kind, seq, bytes of the source's name, samples, described series, their texts, bytes of all texts, width of a time's
offset (0, 4, 8), the time that the offsets count from."""
ADVANCE_RECORD = struct.Struct("<Bq")
CONTROL_HEAD = struct.Struct("<BQ")


class Journal:
    """Appends to a segment of its own; what others left in ``directory`` is only read. Call :meth:`replay` first."""

    def __init__(self, directory: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.directory = directory
        self.oldest_at: int | None = None
        """Time (ms) of the oldest sample's batch that is still kept, once it is known."""
        self._segment_bytes = segment_bytes
        self._segment: Segment | None = None
        self._seq: int | None = None
        self._kept_from = 0
        self._announced: Ids = np.zeros(64, np.int32)

    # --- writing ---

    def append_batch(self, seq: int, batch: Batch, index: Index) -> None:
        """Write the batch; ``index`` names its ids. Raises JournalFull, and then nothing was written."""
        segment = self._open(seq - 1)
        self._announced = grown(self._announced, index.capacity)
        series = np.ascontiguousarray(batch.series, np.int32)
        unknown = self._announced[series] != index.releases[series] + 1
        fresh = np.unique(series[unknown]) if unknown.any() else series[:0]
        segment.append(_batch_record(seq, batch, series, fresh, index))
        self._announced[fresh] = index.releases[fresh] + 1
        self._seq = seq
        if self.oldest_at is None and len(batch.at):
            self.oldest_at = int(batch.at.max())

    def append_advance(self, to: int) -> None:
        """Event time moved to ``to``."""
        self._open(None).append([ADVANCE_RECORD.pack(ADVANCE, to)])

    def append_control(self, seq: int, control: Control) -> None:
        segment = self._open(seq - 1)
        said = {"kind": control.kind, "labels": control.labels, "data": dict(control.data)}
        segment.append([CONTROL_HEAD.pack(CONTROL, seq), json.dumps(said).encode()])
        self._seq = seq

    def _open(self, base: int | None) -> Segment:
        if self._segment is not None and self._segment.size >= self._segment_bytes:
            self._end_segment()
        if self._segment is None:
            if self._seq is None:
                self._seq = max((record.seq for record in self.replay(0)), default=0)
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise JournalFull(f"{self.directory}: {error.strerror}") from error
            # The higher of the two: a segment before this one holds nothing beyond it.
            self._segment = Segment(segments.after(self.directory), max(self._seq, base or 0))
            self._announced[:] = 0
        return self._segment

    def _end_segment(self) -> None:
        if self._segment is not None:
            segment, self._segment = self._segment, None
            try:
                segment.sync()
            finally:
                segment.close()

    def sync(self) -> None:
        """To the disk itself. Raises JournalFull."""
        if self._segment is not None:
            self._segment.sync()

    def cut(self, before_seq: int) -> None:
        """A snapshot holds everything up to ``before_seq``. Segments that end at or before the *last* cut are deleted:
        the snapshot before this one stays good for a whole replay."""
        self._end_segment()
        known = segments.paths(self.directory)
        for path, following in zip(known, self._ends(known), strict=True):
            if following <= self._kept_from:
                path.unlink(missing_ok=True)
                self.oldest_at = None
        self._kept_from = before_seq

    def _ends(self, known: list[Path]) -> list[int]:
        """The highest sequence number that each segment can hold: the base of the next one whose head is sound."""
        ends, end = [], LAST if self._seq is None else self._seq
        for path in reversed(known):
            ends.append(end)
            base = segments.base_of(path)
            end = end if base is None else base
        return ends[::-1]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in segments.paths(self.directory))

    def close(self) -> None:
        self._end_segment()

    # --- reading ---

    def replay(self, after_seq: int) -> Iterator[Record]:
        """Records behind ``after_seq`` in order, advances among them; damage ends a segment, not the replay.

        Take each record's batch before the next record.
        """
        last = 0
        known = segments.paths(self.directory)
        for path, end in zip(known, self._ends(known), strict=True):
            base = segments.base_of(path)
            if base is None or end < after_seq:
                continue
            last = max(last, base)
            translation = Translation()
            for payload in segments.frames(path):
                record = _record(payload, translation, last)
                if record is None:
                    log.warning("journal %s: a record of an unknown kind or shape is left out", path)
                    continue
                last = max(last, record.seq)
                if record.kind == "batch":
                    record.learn()
                    if self.oldest_at is None:
                        self.oldest_at = record.time()
                if record.seq > after_seq or (record.kind == "advance" and record.seq >= after_seq):
                    yield record
        self._seq = max(last, self._seq or 0)


def _batch_record(seq: int, batch: Batch, series: Ids, fresh: Ids, index: Index) -> list[bytes]:
    source = batch.source.encode()[:255]
    base, width, offsets = _packed_times(batch.at)
    described: list[bytes] = []
    texts, data_bytes = 0, 0
    if len(fresh):
        description = index.describe(fresh)
        data, ends = pack_texts(description.texts)
        texts, data_bytes = len(ends), len(data)
        arrays = (fresh, description.target, description.type, description.count, description.keys, ends, data)
        described = [np.array([len(description.keys)], np.int64).tobytes(), *(array.tobytes() for array in arrays)]
    head = BATCH_HEAD.pack(BATCH, seq, len(source), len(series), len(fresh), texts, data_bytes, width, base)
    values = np.ascontiguousarray(batch.value, np.float64)
    return [head, source, *described, series.tobytes(), offsets, values.tobytes()]


def _packed_times(at: Times) -> tuple[int, int, bytes]:
    """(base, bytes an offset takes, offsets): one scrape has one time, one request times that are close together."""
    if not len(at):
        return 0, 0, b""
    low, high = int(at.min()), int(at.max())
    if low == high:
        return low, 0, b""
    if high - low < 1 << 31:
        return low, 4, (at - low).astype(np.int32).tobytes()
    # Wraps around, and back when it is read.
    return low, 8, (at - low).tobytes()


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at

    def array(self, dtype: npt.DTypeLike, count: int) -> npt.NDArray[np.generic]:
        found = np.frombuffer(self._data, dtype, count, self.at)
        self.at += found.nbytes
        return found

    def bytes(self, count: int) -> bytes:
        found = self._data[self.at : self.at + count]
        self.at += count
        return found


@dataclass(frozen=True, slots=True)
class Record:
    """``seq``: the record's number; of an advance, the number before it. ``to``: of an advance, ms."""

    kind: Literal["batch", "advance", "control"]
    seq: int
    translation: Translation
    to: int = 0
    control: Control | None = None
    payload: bytes = b""

    def learn(self) -> None:
        """Take in the series that the record describes."""
        self.translation.learn(self.payload)

    def time(self) -> int:
        return int(BATCH_HEAD.unpack_from(self.payload)[-1])

    def batch(self, index: Index) -> Batch:
        """The batch by the ids of ``index``, with the births that it takes there."""
        _, _, named, n, _, _, _, width, base = BATCH_HEAD.unpack_from(self.payload)
        reader = _Reader(self.payload, BATCH_HEAD.size)
        source = str(reader.bytes(named), "utf-8", "replace")
        reader.at = len(self.payload) - n * (12 + width)
        series = self.translation.ids(reader.array(np.int32, n), index)
        at = np.full(n, base, np.int64)
        if width:
            at += reader.array(np.int32 if width == 4 else np.int64, n).astype(np.int64)
        value = reader.array(np.float64, n).astype(np.float64)
        known = series >= 0
        if not known.all():
            log.warning("journal: %d samples of series that were not described are left out", n - int(known.sum()))
        born, gone = index.drain()
        return Batch(source, series[known], at[known], value[known], born, gone)


class Translation:
    """From the ids of a segment to those of an index."""

    def __init__(self) -> None:
        self._described: dict[int, Born] = {}
        self._live: Ids = np.full(64, -1, np.int32)
        self._releases: Ids = np.zeros(64, np.int32)

    def learn(self, payload: bytes) -> None:
        _, _, named, _, count, texts, size, _, _ = BATCH_HEAD.unpack_from(payload)
        if not count:
            return
        reader = _Reader(payload, BATCH_HEAD.size + named)
        keys_count = int(reader.array(np.int64, 1)[0])
        ids, target = reader.array(np.int32, count), reader.array(np.int32, count)
        types, counts = reader.array(np.uint8, count), reader.array(np.uint16, count)
        keys = reader.array(np.int32, 2 * keys_count).reshape(-1, 2).tolist()
        ends = reader.array(np.int64, texts)
        said = unpack_texts(reader.array(np.uint8, size), ends)
        at = 0
        for id, where, kind, n in zip(ids.tolist(), target.tolist(), types.tolist(), counts.tolist(), strict=True):
            labels = tuple((said[name], said[value]) for name, value in keys[at : at + n])
            self._described[id] = Born(id, labels, said[where], Index.type_name(kind))
            at += n
        self._live = grown(self._live, int(ids.max()) + 1, -1)
        self._releases = grown(self._releases, len(self._live))
        self._live[ids] = -1

    def ids(self, said: npt.NDArray[np.generic], index: Index) -> Ids:
        """int32[said]; -1 for an id that was never described. Series unknown to ``index`` are born there."""
        series: Ids = said.astype(np.int32)
        inside = (series >= 0) & (series < len(self._live))
        out = np.where(inside, self._live[np.where(inside, series, 0)], -1).astype(np.int32)
        stale = out >= 0
        stale[stale] = index.releases[out[stale]] != self._releases[series[stale]]
        for id in np.unique(series[(out < 0) | stale]).tolist():
            born = self._described.get(id)
            if born is not None:
                live = index.intern(born.labels, born.target, born.type)
                self._live[id], self._releases[id] = live, index.releases[live]
                out[series == id] = live
        return out


def _record(payload: bytes, translation: Translation, last: int) -> Record | None:
    """None for what this program does not understand."""
    kind = payload[0] if payload else 0
    if kind == BATCH and len(payload) >= BATCH_HEAD.size:
        return Record("batch", BATCH_HEAD.unpack_from(payload)[1], translation, payload=payload)
    if kind == ADVANCE and len(payload) == ADVANCE_RECORD.size:
        return Record("advance", last, translation, to=ADVANCE_RECORD.unpack(payload)[1])
    if kind == CONTROL and len(payload) >= CONTROL_HEAD.size:
        said = json.loads(payload[CONTROL_HEAD.size :])
        labels = tuple(tuple((name, value) for name, value in pairs) for pairs in said["labels"])
        control = Control(said["kind"], labels, said["data"])
        return Record("control", CONTROL_HEAD.unpack_from(payload)[1], translation, control=control)
    return None


__all__ = ["Journal", "JournalFull", "Record"]
