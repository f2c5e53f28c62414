"""Texts and JSON as arrays, for what is written down as named arrays."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def pack_texts(texts: list[str]) -> tuple[Array, Array]:
    """(bytes one after the other, where each ends)."""
    raw = [text.encode("utf-8", "surrogatepass") for text in texts]
    ends = np.cumsum(np.fromiter(map(len, raw), np.int64, len(raw)))
    return np.frombuffer(b"".join(raw), np.uint8), ends


def unpack_texts(data: Array, ends: Array) -> list[str]:
    raw = data.tobytes()
    return [raw[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise([0, *ends.tolist()])]


def pack_json(value: Any) -> Array:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def unpack_json(data: Array) -> Any:
    return json.loads(data.tobytes())
