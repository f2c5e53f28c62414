"""Numba, met in one place: the decorator, unaligned loads, and the hash of the caches.

Compiled functions do not check bounds: whoever calls one has proven or checked every index. All are lazy (they
compile at the first call, or come from numba's cache), so that importing a room costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])

i64: Callable[[Any], int] = cast(Any, np.int64)
"""``np.int64`` to numba, ``int`` to the type checker: wide arithmetic on what comes out of narrow arrays."""


def compiled(function: F) -> F:
    """``njit`` with a cache on disk and without the GIL, typed: the event loop runs beside a kernel."""
    return cast(F, njit(cache=True, nogil=True)(function))


def inlined(function: F) -> F:
    """As :func:`compiled`, built into every kernel that calls it: for small steps that take many arrays."""
    return cast(F, njit(cache=True, nogil=True, forceinline=True)(function))


def _loader(array: Any, element: Any, bits: int) -> Any:
    if not (isinstance(array, types.Array) and array.dtype == types.uint8 and array.layout == "C"):
        return None
    signature = element(array, types.intp)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        proxy: Any = cgutils.create_struct_proxy(sig.args[0])  # type: ignore[no-untyped-call]
        data = proxy(context, builder, value=args[0]).data
        pointer = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(bits).as_pointer())
        return builder.load(pointer, align=1)

    return signature, codegen


def _word64(typingctx: Any, data: Any, at: Any) -> Any:
    return _loader(data, types.uint64, 64)


def _bits64(typingctx: Any, data: Any, at: Any) -> Any:
    return _loader(data, types.int64, 64)


word64: Callable[[npt.NDArray[np.uint8], int], np.uint64] = cast(Any, intrinsic(_word64))
"""The eight bytes ``data[at:at + 8]`` as a little-endian number; the caller proves that they are there."""
bits64: Callable[[npt.NDArray[np.uint8], int], int] = cast(Any, intrinsic(_bits64))
"""As :data:`word64`, signed: the bits of a double, whatever NaN they are."""


@inlined
def tail64(data: npt.NDArray[np.uint8], at: int, end: int) -> np.uint64:
    """The bytes ``data[at:end]``, fewer than eight, as a little-endian number."""
    word = np.uint64(0)
    for i in range(end - at):
        word |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return word


@inlined
def hash_bytes(data: npt.NDArray[np.uint8], at: int, end: int, seed: np.uint64) -> np.uint64:
    """A hash of ``data[at:end]``: multiply, rotate, add over words of eight bytes, seeded per process.

    Not cryptographic: whoever uses it compares the bytes too, and bounds how far it probes.
    """
    h = seed ^ (np.uint64(end - at) * np.uint64(0x9E3779B97F4A7C15))
    i = at
    while i + 8 <= end:
        h = (h ^ word64(data, i)) * np.uint64(0xFF51AFD7ED558CCD)
        h ^= h >> np.uint64(32)
        i += 8
    h = (h ^ tail64(data, i, end)) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(29))


@inlined
def same_bytes(a: npt.NDArray[np.uint8], at: int, b: npt.NDArray[np.uint8], to: int, size: int) -> bool:
    """Whether ``a[at:at + size]`` and ``b[to:to + size]`` are the same bytes; both ranges lie inside."""
    if size < 8:
        return bool(tail64(a, at, at + size) == tail64(b, to, to + size))
    different = word64(a, at + size - 8) ^ word64(b, to + size - 8)
    for i in range(0, size - 8, 8):
        different |= word64(a, at + i) ^ word64(b, to + i)
    return bool(different == np.uint64(0))


def grown(array: npt.NDArray[Any], size: int, fill: int = 0) -> npt.NDArray[Any]:
    """``array``, or a copy a quarter longer, with room for at least ``size``; new cells hold ``fill``."""
    if size <= len(array):
        return array
    out = np.full((max(size, len(array) + (len(array) >> 2) + 64), *array.shape[1:]), fill, array.dtype)
    out[: len(array)] = array
    return out
