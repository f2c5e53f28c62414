"""Notice that a configuration file changed: directories are watched, because Kubernetes swaps symlinks."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from watchfiles import awatch


def digest(paths: Sequence[Path]) -> str:
    """The content of the files as one text that changes when any of them does; a missing file is content too."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(str(path).encode() + b"\0")
        try:
            whole.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError:
            whole.update(b"missing")
    return whole.hexdigest()


async def watch(
    paths: Callable[[], Sequence[Path]], reload: Callable[[], Awaitable[object]], stop: asyncio.Event
) -> None:
    """Call ``reload`` when the content of what ``paths`` names has changed, until ``stop``.

    ``paths`` is asked again after each reload: a new configuration may name other files. A touch without a change, or
    an editor's half-written file that is back to what it was, reloads nothing.
    """
    known = digest(paths())
    while not stop.is_set():
        folders = sorted({str(path.parent) for path in paths() if path.parent.is_dir()})
        async for _ in awatch(*folders, stop_event=stop, recursive=False, debounce=400):
            current = digest(paths())
            if current != known:
                known = current
                await reload()
                known = digest(paths())
                if sorted({str(path.parent) for path in paths() if path.parent.is_dir()}) != folders:
                    break
