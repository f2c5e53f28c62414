"""A live Prometheus as a recording: its raw samples between two times."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import numpy as np

from detector.ingest.backfill import BackfillError, HistoryChunk, history
from detector.ingest.decode.labelling import target_of
from detector.ingest.recordings import Line, Recording
from detector.nouns import LabelSet
from detector.series.labels import Index


class LiveError(Exception):
    """The Prometheus could not be read, or had nothing."""


def fetch(url: str, start: int, end: int, index: Index) -> Recording:
    """Everything that ``url`` has in (start, end] ms; raises LiveError."""
    try:
        chunks = asyncio.run(_chunks(url, start, end))
    except BackfillError as error:
        raise LiveError(str(error)) from None
    if not chunks:
        raise LiveError(f"{url} has no samples between --start and --end")
    places: dict[LabelSet, int] = {}
    series = [
        np.full(len(times), places.setdefault(labels, len(places)), np.int32)
        for chunk in chunks
        for labels, times in zip(chunk.labels, chunk.at, strict=True)
    ]
    at = np.concatenate([times for chunk in chunks for times in chunk.at])
    value = np.concatenate([values for chunk in chunks for values in chunk.value])
    order = np.argsort(at, kind="stable")
    lines = [Line(labels, target_of(labels, "backtest"), "") for labels in places]
    return Recording(Path(url), index, lines, np.concatenate(series)[order], at[order], value[order])


async def _chunks(url: str, start: int, end: int) -> list[HistoryChunk]:
    async with aiohttp.ClientSession() as session:
        return [chunk async for chunk in history(session, url, ('{__name__=~".+"}',), start, end)]
