"""A configuration file that changes is noticed, whichever way it is replaced; one that only is touched is not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from detector.config.reload import digest, watch


@asynccontextmanager
async def watched(*paths: Path) -> AsyncIterator[asyncio.Queue[str]]:
    seen: asyncio.Queue[str] = asyncio.Queue()
    stop = asyncio.Event()

    async def reload() -> None:
        await seen.put(paths[0].read_text())

    task = asyncio.create_task(watch(lambda: paths, reload, stop))
    # Until the watcher is in place a change may be missed: change another file of the folder until one is seen.
    try:
        yield seen
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


async def replaced(seen: asyncio.Queue[str], change: list[str], path: Path) -> str:
    """Write new texts until one is noticed: when the watch begins is the machine's business."""
    for text in change:
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        os.replace(fresh, path)
        try:
            return await asyncio.wait_for(seen.get(), 3)
        except TimeoutError:
            continue
    raise AssertionError("no change was noticed")


async def test_a_file_that_is_replaced_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "detector.yml"
    path.write_text("a: 1")
    async with watched(path) as seen:
        texts = [f"a: {n}" for n in range(2, 6)]
        assert await replaced(seen, texts, path) in texts


async def test_a_swapped_symlink_is_noticed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "detector.yml").write_text(name)
    (tmp_path / "current").symlink_to("one")
    path = tmp_path / "detector.yml"
    path.symlink_to("current/detector.yml")
    before = digest([path])
    (tmp_path / "next").symlink_to("two")
    os.replace(tmp_path / "next", tmp_path / "current")
    assert digest([path]) != before


def test_a_touch_changes_nothing_and_a_missing_file_does(tmp_path: Path) -> None:
    path = tmp_path / "detector.yml"
    path.write_text("a: 1")
    before = digest([path])
    os.utime(path)
    assert digest([path]) == before
    path.unlink()
    assert digest([path]) != before
