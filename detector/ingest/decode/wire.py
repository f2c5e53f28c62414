"""Protocol buffers' wire format, read by kernels: every read is checked against the end it may not pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from detector.series.compiled import i64, inlined, word64

Bytes = npt.NDArray[np.uint8]
ONE = np.uint64(1)
EACH_BYTE = np.uint64(0x0101010101010101)
HIGH_BITS = np.uint64(0x8080808080808080)
LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


@inlined
def varint(data: Bytes, at: int, end: int) -> tuple[np.uint64, int]:
    """A varint in ``data[at:end]``: (value, where it ends), or (0, -1). Bits beyond 64 are dropped, as usual."""
    if at + 8 <= end:
        # The byte without a continuation bit ends it; seven bits of each byte before it are then pushed together.
        word = word64(data, at)
        stop = ~word & HIGH_BITS
        if stop != 0:
            last = stop & (~stop + ONE)
            word &= (last - ONE) & LOW_BITS
            word = (word & np.uint64(0x007F007F007F007F)) | ((word & np.uint64(0x7F007F007F007F00)) >> ONE)
            word = (word & np.uint64(0x00003FFF00003FFF)) | ((word & np.uint64(0x3FFF00003FFF0000)) >> np.uint64(2))
            word = (word & np.uint64(0x000000000FFFFFFF)) | ((word & np.uint64(0x0FFFFFFF00000000)) >> np.uint64(4))
            return word, at + i64((((last - ONE) & EACH_BYTE) * EACH_BYTE) >> np.uint64(56))
    value = np.uint64(0)
    for i in range(10):
        if at + i >= end:
            return np.uint64(0), -1
        byte = data[at + i]
        value |= np.uint64(byte & 0x7F) << np.uint64(7 * i)
        if byte < 0x80:
            return value, at + i + 1
    return np.uint64(0), -1


@inlined
def tag(data: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """(field number, wire type, where the tag ends); the last is -1 for what cannot be a tag."""
    if at < end and data[at] < 0x80:
        number, after = np.uint64(data[at]), at + 1
    else:
        number, after = varint(data, at, end)
    if after < 0 or number >> np.uint64(3) == 0 or number >= np.uint64(1 << 32):
        return 0, 0, -1
    return i64(number >> np.uint64(3)), i64(number & np.uint64(7)), after


@inlined
def body(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """(start, end) of a length-delimited field's contents, whose length stands at ``at``; (0, -1): does not fit."""
    if at < end and data[at] < 0x80:
        size, after = np.uint64(data[at]), at + 1
    else:
        size, after = varint(data, at, end)
    if after < 0 or size > np.uint64(end - after):
        return 0, -1
    return after, after + i64(size)


@inlined
def skip(data: Bytes, at: int, end: int, kind: int) -> int:
    """Where an unknown field's value of wire type ``kind`` ends, or -1. Groups (deprecated) are not taken."""
    if kind == VARINT:
        return varint(data, at, end)[1]
    if kind == FIXED64:
        return at + 8 if at + 8 <= end else -1
    if kind == LENGTH:
        return body(data, at, end)[1]
    if kind == FIXED32:
        return at + 4 if at + 4 <= end else -1
    return -1


def fields(data: bytes) -> list[tuple[int, int, bytes | int]]:
    """(field, wire type, contents) of a small message, in plain Python; ValueError for what is not one."""
    array = np.frombuffer(data, np.uint8)
    out: list[tuple[int, int, bytes | int]] = []
    at = 0
    while at < len(data):
        number, kind, at = tag(array, at, len(data))
        if at < 0:
            raise ValueError("a protobuf tag is cut off")
        if kind == LENGTH:
            start, at = body(array, at, len(data))
            out.append((number, kind, data[start:at] if at >= 0 else b""))
        elif kind == VARINT:
            value, at = varint(array, at, len(data))
            out.append((number, kind, int(value)))
        else:
            at = skip(array, at, len(data), kind)
            out.append((number, kind, 0))
        if at < 0:
            raise ValueError("a protobuf field is cut off")
    return out


def label_pairs(block: bytes) -> list[tuple[bytes, bytes]]:
    """The labels of a series from its label fields, tags included (``0a <length> <message>`` again and again).

    ValueError when they are not whole. Written for speed: the first scrape of a large site meets it once per series.
    """
    out = []
    at, end = 0, len(block)
    while at < end:
        # The usual shape: one-byte lengths, name before value, nothing else.
        if (
            at + 4 <= end and block[at] == 0x0A and block[at + 1] < 0x80 and block[at + 2] == 0x0A
            and (name := block[at + 3]) < 0x80 and (stop := at + 2 + block[at + 1]) <= end
            and (value := at + 4 + name) + 2 <= stop and block[value] == 0x12 and value + 2 + block[value + 1] == stop
            and block[value + 1] < 0x80
        ):  # fmt: skip
            out.append((block[at + 4 : value], block[value + 2 : stop]))
            at = stop
            continue
        start, stop = body(np.frombuffer(block, np.uint8), at + 1, end)
        if block[at] != 0x0A or stop < 0:
            raise ValueError("the labels are cut off")
        texts = {1: b"", 2: b""}
        for number, kind, contents in fields(block[start:stop]):
            if number in texts:
                if kind != LENGTH or not isinstance(contents, bytes):
                    raise ValueError("a label's name or value is no text")
                texts[number] = contents
        out.append((texts[1], texts[2]))
        at = stop
    return out
