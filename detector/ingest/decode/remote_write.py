"""Prometheus remote write 1.0: snappy, protobuf ``prometheus.WriteRequest``, into a batch.

One kernel walks the inflated bytes. The bytes of a series' labels are looked up whole, first of all behind the series
that followed it last time; only what is met for the first time is parsed in Python. Native histograms and
exemplars are not kept; metadata is noted in ``index.types``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cramjam
import numpy as np
import numpy.typing as npt

from detector.ingest.decode import Decoded, Rejected, wire
from detector.ingest.decode.cache import FOLLOWER, ID, RELEASES, Entries, TextCache, look_up
from detector.ingest.decode.labelling import REASONS, SERIES_LIMIT, BadLabels, checked, metric_of, target_of
from detector.nouns import Batch, Ids, LabelSet, Times
from detector.series.compiled import bits64, compiled, i64, inlined
from detector.series.labels import Index
from detector.series.limits import Limits
from detector.series.metadata import TYPES

Bytes = npt.NDArray[np.uint8]
SOURCE = "remote-write"
MALFORMED, SAMPLES_FULL, NEW_FULL = -1, -2, -3
NOT_YET = -1
REFUSED = -2
"""A series id of ``REFUSED - code`` says why the series is refused; see ``labelling.REASONS``."""
PLAIN, SCATTERED, METADATA = 0, 1, 2
METADATA_TYPES = ("unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")
MOST_INFLATION = 22
"""A snappy block writes at most 64 bytes for three."""
KEPT_BUFFER = 8 << 20
NAMED = 5


class Found(NamedTuple):
    """What a walk fills. ``series``, ``at``, ``bits`` per sample; ``new`` int64[k, 5]: start and end in the bytes,
    first and last sample, kind; ``counts``: samples, new ones, series with native histograms, last cache entry."""

    series: Ids
    at: Times
    bits: Times
    new: npt.NDArray[np.int64]
    counts: Times


@inlined
def _sample(data: Bytes, at: int, end: int, found: Found, n: int) -> bool:
    """A ``Sample`` message into place ``n``; what is not said is 0."""
    found.at[n] = 0
    found.bits[n] = 0
    while at < end:
        field, kind, at = wire.tag(data, at, end)
        if at < 0:
            return False
        if field == 1 and kind == wire.FIXED64:
            if at + 8 > end:
                return False
            found.bits[n] = bits64(data, at)
            at += 8
        elif field == 2 and kind == wire.VARINT:
            value, at = wire.varint(data, at, end)
            found.at[n] = i64(value)
        else:
            at = wire.skip(data, at, end, kind)
        if at < 0:
            return False
    return True


@inlined
def _series(
    data: Bytes, at: int, end: int, entries: Entries, releases: Ids, full: bool, seed: np.uint64, found: Found
) -> int:
    """A ``TimeSeries`` message; 0, or why it does not go on."""
    begin, block = at, at
    while block < end and data[block] == 0x0A:
        _, block = wire.body(data, block + 1, end)
        if block < 0:
            return MALFORMED
    # After the labels; where the labels are scattered among other fields, Python puts them together.
    at, first, scattered, histograms = block, found.counts[0], False, False
    while at < end:
        field, kind, at = wire.tag(data, at, end)
        if at < 0:
            return MALFORMED
        if field == 2 and kind == wire.LENGTH:
            start, at = wire.body(data, at, end)
            n = found.counts[0]
            if at >= 0 and n == len(found.at):
                return SAMPLES_FULL
            if at < 0 or not _sample(data, start, at, found, n):
                return MALFORMED
            found.counts[0] = n + 1
        else:
            scattered |= field == 1
            histograms |= field == 4
            at = wire.skip(data, at, end, kind)
            if at < 0:
                return MALFORMED
    found.counts[2] += histograms
    id = NOT_YET
    if not scattered:
        last = found.counts[3]
        entry = look_up(entries, data, begin, block, seed, entries.rows[last, FOLLOWER] if last >= 0 else -1)
        if entry >= 0:
            if last >= 0:
                entries.rows[last, FOLLOWER] = entry
            found.counts[3] = entry
            id = entries.rows[entry, ID]
            if id >= 0 and entries.rows[entry, RELEASES] != releases[id]:
                id = NOT_YET
            if id == REFUSED - SERIES_LIMIT and not full:
                id = NOT_YET
    for n in range(first, found.counts[0]):
        found.series[n] = id
    if id == NOT_YET:
        return _note(found, begin, end if scattered else block, first, SCATTERED if scattered else PLAIN)
    return 0


@inlined
def _note(found: Found, begin: int, end: int, first: int, kind: int) -> int:
    k = found.counts[1]
    if k == len(found.new):
        return NEW_FULL
    found.new[k, 0], found.new[k, 1] = begin, end
    found.new[k, 2], found.new[k, 3], found.new[k, 4] = first, found.counts[0], kind
    found.counts[1] = k + 1
    return 0


@compiled
def _walk(data: Bytes, end: int, entries: Entries, releases: Ids, full: bool, seed: np.uint64, found: Found) -> int:
    """A ``WriteRequest``; 0, or why it does not go on."""
    at = 0
    while at < end:
        field, kind, at = wire.tag(data, at, end)
        if at < 0:
            return MALFORMED
        if (field == 1 or field == 3) and kind == wire.LENGTH:
            start, at = wire.body(data, at, end)
            if at < 0:
                return MALFORMED
            if field == 1:
                result = _series(data, start, at, entries, releases, full, seed, found)
            else:
                result = _note(found, start, at, found.counts[0], METADATA)
            if result < 0:
                return result
        else:
            at = wire.skip(data, at, end, kind)
            if at < 0:
                return MALFORMED
    return 0


@dataclass(frozen=True, slots=True)
class _Context:
    index: Index
    limits: Limits


class RemoteWriteDecoder:
    """Keeps the cache of label texts between requests. One per index; not thread-safe."""

    def __init__(self) -> None:
        self.cache = TextCache()
        self._buffer = np.zeros(1 << 16, np.uint8)

    def decode(self, body: bytes, index: Index, limits: Limits) -> Decoded | Rejected:
        """Never raises, whatever ``body``; the index is touched only by a request that is well-formed throughout."""
        size = self._inflate(body, limits)
        if isinstance(size, Rejected):
            return size
        found = self._walked(size, index, limits)
        if isinstance(found, Rejected):
            return found
        total, new, histograms = (int(count) for count in found.counts[:3])
        if total > limits.samples_per_request:
            detail = f"{total} samples; a request may hold {limits.samples_per_request} (limits.samples_per_request)"
            return Rejected(413, "too-many-samples", detail)
        first = self._settle(found, new, _Context(index, limits))
        series = found.series[:total]
        rejected = {"native-histogram": histograms} if histograms else {}
        keep = series >= 0
        for code in np.unique(series[~keep]).tolist():
            rejected[REASONS[REFUSED - code]] = int(np.count_nonzero(series == code))
        born, gone = index.drain()
        # Copies: the arrays of the walk have room to spare that a queue should not hold.
        at, value = found.at[:total][keep], found.bits[:total][keep].view(np.float64)
        return Decoded(Batch(SOURCE, series[keep], at, value, born, gone), rejected, tuple(first), total)

    def _inflate(self, body: bytes, limits: Limits) -> int | Rejected:
        """Into the buffer; how many bytes. The declared length is looked at before anything is inflated."""
        if len(body) > limits.body_bytes:
            return Rejected(413, "body-too-large", f"{len(body)} bytes; limits.body_bytes is {limits.body_bytes}")
        if not body:
            return 0
        try:
            size = int(cramjam.snappy.decompress_raw_len(body))
            if size > limits.inflated_bytes:
                detail = f"declares {size} bytes inflated; limits.inflated_bytes is {limits.inflated_bytes}"
                return Rejected(413, "body-too-large", detail)
            if size > MOST_INFLATION * len(body):
                return Rejected(400, "bad-snappy", f"{len(body)} bytes cannot inflate to the {size} that they declare")
            if size > len(self._buffer) or len(self._buffer) > max(KEPT_BUFFER, 2 * size):
                self._buffer = np.zeros(max(size, 1 << 16), np.uint8)
            return int(cramjam.snappy.decompress_raw_into(body, self._buffer.data))
        except cramjam.DecompressionError as error:
            return Rejected(400, "bad-snappy", f"the body is not one snappy block: {error}")

    def _walked(self, size: int, index: Index, limits: Limits) -> Found | Rejected:
        samples, new = size // 64 + 16, 64
        full = index.size >= limits.series
        while True:
            found = Found(
                np.empty(samples, np.int32), np.empty(samples, np.int64), np.empty(samples, np.int64),
                np.empty((new, 5), np.int64), np.array([0, 0, 0, -1], np.int64),
            )  # fmt: skip
            result = _walk(self._buffer, size, self.cache.entries, index.releases, full, self.cache.seed, found)
            if result == MALFORMED:
                return Rejected(400, "bad-protobuf", "the body is not a prometheus.WriteRequest")
            if result == 0:
                return found
            if result == SAMPLES_FULL:
                samples = min(4 * samples, size // 2 + 16)
            else:
                new = min(8 * new, size // 2 + 64)

    def _settle(self, found: Found, new: int, context: _Context) -> list[str]:
        """Series met for the first time, and metadata; messages about those that are refused."""
        first: list[str] = []
        # Metadata first: series of the same request are born with their type.
        for begin, end, *_, kind in found.new[:new].tolist():
            if kind == METADATA:
                self._note_metadata(self._buffer[begin:end].tobytes(), context.index)
        for begin, end, from_, to, kind in found.new[:new].tolist():
            if kind == METADATA:
                continue
            text = self._buffer[begin:end].tobytes()
            try:
                id = self._intern(_gathered(text) if kind == SCATTERED else text, context)
            except BadLabels as error:
                id = REFUSED - error.code
                if len(first) < NAMED and to > from_:
                    first.append(f"{REASONS[error.code]}: {error}")
            found.series[from_:to] = id
            if kind == PLAIN:
                self.cache.put(text, id, context.index.releases)
        return first

    def _intern(self, block: bytes, context: _Context) -> int:
        """The id of the series with these label fields; raises BadLabels."""
        try:
            pairs: Sequence[tuple[bytes, bytes]] = wire.label_pairs(block)
        except ValueError as error:
            raise BadLabels("bad-label-name", str(error)) from None
        labels: LabelSet = checked(pairs, context.limits)
        index = context.index
        kind = index.types.type_of(metric_of(labels)) if len(index.types) else ""
        id = index.intern(labels, target_of(labels, SOURCE), kind, context.limits.series)
        if id < 0:
            detail = f"{index.size} series are active; limits.series is {context.limits.series}"
            raise BadLabels("series-limit", detail)
        return id

    def _note_metadata(self, message: bytes, index: Index) -> None:
        kind, texts = 0, {2: b"", 4: b"", 5: b""}
        try:
            for number, _, contents in wire.fields(message):
                if number == 1 and isinstance(contents, int):
                    kind = contents
                elif number in texts and isinstance(contents, bytes):
                    texts[number] = contents
            family, help, unit = (str(texts[number], "utf-8") for number in (2, 4, 5))
        except (ValueError, UnicodeDecodeError):
            return
        if family:
            index.types.note(family, METADATA_TYPES[kind] if kind < len(METADATA_TYPES) else "unknown", help, unit)


def _gathered(message: bytes) -> bytes:
    """The label fields of a ``TimeSeries`` message one behind the other."""
    out = bytearray()
    try:
        for number, kind, contents in wire.fields(message):
            if number == 1 and kind == wire.LENGTH and isinstance(contents, bytes):
                size, head = len(contents), bytearray(b"\x0a")
                while size > 0x7F:
                    head.append(size & 0x7F | 0x80)
                    size >>= 7
                head.append(size)
                out += head + contents
    except ValueError:
        return b""
    return bytes(out)


assert set(METADATA_TYPES) < set(TYPES)
