"""Two bounded lanes in front of one thread.

In: callables with their size. Out: what they returned, to whoever awaits it on whatever event loop. A full lane is
answered by :class:`Overloaded`, never by growing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")

BURST = 64
"""Entries of the first lane that are worked off before the second lane has its turn."""
MAX_QUERIES = 256
MAX_ENTRIES = 4096


class Overloaded(Exception):
    """The mailbox is full: answer 503 with Retry-After."""

    def __init__(self, retry_after: int = 1) -> None:
        self.retry_after = retry_after
        super().__init__("more is waiting to be ingested than may wait; try again shortly")


@dataclass(slots=True)
class _Entry:
    work: Callable[[], Any]
    size: int
    since: float
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any]


class Mailbox:
    """Two bounded lanes in front of one thread. The first (ingest, advance) goes first, the second is never starved."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self._lanes: tuple[deque[_Entry], deque[_Entry]] = (deque(), deque())
        self._bytes = 0
        self._wake = threading.Condition()
        self.stopping = False
        self._thread = threading.Thread(target=self._beat, name="heart", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Work off what is there, then end the thread; blocks until it has ended."""
        with self._wake:
            self.stopping = True
            self._wake.notify()
        self._thread.join()

    def depth(self, lane: int) -> int:
        return len(self._lanes[lane])

    def oldest_seconds(self, lane: int) -> float:
        """Age of the oldest entry of the lane; 0 when it is empty."""
        try:
            return time.monotonic() - self._lanes[lane][0].since
        except IndexError:
            return 0.0

    async def post(self, work: Callable[[], T], *, size: int = 0, lane: int = 0, bounded: bool = True) -> T:
        """Run ``work`` on the heart thread and return what it returned.

        ``size`` (bytes) counts against the capacity; ``bounded=False`` is for the product's own few entries (the next
        advance, a snapshot), which must not be refused because a sender is too fast.
        """
        loop = asyncio.get_running_loop()
        entry = _Entry(work, size, time.monotonic(), loop, loop.create_future())
        with self._wake:
            if self.stopping:
                raise Overloaded(5)
            if bounded and self._full(size, lane):
                raise Overloaded
            self._bytes += size
            self._lanes[lane].append(entry)
            self._wake.notify()
        # Shielded: a client that goes away does not undo what is already on its way to the journal.
        result: T = await asyncio.shield(entry.done)
        return result

    def _full(self, size: int, lane: int) -> bool:
        if lane:
            return len(self._lanes[lane]) >= MAX_QUERIES
        # One body larger than the capacity still fits into an empty mailbox.
        return len(self._lanes[0]) >= MAX_ENTRIES or (self._bytes > 0 and self._bytes + size > self.capacity_bytes)

    def _beat(self) -> None:
        first, second = self._lanes
        while True:
            with self._wake:
                while not (first or second or self.stopping):
                    self._wake.wait()
                if self.stopping and not (first or second):
                    return
                batch = [first.popleft() for _ in range(min(BURST, len(first)))]
                if second:
                    batch.append(second.popleft())
            for entry in batch:
                self._work(entry)

    def _work(self, entry: _Entry) -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = entry.work()
        except BaseException as caught:  # noqa: BLE001 - handed to the caller, who awaits it
            error = caught
        with self._wake:
            self._bytes -= entry.size
        try:
            entry.loop.call_soon_threadsafe(_settle, entry.done, result, error)
        except RuntimeError:
            log.debug("an answer came after its event loop had closed")


def _settle(done: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
        done.exception()  # marked as seen: the caller may have gone away
