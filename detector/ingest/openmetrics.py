"""Lines of an OpenMetrics file, read from bytes: the numba kernel behind ``recordings`` and the reader of label blocks.

A sample is ``name{label="value",...} value timestamp-in-seconds``. The kernel finds the series by comparing with the
label block of the line before, else in a hash table verified by exact bytes; it reads numbers by Clinger's fast path
(exact up to 2**53 and 22 decimal places) and leaves all others to the caller's ``float``. It never reads past the last
newline of the block and never writes more samples than the block has newlines.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from detector.nouns import Ids, LabelSet, Times, Values

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

# What the kernel keeps between calls, int64 each: position in the block, number of the line there, series and arena
# bytes in use, the series of the line before (-1: none), samples and odd numbers written, whether `# EOF` was seen.
AT, LINE, SERIES, ARENA, PREVIOUS, OUT, ODD, CLOSED, STATE = range(9)

DONE, COMMENT, FULL, BAD_SERIES, BAD_VALUE, NO_TIME, BAD_TIME, BAD_END, AFTER_END, FAR_TIME = range(10)
MESSAGES = {
    BAD_SERIES: 'a sample must read name{label="value"} value timestamp',
    BAD_VALUE: "the value is not a number",
    NO_TIME: "the sample has no timestamp; a recording needs one on every line",
    BAD_TIME: "the timestamp is not a number of seconds",
    BAD_END: "something follows the timestamp that is not an exemplar",
    AFTER_END: "more lines after '# EOF': two files in one? Read them one by one",
    FAR_TIME: "the timestamp is out of range: OpenMetrics has seconds",
}

_POWERS = 10.0 ** np.arange(23)
_EXACT = 1 << 53
_INITY = np.frombuffer(b"inity", np.uint8).copy()
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PAIR = re.compile(
    r'\s*(?:"((?:[^"\\]|\\.)*)"|([a-zA-Z_][a-zA-Z0-9_]*))\s*(?:=\s*"((?:[^"\\]|\\.)*)")?\s*(?:,\s*|$)', re.DOTALL
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class Table(NamedTuple):
    """Label blocks seen so far: hash ``slots`` int32[2**k] (-1: free), block i is ``arena[starts[i]:starts[i + 1]]``,
    ``first_line[i]`` is where it was met first. At most half of the slots are in use."""

    slots: Ids
    starts: Integers
    first_line: Integers
    arena: Bytes

    @classmethod
    def empty(cls, slots: int, arena: int) -> Table:
        """``slots`` must be a power of two."""
        half = slots // 2
        return cls(np.full(slots, -1, np.int32), np.zeros(half + 1, np.int64), np.zeros(half, np.int64),
                   np.zeros(arena, np.uint8))  # fmt: skip

    def grown(self, series: int, block: int) -> Table:
        """Twice the size, with room for a label block of ``block`` bytes; the first ``series`` entries are kept."""
        used = int(self.starts[series])
        bigger = Table.empty(2 * len(self.slots), max(2 * len(self.arena), used + 2 * block))
        bigger.starts[: series + 1] = self.starts[: series + 1]
        bigger.first_line[:series] = self.first_line[:series]
        bigger.arena[:used] = self.arena[:used]
        _rehash(bigger.slots, bigger.starts, bigger.arena, series)
        return bigger


def unescape(text: str) -> str:
    """Backslash escapes of label values: ``\\n`` is a newline, of everything else the backslash goes."""
    return _ESCAPE.sub(lambda m: "\n" if m[1] == "n" else m[1], text) if "\\" in text else text


def parse_series(text: bytes) -> LabelSet:
    """``name{a="b"}`` (or ``{"name",a="b"}``) to label pairs sorted by name; raises ValueError saying what is wrong."""
    try:
        source = text.decode()
    except UnicodeDecodeError:
        raise ValueError("not valid UTF-8") from None
    name, brace, inner = source.partition("{")
    pairs: dict[str, str] = {}
    if name:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:80]!r} is not a metric name")
        pairs["__name__"] = name
    position, inner = 0, inner[:-1] if brace else ""
    while position < len(inner):
        match = _PAIR.match(inner, position)
        if match is None or match.end() == position:
            raise ValueError(f'labels must read name="value", not {inner[position : position + 40]!r}')
        quoted, plain, label = match[1], match[2], match[3]
        key = unescape(quoted) if quoted is not None else plain
        if label is None:  # {"name"}: the metric's name in quotes
            if quoted is None:
                raise ValueError(f"label {plain!r} has no value")
            key, label = "__name__", quoted
        if key in pairs:
            raise ValueError(f"label {key[:80]!r} appears twice")
        pairs[key] = unescape(label)
        position = match.end()
    if not pairs.get("__name__"):
        raise ValueError("the series has no metric name")
    return tuple(sorted((key, value) for key, value in pairs.items() if value))


@njit(cache=True)
def _hash(data: Bytes, start: int, end: int) -> int:
    """FNV-1a, 32 bits, of ``data[start:end]``."""
    h = np.uint32(2166136261)
    for i in range(start, end):
        h = np.uint32((h ^ data[i]) * np.uint32(16777619))
    return int(np.int64(h))


@njit(cache=True)
def _rehash(slots: Ids, starts: Integers, arena: Bytes, series: int) -> None:
    mask = len(slots) - 1
    for i in range(series):
        slot = _hash(arena, starts[i], starts[i + 1]) & mask
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = i


@njit(cache=True)
def _same(a: Bytes, at: int, b: Bytes, start: int, end: int) -> bool:
    """``a[at:at + end - start] == b[start:end]``; the caller has checked both ranges."""
    for i in range(end - start):  # noqa: SIM110 -- all() of a generator compiles to something slower
        if a[at + i] != b[start + i]:
            return False
    return True


@njit(cache=True)
def _label_end(data: Bytes, start: int) -> int:
    """One past ``name{...}``, or -1. Stops at the newline at the latest, which every block ends with."""
    i = start
    while data[i] != 32 and data[i] != 123 and data[i] != 10:
        i += 1
    if data[i] == 32:
        return i if i > start else -1
    if data[i] == 10:
        return -1
    quoted = False
    i += 1
    while data[i] != 10:
        if quoted:
            if data[i] == 92:
                i += 1
                if data[i] == 10:
                    return -1
            elif data[i] == 34:
                quoted = False
        elif data[i] == 34:
            quoted = True
        elif data[i] == 125:
            return i + 1 if data[i + 1] == 32 else -1
        i += 1
    return -1


@njit(cache=True)
def _is_end(c: int) -> bool:
    return bool(c == 32 or c == 10 or c == 13)


@njit(cache=True)
def _number(data: Bytes, start: int) -> tuple[int, float, int]:
    """(0 exact | 1 valid, beyond the exact range | 2 no number, value, one past it)."""
    i = start
    negative = data[i] == 45
    if negative or data[i] == 43:
        i += 1
    mantissa, digits, places, seen = 0, 0, 0, 0
    while 48 <= data[i] <= 57:
        seen += 1
        if mantissa or data[i] != 48:
            digits += 1
        if digits <= 18:
            mantissa = mantissa * 10 + int(np.int64(data[i])) - 48
        i += 1
    if data[i] == 46:
        i += 1
        while 48 <= data[i] <= 57:
            seen += 1
            if mantissa or data[i] != 48:
                digits += 1
            if digits <= 18:
                mantissa = mantissa * 10 + int(np.int64(data[i])) - 48
            places += 1
            i += 1
    if seen == 0:
        return _word(data, i, negative)
    exponent = 0
    if data[i] == 101 or data[i] == 69:
        i += 1
        down = data[i] == 45
        if down or data[i] == 43:
            i += 1
        first = i
        while 48 <= data[i] <= 57:
            if exponent < 10000:
                exponent = exponent * 10 + int(np.int64(data[i])) - 48
            i += 1
        if i == first:
            return 2, 0.0, i
        if down:
            exponent = -exponent
    if not _is_end(data[i]):
        return 2, 0.0, i
    exponent -= places
    value = float(mantissa)
    if mantissa == 0:
        value = 0.0
    elif digits > 18 or mantissa > _EXACT or exponent > 22 or exponent < -22:
        return 1, 0.0, i
    elif exponent >= 0:
        value *= _POWERS[exponent]
    else:
        value /= _POWERS[-exponent]
    return 0, -value if negative else value, i


@njit(cache=True)
def _word(data: Bytes, start: int, negative: bool) -> tuple[int, float, int]:
    """``NaN``, ``Inf`` and ``Infinity`` in any case."""
    i = start
    while not _is_end(data[i]):
        i += 1
    n = i - start
    if n == 3 or n == 8:
        a, b, c = data[start] | 32, data[start + 1] | 32, data[start + 2] | 32
        if a == 110 and b == 97 and c == 110 and n == 3:
            return 0, np.nan, i
        if a == 105 and b == 110 and c == 102:
            tail = True
            for k in range(3, n):
                tail = tail and data[start + k] | 32 == _INITY[k - 3]
            if tail:
                return 0, -np.inf if negative else np.inf, i
    return 2, 0.0, i


@njit(cache=True)
def _seconds(data: Bytes, start: int) -> tuple[int, int, int]:
    """(0 exact | 1 has an exponent | 2 no number | 3 out of range, ms rounded half up, one past it)."""
    i = start
    negative = data[i] == 45
    if negative or data[i] == 43:
        i += 1
    whole, part, scale, first = 0, 0, 1000, i
    while 48 <= data[i] <= 57:
        if i - first >= 12:
            return 3, 0, i
        whole = whole * 10 + int(np.int64(data[i])) - 48
        i += 1
    seen = i - first
    if data[i] == 46:
        i += 1
        first = i
        while 48 <= data[i] <= 57:
            if scale > 1:
                scale //= 10
                part += scale * (int(np.int64(data[i])) - 48)
            elif scale == 1:  # the fourth place rounds
                scale = 0
                part += data[i] >= 53
            i += 1
        seen += i - first
    if seen == 0:
        return 2, 0, i
    if data[i] == 101 or data[i] == 69:
        kind, _, end = _number(data, start)
        return (2 if kind == 2 else 1), 0, end
    if not _is_end(data[i]):
        return 2, 0, i
    at = whole * 1000 + part
    return 0, -at if negative else at, i


@njit(cache=True)
def _find(data: Bytes, start: int, end: int, state: Integers, slots: Ids, starts: Integers, first_line: Integers,
          arena: Bytes) -> int:  # fmt: skip
    """The series of the label block ``data[start:end]``, entered where new; -1: the table has no room."""
    mask = len(slots) - 1
    slot = _hash(data, start, end) & mask
    length = end - start
    while slots[slot] >= 0:
        known = slots[slot]
        if starts[known + 1] - starts[known] == length and _same(data, start, arena, starts[known], starts[known + 1]):
            return int(np.int64(known))
        slot = (slot + 1) & mask
    series, used = state[SERIES], state[ARENA]
    if series >= len(first_line) or used + length > len(arena):
        return -1
    arena[used : used + length] = data[start:end]
    starts[series + 1] = used + length
    first_line[series] = state[LINE]
    slots[slot] = series
    state[SERIES], state[ARENA] = series + 1, used + length
    return int(np.int64(series))


@njit(cache=True)
def scan(data: Bytes, state: Integers, slots: Ids, starts: Integers, first_line: Integers, arena: Bytes,
         series: Ids, at: Times, value: Values, odd: Integers) -> int:  # fmt: skip
    """Read samples from ``data`` (ends with a newline) from ``state[AT]`` on until something is not a sample.

    ``series``, ``at``, ``value`` have room for as many samples as ``data`` has newlines, ``odd`` int64[rows, 5] for
    twice as many numbers to be read by the caller: (sample, line, start, end, 0 value | 1 timestamp). Returns DONE, or
    why it stopped; ``state`` then tells where, and COMMENT and FULL can be continued.
    """
    n = len(data)
    while state[AT] < n:
        start = state[AT]
        if data[start] == 35:
            return COMMENT
        if data[start] == 10 or (data[start] == 13 and data[start + 1] == 10):
            state[AT] += 1 + (data[start] == 13)
            state[LINE] += 1
            continue
        if state[CLOSED]:
            return AFTER_END
        found = state[PREVIOUS]
        if found >= 0:
            end = start + starts[found + 1] - starts[found]
            if end >= n or data[end] != 32 or not _same(data, start, arena, starts[found], starts[found + 1]):
                found = -1
        if found < 0:
            end = _label_end(data, start)
            if end < 0:
                return BAD_SERIES
            found = _find(data, start, end, state, slots, starts, first_line, arena)
            if found < 0:
                return FULL
            state[PREVIOUS] = found
        code = _sample(data, end, state, found, series, at, value, odd)
        if code != DONE:
            return code
    return DONE


@njit(cache=True)
def _sample(data: Bytes, end: int, state: Integers, found: int, series: Ids, at: Times, value: Values,
            odd: Integers) -> int:  # fmt: skip
    """The rest of a line after its label block, whose one space is at ``end``."""
    out = state[OUT]
    first = end + 1
    kind, number, i = _number(data, first)
    if kind == 2:
        return BAD_VALUE
    if kind == 1:
        row = odd[state[ODD]]
        row[0], row[1], row[2], row[3], row[4] = out, state[LINE], first, i, 0
        state[ODD] += 1
    if data[i] != 32 or data[i + 1] == 35 or _is_end(data[i + 1]):
        return NO_TIME
    first = i + 1
    kind, ms, i = _seconds(data, first)
    if kind == 2:
        return BAD_TIME
    if kind == 3:
        return FAR_TIME
    if kind == 1:
        row = odd[state[ODD]]
        row[0], row[1], row[2], row[3], row[4] = out, state[LINE], first, i, 1
        state[ODD] += 1
    while data[i] == 32 or data[i] == 13:
        i += 1
    if data[i] == 35:  # an exemplar
        while data[i] != 10:
            i += 1
    if data[i] != 10:
        return BAD_END
    series[out], at[out], value[out] = found, ms, number
    state[OUT] = out + 1
    state[AT] = i + 1
    state[LINE] += 1
    return DONE
