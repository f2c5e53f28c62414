"""One thread for one channel: what blocks there (a socket, a stopped terminal) delays nobody else.

A thread cannot be stopped from outside. So there is exactly one, calls wait for each other, and it is a daemon: it
never keeps the program from ending.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class OneThread(Generic[T]):
    """Runs calls one after the other in a thread of its own, started at the first."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], T], Future[T]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def ident(self) -> int | None:
        """The thread's identity once it runs."""
        return self._thread.ident

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Queue ``call``; its result or exception is the future's."""
        if self._thread.ident is None:
            self._thread.start()
        future: Future[T] = Future()
        self._calls.put((call, future))
        return future

    def close(self) -> None:
        """End the thread after the call it is in; nobody waits for it."""
        self._calls.put(None)

    def _run(self) -> None:
        while (entry := self._calls.get()) is not None:
            call, future = entry
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - the future carries it to whoever asked
                future.set_exception(error)


async def wait(future: Future[T], timeout: int) -> T:
    """The future's result; TimeoutError after ``timeout`` ms, and then the call goes on behind it."""
    return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), timeout / 1000)
