"""Wall time, injected: the only module that asks the operating system what time it is.

Times are ``int`` milliseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol


class Clock(Protocol):
    def now(self) -> int:
        """Milliseconds since the epoch, UTC."""

    async def sleep_until(self, at: int) -> None:
        """Return at ``at`` (ms) or soon after; at once when it is past."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep_until(self, at: int) -> None:
        # In steps of a minute at most, so that a clock that was set forward is noticed.
        while (left := at - self.now()) > 0:  # noqa: ASYNC110 - time itself is what is waited for
            await asyncio.sleep(min(left, 60_000) / 1000)


class ManualClock:
    """A clock that stands still until told otherwise: for tests and for replays."""

    def __init__(self, now: int) -> None:
        self._now = now
        self._moved = asyncio.Event()

    def now(self) -> int:
        return self._now

    def set(self, at: int) -> None:
        """Move to ``at`` (ms), never back, and wake whoever waits for it."""
        self._now = max(self._now, at)
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep_until(self, at: int) -> None:
        while self._now < at:
            await self._moved.wait()


async def every(clock: Clock, step: Callable[[int], Awaitable[int | None]], wake: asyncio.Event | None = None) -> None:
    """Run ``step(now)``, which returns when (ms) it is next due, for ever; ``None`` means: when ``wake`` is set.

    The one driver of everything that happens by the clock.
    """
    while True:
        due = await step(clock.now())
        if wake is None:
            assert due is not None, "a step without a due time needs a wake event"
            await clock.sleep_until(due)
            continue
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(wake.wait())]
        if due is not None:
            waits.append(asyncio.ensure_future(clock.sleep_until(due)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        wake.clear()


@lru_cache(16_384)  # a list of incidents has a thousand times, mostly those of the list before
def rfc3339(at: int) -> str:
    """``at`` (ms) as RFC 3339 UTC with milliseconds: ``2026-11-24T08:30:00.000Z``."""
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at % 1000:03d}Z"


def parse_rfc3339(text: str) -> int:
    """RFC 3339 to ms; raises ValueError naming the text. A time without an offset is refused."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an RFC 3339 time such as 2026-11-24T08:30:00Z") from None
    if parsed.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: write 2026-11-24T08:30:00Z")
    delta = parsed - datetime(1970, 1, 1, tzinfo=UTC)  # not astimezone: it overflows at the ends of the calendar
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000
