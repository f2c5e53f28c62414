"""The heart thread's work: decode, journal, accept; advance; snapshot; and coming back after a crash.

Everything here runs on one thread, without locks. What a sender was told is durable was written to the journal first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from detector.ingest.backfill import HistoryChunk
from detector.ingest.decode import Decoded, Rejected
from detector.ingest.decode.exposition import ExpositionDecoder
from detector.ingest.decode.remote_write import RemoteWriteDecoder
from detector.ingest.scrape import ScrapeResult
from detector.nouns import Control, Symptom
from detector.series.journal import Journal, Record
from detector.series.segments import JournalFull
from detector.series.snapshot import Snapshots
from detector.shard import Advance, Plan, Prepared, Query, Shard

log = logging.getLogger(__name__)

CATCH_UP = 240
"""In a replay driven by samples: how many slots at most are evaluated one by one; a larger hole is jumped over."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An arrival that is in the journal: what was stored and what was not, and what event time found meanwhile
    (only where samples move it)."""

    stored: int
    late: int
    rejected: Mapping[str, int]
    first: tuple[str, ...]
    newest: int
    advances: tuple[Advance, ...] = ()


class Heart:
    """Owner of the shard, the journal and the snapshots.

    ``slot`` (ms): where samples move event time (``lateness`` is not None), the boundaries they move it to.
    """

    def __init__(
        self, plan: Plan, journal: Journal, snapshots: Snapshots, *, slot: int, lateness: int | None = None
    ) -> None:
        self.shard = Shard(plan, evict=lateness is None)
        self.journal = journal
        self.snapshots = snapshots
        self.plan = plan
        self.remote_write = RemoteWriteDecoder()
        self.expositions = ExpositionDecoder()
        self.newest = 0
        self._slot = slot
        self._lateness = lateness

    # --- arrivals ---------------------------------------------------------------------------------------------------

    def ingest(self, kind: str, body: bytes, source: str) -> Taken | Rejected:
        """Decode a push and take it in. Raises JournalFull when it cannot be made durable."""
        assert kind == "remote_write", kind
        decoded = self.remote_write.decode(body, self.shard.store.index, self.plan.limits)
        return decoded if isinstance(decoded, Rejected) else self._take(decoded)

    def scraped(self, result: ScrapeResult) -> Taken:
        """A scrape that succeeded, failed, or said goodbye."""
        return self._take(self.expositions.scrape(result, self.shard.store.index, self.plan.limits))

    def history(self, chunk: HistoryChunk) -> int:
        """Samples of the past, read from a Prometheus; how many were stored."""
        return self._take(chunk.decode(self.shard.store.index)).stored

    def season(self, chunk: HistoryChunk) -> int:
        """What a Prometheus remembers of the last week, for the models' seasons; how many series were taught."""
        return self.shard.bank.teach(*chunk.known(self.shard.store.index))

    def _take(self, decoded: Decoded) -> Taken:
        batch = decoded.batch
        self.journal.append_batch(self.shard.seq + 1, batch, self.shard.store.index)
        accepted = self.shard.accept(self.shard.seq + 1, batch)
        assert accepted is not None, "the sequence number was new"
        newest = int(batch.at.max()) if len(batch.at) else 0
        self.newest = max(self.newest, newest)
        rejected = dict(decoded.rejected)
        for reason, count in accepted.rejected.items():
            rejected[reason] = rejected.get(reason, 0) + count
        first = (*decoded.first, *accepted.first)[:5]
        return Taken(accepted.stored, accepted.late, rejected, first, newest, self._follow())

    # --- event time -------------------------------------------------------------------------------------------------

    def advance(self, to: int) -> Advance:
        """Move event time; journaled, so that a replay moves it at the same place among the samples. A full disk
        stops ingest, never time: absence has to be seen all the same, and a replay finds it a step later."""
        try:
            self.journal.append_advance(to)
        except JournalFull as error:
            log.warning("event time moves on without the journal: %s", error)
        return self.shard.advance(to)

    def _follow(self) -> tuple[Advance, ...]:
        """Where samples move event time: advance to every slot that the newest of them has passed."""
        if self._lateness is None or not self.newest:
            return ()
        target = (self.newest - self._lateness) // self._slot * self._slot
        behind = self.shard.upto
        if target <= behind:
            return ()
        if behind == 0 or (target - behind) // self._slot > CATCH_UP:
            return (self.advance(target),)
        return tuple(self.advance(to) for to in range(behind + self._slot, target + 1, self._slot))

    # --- questions and orders ---------------------------------------------------------------------------------------

    def query(self, query: Query) -> tuple[int, dict[str, Any]]:
        return self.shard.query(query)

    def control(self, control: Control) -> None:
        with suppress(JournalFull):
            self.journal.append_control(self.shard.seq + 1, control)
        self.shard.control(self.shard.seq + 1, control)

    def prepare(self, plan: Plan) -> Prepared:
        return self.shard.prepare(plan)

    def commit(self, prepared: Prepared) -> None:
        self.plan = prepared.plan
        self.shard.commit(prepared)

    # --- life -------------------------------------------------------------------------------------------------------

    def snapshot(self) -> None:
        """Write everything down and cut the journal behind it. A failure is logged and leaves the journal whole."""
        try:
            self.snapshots.write(self.shard.seq, self.shard.state())
        except OSError as error:
            log.warning("snapshot failed (%s); the journal is kept instead", error)
            return
        self.journal.cut(self.shard.seq)

    def recover(self) -> tuple[Symptom, ...]:
        """Come back: the newest snapshot that can be read, then the journal behind it.

        Returns the last word on each symptom met while replaying: whoever had committed them knows their ids, whoever
        had not yet is told now.
        """
        for name, state in self.snapshots.newest_first():
            try:
                self.shard.restore(state)
            except (ValueError, KeyError) as error:
                log.warning("snapshot %s cannot be used (%s); trying the one before", name, error)
                self.shard = Shard(self.plan, evict=self._lateness is None)
                continue
            log.info("snapshot %s restored: %d series", name, self.shard.store.series_count)
            break
        return self._replay(self.journal.replay(self.shard.seq))

    def _replay(self, records: Iterable[Record]) -> tuple[Symptom, ...]:
        met: dict[str, Symptom] = {}
        replayed = 0
        for record in records:
            match record.kind:
                case "batch":
                    batch = record.batch(self.shard.store.index)
                    if (accepted := self.shard.accept(record.seq, batch)) is not None:
                        replayed += accepted.stored
                        if len(batch.at):
                            self.newest = max(self.newest, int(batch.at.max()))
                case "advance":
                    for symptom in self.shard.advance(record.to).findings.symptoms:
                        met[symptom.id] = symptom
                case "control" if record.control is not None:
                    self.shard.control(record.seq, record.control)
        if replayed:
            log.info("journal replayed: %d samples", replayed)
        return tuple(met.values())
