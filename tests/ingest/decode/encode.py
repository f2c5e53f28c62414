"""Remote write as a sender writes it, from plain values: the other side of the decoder under test."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import cramjam

Labels = Iterable[tuple[bytes, bytes]]
Series = tuple[Labels, Iterable[tuple[int, float]]]


def varint(n: int) -> bytes:
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number: int, contents: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(contents)) + contents


def label(name: bytes, value: bytes) -> bytes:
    return field(1, field(1, name) + field(2, value))


def sample(at: int, value: float) -> bytes:
    return field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(at))


def series(labels: Labels, samples: Iterable[tuple[int, float]]) -> bytes:
    return field(1, b"".join(label(*pair) for pair in labels) + b"".join(sample(*s) for s in samples))


def metadata(kind: int, family: bytes, help: bytes = b"", unit: bytes = b"") -> bytes:
    return field(3, b"\x08" + varint(kind) + field(2, family) + field(4, help) + field(5, unit))


def request(*all_series: Series) -> bytes:
    return packed(b"".join(series(labels, samples) for labels, samples in all_series))


def packed(message: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(message))
