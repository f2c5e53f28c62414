"""Drawing away from the event loop: one process, started at need, restarted when it dies, replaced now and then.

The engine holds the interpreter's lock while it draws (387 ms measured): in a thread it would stall everything, in a
process it stalls nobody. At most ``capacity`` drawings wait; more are refused at once. A failed drawing is an
exception that callers expect: they go on without the picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sys
from collections import OrderedDict, deque
from typing import Any, Literal

from prometheus_client import Counter

from detector.charts.specs import Spec
from detector.charts.worker import LENGTH
from detector.clock import Clock
from detector.telemetry import Telemetry

Reason = Literal["busy", "timeout", "died", "refused", "closed"]
_ANSWER_BYTES = 16 * 1024 * 1024


class DrawingFailed(Exception):
    """No picture. ``reason`` is closed; ``detail`` is the engine's own word, for the log."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason: Reason = reason


class Renderer:
    """``timeout`` (ms) bounds one drawing with its wait for the process to start; after ``recycle`` drawings the
    process is replaced (engines leak). The last ``cache`` pictures are kept, so that many viewers of one chart cost one
    drawing."""

    def __init__(
        self,
        clock: Clock,
        telemetry: Telemetry,
        *,
        timeout: int = 15_000,
        capacity: int = 32,
        recycle: int = 500,
        cache: int = 64,
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._capacity = capacity
        self._recycle = recycle
        self._keep = cache
        self._cache: OrderedDict[bytes, bytes] = OrderedDict()
        self._turn = asyncio.Lock()
        self._waiting: deque[int] = deque()
        self._process: asyncio.subprocess.Process | None = None
        self._drawn = 0
        self._closed = False
        self._failures = Counter(
            "detector_render_failures", "Charts not drawn.", ["reason"], registry=telemetry.registry
        )
        telemetry.queue_capacity.labels("render").set(capacity)
        telemetry.queue_depth.labels("render").set_function(lambda: len(self._waiting))
        telemetry.queue_age.labels("render").set_function(self._oldest)

    async def svg(self, spec: Spec) -> str:
        """The chart as an SVG document without script, fonts or references; raises DrawingFailed."""
        return (await self._draw({"kind": "svg", "spec": spec})).decode()

    async def png(self, spec: Spec, scale: float = 2) -> bytes:
        """The chart as a PNG with ``scale`` pixels per CSS pixel; raises DrawingFailed."""
        return await self._draw({"kind": "png", "spec": spec, "scale": scale})

    async def close(self) -> None:
        """End the process; drawings that wait fail with ``closed``."""
        self._closed = True
        await self._end()

    # --- within ---------------------------------------------------------------------------------------------------

    def _oldest(self) -> float:
        return (self._clock.now() - self._waiting[0]) / 1000 if self._waiting else 0.0

    async def _draw(self, request: dict[str, Any]) -> bytes:
        body = json.dumps(request, sort_keys=True).encode("ascii")
        key = hashlib.blake2b(body, digest_size=16).digest()
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        try:
            picture = await self._queued(body)
        except DrawingFailed as failure:
            self._failures.labels(failure.reason).inc()
            raise
        self._cache[key] = picture
        while len(self._cache) > self._keep:
            self._cache.popitem(last=False)
        return picture

    async def _queued(self, body: bytes) -> bytes:
        if len(self._waiting) >= self._capacity:
            raise DrawingFailed("busy", f"{self._capacity} drawings wait already")
        entry = self._clock.now()
        self._waiting.append(entry)
        try:
            async with self._turn:
                return await self._exchange(body)
        finally:
            self._waiting.remove(entry)

    async def _exchange(self, body: bytes) -> bytes:
        """One request and its answer. Whatever interrupts it, cancellation included, ends the process: the answer that
        is still to come must not be taken for the next one's."""
        if self._closed:
            raise DrawingFailed("closed")
        whole = False
        try:
            async with asyncio.timeout(self._timeout / 1000):
                answer = await self._ask(await self._started(), body)
            whole = True
        except TimeoutError:
            raise DrawingFailed("timeout", f"no picture within {self._timeout / 1000:g} s") from None
        except (asyncio.IncompleteReadError, ConnectionError, OSError) as error:
            raise DrawingFailed("closed" if self._closed else "died", type(error).__name__) from None
        finally:
            if not whole or self._drawn >= self._recycle:
                await self._end()
        if answer[:1] != b"+":
            raise DrawingFailed("refused", answer[1:].decode("utf-8", "replace"))
        return answer[1:]

    async def _ask(self, process: asyncio.subprocess.Process, body: bytes) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        self._drawn += 1
        process.stdin.write(LENGTH.pack(len(body)) + body)
        await process.stdin.drain()
        (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
        if length > _ANSWER_BYTES:
            raise ConnectionError("the answer is too long to be a picture")
        return await process.stdout.readexactly(length)

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            self._drawn = 0
            # A session of its own: Ctrl-C on the terminal is the daemon's to handle.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "detector.charts.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()
