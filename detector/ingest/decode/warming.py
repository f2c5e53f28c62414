"""Compile (or load from numba's cache) the kernels of decoding before the first sender waits for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cramjam

from detector.ingest.decode.exposition import ExpositionDecoder
from detector.ingest.decode.remote_write import RemoteWriteDecoder
from detector.nouns import LabelSet
from detector.series.labels import Index
from detector.series.limits import Limits

_LABEL = b"\x0a\x06\x0a\x01a\x12\x01b"
_SAMPLE = b"\x12\x0b\x09" + bytes(8) + b"\x10\x01"


@dataclass(frozen=True, slots=True)
class _Nothing:
    """A scrape of one sample."""

    target: str = "warm"
    labels: LabelSet = ()
    at: int = 0
    seconds: float = 0.0
    body: bytes = b"a 1 1\n"
    content_type: str = ""
    error: str = ""
    gone: bool = False
    honor_timestamps: bool = True
    sample_limit: int = 0
    relabel: Any = None


def warm() -> None:
    """Takes seconds the first time on a machine, then a fraction of one; off the event loop."""
    index, limits = Index(), Limits()
    series = _LABEL + _SAMPLE
    body = bytes(cramjam.snappy.compress_raw(b"\x0a" + bytes([len(series)]) + series))
    decoder = RemoteWriteDecoder()
    for _ in range(2):
        decoder.decode(body, index, limits)
    ExpositionDecoder().scrape(_Nothing(), index, limits)
