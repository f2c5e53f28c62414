"""The way from sockets to arrays: the shard's verbs, async.

In: bodies, scrapes, controls, queries, the order to advance. Out: what the heart made of them; samples are in the
journal by then. Overload is answered by :class:`~detector.mailbox.Overloaded`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from detector.heart import Heart, Taken
from detector.ingest.backfill import HistoryChunk
from detector.ingest.decode import Rejected
from detector.ingest.scrape import ScrapeResult
from detector.mailbox import Mailbox, Overloaded
from detector.nouns import Control
from detector.shard import Advance, Plan, Prepared, Query


class Router(Protocol):
    """What the floors below see of the arrays: the shard's verbs, async. ``ingest`` returns when durable."""

    async def ingest(self, kind: str, body: bytes, source: str) -> Taken | Rejected: ...
    async def scraped(self, result: ScrapeResult) -> Taken | Rejected: ...
    async def history(self, chunk: HistoryChunk) -> int: ...
    async def advance(self, to: int) -> Advance: ...
    async def query(self, query: Query) -> tuple[int, dict[str, Any]]: ...
    async def control(self, control: Control) -> None: ...
    async def prepare(self, plan: Plan) -> Prepared: ...
    async def commit(self, prepared: Prepared) -> None: ...
    async def snapshot(self) -> None: ...


class LocalRouter:
    """The router of one process: a mailbox in front of one :class:`~detector.heart.Heart`.

    ``patient``: a sender that outruns the heart waits for its answer instead of being refused (replays).
    """

    def __init__(self, heart: Heart, capacity_bytes: int, patient: bool = False) -> None:
        self.heart = heart
        self.mailbox = Mailbox(capacity_bytes)
        self._patient = patient

    async def ingest(self, kind: str, body: bytes, source: str) -> Taken | Rejected:
        return await self._take(lambda: self.heart.ingest(kind, body, source), len(body))

    async def scraped(self, result: ScrapeResult) -> Taken | Rejected:
        return await self._take(lambda: self.heart.scraped(result), len(result.body))

    async def history(self, chunk: HistoryChunk) -> int:
        return await self.mailbox.post(lambda: self.heart.history(chunk), bounded=False)

    async def season(self, chunk: HistoryChunk) -> int:
        return await self.mailbox.post(lambda: self.heart.season(chunk), lane=1, bounded=False)

    async def advance(self, to: int) -> Advance:
        return await self.mailbox.post(lambda: self.heart.advance(to), bounded=False)

    async def query(self, query: Query) -> tuple[int, dict[str, Any]]:
        return await self.mailbox.post(lambda: self.heart.query(query), lane=1)

    async def control(self, control: Control) -> None:
        await self.mailbox.post(lambda: self.heart.control(control), bounded=False)

    async def prepare(self, plan: Plan) -> Prepared:
        return await self.mailbox.post(lambda: self.heart.prepare(plan), bounded=False)

    async def commit(self, prepared: Prepared) -> None:
        await self.mailbox.post(lambda: self.heart.commit(prepared), bounded=False)

    async def snapshot(self) -> None:
        await self.mailbox.post(self.heart.snapshot, bounded=False)

    async def sync(self) -> None:
        """Samples written to the journal reach the disk itself."""
        await self.mailbox.post(self.heart.journal.sync, bounded=False)

    async def _take(self, work: Callable[[], Taken | Rejected], size: int) -> Taken | Rejected:
        while True:
            try:
                return await self.mailbox.post(work, size=size)
            except Overloaded:
                if not self._patient or self.mailbox.stopping:
                    raise
                # The next entry that is worked off makes room; the queue is a turn of the heart away.
                await self.mailbox.post(lambda: None, lane=0, bounded=False)
