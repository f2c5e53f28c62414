"""Runs an action of a runbook: one HTTP call that is written down in the configuration, after the fact was committed.

Never a shell, never twice: a call whose answer did not come is said to be unknown, and a person looks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from detector.clock import Clock
from detector.notify.channels import DeliveryError
from detector.notify.channels.http import judge, request
from detector.nouns import SYSTEM, ActionRun, Ticket
from detector.pipeline import NoSuchTicket, Pipeline, StorageError
from detector.tickets.desk import Committed
from detector.tickets.prevention import Action
from detector.words import plain

log = logging.getLogger(__name__)

LOST = "the detector stopped before an answer came: look whether it was done"
_SHOWN = 500


class ActionRunner:
    """Told of every commit; calls what it says was run, and records the answer as a fact of its own."""

    def __init__(
        self, pipeline: Pipeline, session: aiohttp.ClientSession, clock: Clock, base: Callable[[], Path]
    ) -> None:
        self._pipeline = pipeline
        self._session = session
        self._clock = clock
        self._base = base
        self._running: set[asyncio.Task[None]] = set()

    def committed(self, committed: Committed) -> None:
        for change in committed.changes:
            if isinstance(change, ActionRun):
                task = asyncio.get_running_loop().create_task(self._run(committed.ticket, change))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def forget_lost(self) -> None:
        """At a start: what ran when the last process ended has no answer, and is not run again."""
        for ticket in list(self._pipeline.board.tickets.values()):
            for taken in ticket.actions:
                if taken.result == "running":
                    await self._answer(ticket.key, taken.name, False, LOST)

    async def close(self) -> None:
        """Wait a moment for what runs; what is still without an answer then is said to be lost at the next start."""
        if self._running:
            await asyncio.wait(self._running, timeout=3)
        for task in self._running:
            task.cancel()

    async def _run(self, ticket: Ticket, change: ActionRun) -> None:
        action = self._pipeline.policy.tickets.response.action(change.name)
        if action is None:
            await self._answer(ticket.key, change.name, False, "it is not in the configuration any more")
            return
        ok, said = await self._call(action, change)
        log.info("%s: action %s %s: %s", ticket.key, action.name, "succeeded" if ok else "failed", said)
        await self._answer(ticket.key, action.name, ok, said)

    async def _call(self, action: Action, change: ActionRun) -> tuple[bool, str]:
        try:
            headers = {"Content-Type": "application/json", "Idempotency-Key": f"{change.key}/{change.name}/{change.at}"}
            headers |= await asyncio.to_thread(_headers, self._base(), action.headers_file)
            body = change.body.encode("utf-8", "replace")
            answer = await request(self._session, action.method, action.url, action.timeout, body, headers)
            judge(answer)
        except DeliveryError as error:
            return False, str(error)
        except (OSError, ValueError) as error:
            return False, f"its headers cannot be read: {error}"
        text = plain(answer.body[: 4 * _SHOWN].decode("utf-8", "replace"), _SHOWN)
        return True, f"answered {answer.status}" + (f": {text}" if text else "")

    async def _answer(self, key: str, name: str, ok: bool, said: str) -> None:
        arguments: dict[str, Any] = {"name": name, "ok": ok, "said": said}
        try:
            await self._pipeline.act(key, "answered-action", SYSTEM, now=self._clock.now(), **arguments)
        except (NoSuchTicket, StorageError) as error:
            log.error("%s: the answer of action %s could not be recorded: %s (%s)", key, name, error, said)


def _headers(base: Path, file: str | None) -> dict[str, str]:
    if file is None:
        return {}
    found = {}
    for line in (base / file).read_text("utf-8").splitlines():
        name, colon, value = line.partition(":")
        if line.strip():
            if not colon or not name.strip().replace("-", "").isalnum():
                raise ValueError(f"{file}: a line is `Name: value`")
            found[name.strip()] = value.strip()
    return found
