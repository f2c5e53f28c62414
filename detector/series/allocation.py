"""Freed arrays go back to the operating system.

glibc raises the size from which blocks are mapped by themselves to the largest that was ever freed (up to 32 MiB);
from then on arrays that grow leave holes in the heap, 200 to 300 bytes a series when measured. A fixed size keeps
them apart.
"""

from __future__ import annotations

import ctypes
import sys

MAPPED_FROM = 256 << 10
"""Bytes from which a block is mapped by itself."""
_M_MMAP_THRESHOLD = -3


def settle() -> bool:
    """Once a process, early; whether the C library took it (others than glibc need nothing of the kind)."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM))
