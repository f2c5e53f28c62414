"""What many ask for at the same moment is made once: the board that twenty people watch, the list that programs poll.

An answer is shared for a second at most, only while nothing was committed, and only among those for whom it would be
the same. In: who asks for what. Out: the body, packed once for all who take it packed.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

from aiohttp import web

from detector.tickets.desk import Committed
from detector.web.deps import Desk

LASTING_S = 1.0
"""Relative times are in it: they are a second late at most."""
_KEPT = 64
_PACK_LEVEL = 3
_WORTH_PACKING = 1024
_VARIES = ("Cookie", "Authorization", "Accept-Language")


@dataclass
class Made:
    """A body and what it is."""

    body: bytes
    content_type: str
    status: int = 200
    _packed: bytes | None = field(default=None, init=False)

    def response(self, request: web.Request) -> web.Response:
        """A response of its own for each who asks."""
        headers = {"Vary": "Accept-Encoding"}
        body = self.body
        if len(body) >= _WORTH_PACKING and "gzip" in request.headers.get("Accept-Encoding", ""):
            if self._packed is None:
                self._packed = gzip.compress(body, _PACK_LEVEL, mtime=0)
            body, headers["Content-Encoding"] = self._packed, "gzip"
        return web.Response(
            body=body, status=self.status, content_type=self.content_type, charset="utf-8", headers=headers
        )


@dataclass(frozen=True)
class _Kept:
    stamp: tuple[int, int]
    until: float
    made: asyncio.Future[Made]


class Shared:
    """Answers by key. Failures are not kept: whoever waits for the same gets the same failure, the next one tries."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._commits = 0
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()

    def committed(self, _committed: Committed) -> None:
        """Something changed: what was made before is old."""
        self._commits += 1

    async def answer(self, request: web.Request, key: Hashable, make: Callable[[], Awaitable[Made]]) -> web.Response:
        """What ``make`` makes, or made for ``key`` a moment ago and nothing has changed since."""
        # What other processes commit shows in the timeline.
        stamp = (await self._desk.newest_entry(), self._commits)
        kept = self._kept.get(key)
        if kept is None or kept.stamp != stamp or kept.until < time.monotonic():
            kept = _Kept(stamp, time.monotonic() + LASTING_S, asyncio.ensure_future(make()))
            self._keep(key, kept)
        # Shielded: somebody who leaves does not take it from those who wait beside them.
        made = await asyncio.shield(kept.made)
        return made.response(request)

    def _keep(self, key: Hashable, kept: _Kept) -> None:
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

        def settled(made: asyncio.Future[Made]) -> None:
            # Asking for the exception also keeps asyncio from reporting one that nobody waited for.
            if (made.cancelled() or made.exception() is not None) and self._kept.get(key) is kept:
                del self._kept[key]

        kept.made.add_done_callback(settled)


def asker(request: web.Request) -> Hashable:
    """Everything in a request that a page may depend on beside its address: two who differ in it share nothing."""
    return tuple(request.headers.get(name, "") for name in _VARIES)
