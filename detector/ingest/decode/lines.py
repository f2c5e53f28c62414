"""Lines of an exposition, read by one kernel: text format 0.0.4 and OpenMetrics 1.0.

The bytes before the value are looked up whole; comment lines too, so that only what is new is parsed in Python.
Numbers are read here when that is exact (at most 19 digits below 2**53, powers of ten up to 22: Clinger's fast path),
all others are left to Python's ``float``.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics 1.0 specification.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.ingest.decode.cache import FOLLOWER, ID, RELEASES, Entries, look_up
from detector.nouns import Ids, Times, Values
from detector.series.compiled import compiled, i64, inlined

Bytes = npt.NDArray[np.uint8]
POWERS = 10.0 ** np.arange(23)
NOT_YET = -1
COMMENT_ID = -100
"""Id of a cached comment line: nothing to do."""

DONE, BAD_SERIES, NO_VALUE, BAD_TAIL, AFTER_END = range(5)
MESSAGES = {
    BAD_SERIES: 'a line must read name{label="value"} value [timestamp]',
    NO_VALUE: "the sample has no value",
    BAD_TAIL: "something follows the sample that is neither a timestamp nor an exemplar",
    AFTER_END: "more lines after '# EOF'",
}
SAMPLES, NEW, ODD, LAST, LINE, CLOSED = range(6)
VALUE, TIME = 0, 1

TAB, NEWLINE, RETURN, SPACE, QUOTE, HASH = 9, 10, 13, 32, 34, 35
BACKSLASH, OPEN, CLOSE = 92, 123, 125


class Lines(NamedTuple):
    """What a walk fills; room for one more entry than there are newlines. Per sample ``series``, ``at`` (ms),
    ``value``, ``stamped`` (it had a time of its own), ``where`` (its line). ``new`` int64[k, 3]: start, end, sample
    (-1: a comment). ``odd`` int64[k, 4]: start, end, sample, VALUE or TIME. ``counts`` by SAMPLES .. CLOSED."""

    series: Ids
    at: Times
    value: Values
    stamped: npt.NDArray[np.bool_]
    where: Ids
    new: npt.NDArray[np.int64]
    odd: npt.NDArray[np.int64]
    counts: Times


@inlined
def blanks(data: Bytes, at: int, end: int) -> int:
    while at < end and (data[at] == SPACE or data[at] == TAB):
        at += 1
    return at


@inlined
def token(data: Bytes, at: int, end: int) -> int:
    """Where the word at ``at`` ends."""
    while at < end and data[at] != SPACE and data[at] != TAB:
        at += 1
    return at


@inlined
def series_end(data: Bytes, at: int, end: int) -> int:
    """Where ``name{...}`` ends; -1 when the brace is not closed on the line."""
    while at < end and data[at] != OPEN and data[at] != SPACE and data[at] != TAB:
        at += 1
    brace = blanks(data, at, end)
    if brace >= end or data[brace] != OPEN:
        return at
    at = brace + 1
    quoted = False
    while at < end:
        c = data[at]
        if quoted and c == BACKSLASH:
            at += 1
        elif c == QUOTE:
            quoted = not quoted
        elif c == CLOSE and not quoted:
            return at + 1
        at += 1
    return -1


@inlined
def number(data: Bytes, at: int, end: int) -> tuple[bool, float]:
    """(whether it could be read here, exactly; the number)."""
    negative = at < end and data[at] == 45
    if at < end and (negative or data[at] == 43):
        at += 1
    mantissa, digits, scale, point = np.uint64(0), 0, 0, False
    while at < end:
        c = data[at]
        if 48 <= c <= 57:
            mantissa = mantissa * np.uint64(10) + np.uint64(c - 48)
            digits += 1
            scale -= i64(point)
        elif c == 46 and not point:
            point = True
        else:
            break
        at += 1
    if digits == 0 or digits > 19:
        return False, 0.0
    if at < end and (data[at] == 101 or data[at] == 69):
        at += 1
        minus = at < end and data[at] == 45
        if at < end and (minus or data[at] == 43):
            at += 1
        power, first = i64(0), at
        while at < end and 48 <= data[at] <= 57 and at - first < 4:
            power = power * 10 + i64(data[at] - 48)
            at += 1
        if at == first:
            return False, 0.0
        scale += -power if minus else power
    if at != end or mantissa > np.uint64(1 << 53) or scale < -22 or scale > 22:
        return False, 0.0
    value = np.float64(mantissa)
    value = value * POWERS[scale] if scale >= 0 else value / POWERS[-scale]
    return True, -value if negative else value


@inlined
def _odd(lines: Lines, start: int, end: int, sample: int, what: int) -> None:
    k = lines.counts[ODD]
    lines.odd[k, 0], lines.odd[k, 1], lines.odd[k, 2], lines.odd[k, 3] = start, end, sample, what
    lines.counts[ODD] = k + 1


@inlined
def _new(lines: Lines, start: int, end: int, sample: int) -> None:
    k = lines.counts[NEW]
    lines.new[k, 0], lines.new[k, 1], lines.new[k, 2] = start, end, sample
    lines.counts[NEW] = k + 1


@inlined
def _sample(
    data: Bytes, at: int, end: int, lines: Lines, now: int, own_times: bool, unit: float,
    entries: Entries, releases: Ids, full_id: int, seed: np.uint64,
) -> int:  # fmt: skip
    stop = series_end(data, at, end)
    if stop <= at:
        return BAD_SERIES
    n = lines.counts[SAMPLES]
    first = blanks(data, stop, end)
    last = token(data, first, end)
    if last == first:
        return NO_VALUE
    read, value = number(data, first, last)
    if not read:
        _odd(lines, first, last, n, VALUE)
    lines.value[n] = value
    lines.at[n] = now
    lines.stamped[n] = False
    first = blanks(data, last, end)
    if first < end and data[first] != HASH:
        last = token(data, first, end)
        if own_times:
            read, seconds = number(data, first, last)
            if not read or abs(seconds) > 9e15:
                _odd(lines, first, last, n, TIME)
            else:
                lines.at[n] = i64(np.floor(seconds * unit + 0.5))
            lines.stamped[n] = True
        first = blanks(data, last, end)
    if first < end and data[first] != HASH:
        return BAD_TAIL
    previous = lines.counts[LAST]
    entry = look_up(entries, data, at, stop, seed, entries.rows[previous, FOLLOWER] if previous >= 0 else -1)
    id = i64(NOT_YET)
    if entry >= 0:
        if previous >= 0:
            entries.rows[previous, FOLLOWER] = entry
        lines.counts[LAST] = entry
        id = i64(entries.rows[entry, ID])
        if id == full_id or (id >= 0 and entries.rows[entry, RELEASES] != releases[id]):
            id = i64(NOT_YET)
    if id == NOT_YET:
        _new(lines, at, stop, n)
    lines.series[n] = id
    lines.where[n] = lines.counts[LINE]
    lines.counts[SAMPLES] = n + 1
    return DONE


@compiled
def walk(
    data: Bytes, lines: Lines, now: int, own_times: bool, unit: float, open_metrics: bool,
    entries: Entries, releases: Ids, full_id: int, seed: np.uint64,
) -> int:  # fmt: skip
    """All lines of ``data``; DONE, or what is wrong with line ``counts[LINE]``. ``unit``: ms per unit of a timestamp;
    ``full_id``: a cached id that is to be looked at again (there is room for series now)."""
    at = 0
    while at < len(data):
        end = at
        while end < len(data) and data[end] != NEWLINE:
            end += 1
        lines.counts[LINE] += 1
        stop = end
        if stop > at and data[stop - 1] == RETURN:
            stop -= 1
        first = blanks(data, at, stop)
        if first < stop and lines.counts[CLOSED] != 0:
            return AFTER_END
        if first < stop and data[first] == HASH:
            if open_metrics and stop - first == 5 and data[first + 2] == 69 and data[first + 3] == 79:
                lines.counts[CLOSED] = 1
            elif look_up(entries, data, first, stop, seed, -1) < 0:
                _new(lines, first, stop, -1)
        elif first < stop:
            code = _sample(data, first, stop, lines, now, own_times, unit, entries, releases, full_id, seed)
            if code != DONE:
                return code
        at = end + 1
    return DONE
