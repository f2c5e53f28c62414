"""A sender's side of the wire formats, written plainly: what real senders would put on it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

import cramjam

REMOTE_WRITE = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def remote_write(series: Iterable[tuple[Mapping[str, str], Iterable[tuple[int, float]]]]) -> bytes:
    """A remote write 1.0 body: labels with their samples (ms, value)."""
    out = b""
    for labels, samples in series:
        body = b"".join(
            _field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in sorted(labels.items())
        )
        for at, value in samples:
            body += _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(at & (1 << 64) - 1))
        out += _field(1, body)
    return bytes(cramjam.snappy.compress_raw(out))


def _field(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])
