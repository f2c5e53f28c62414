"""What the app is put together from: each part's view of the configuration, and the small steps of start and stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TextIO

from detector.config.compose import Loaded
from detector.notify.channels import rings
from detector.pipeline import Policy
from detector.shard import Plan
from detector.tickets.owed import Route
from detector.web.links import Links

log = logging.getLogger(__name__)


class StartError(Exception):
    """The daemon cannot start; the message names the thing and the remedy."""


def needs_restart(before: Loaded, after: Loaded) -> list[str]:
    old, new = before.root, after.root
    parts = {
        "web.listen": (old.web.listen, new.web.listen),
        "web.sessions": (old.web.sessions, new.web.sessions),
        "tickets.database": (old.tickets.database, new.tickets.database),
        "storage": (old.storage, new.storage),
        "heartbeat": (old.heartbeat, new.heartbeat),
        "backfill": (old.backfill, new.backfill),
    }
    return [name for name, (one, other) in parts.items() if one != other]


def policy(loaded: Loaded) -> Policy:
    root = loaded.root
    return Policy(loaded.catalogue, root.incidents, root.noise, root.tickets, root.oncall)


def plan(loaded: Loaded) -> Plan:
    root = loaded.root
    return Plan(root.limits, loaded.groups, root.anomaly, loaded.catalogue.service_of, root.global_.external_labels)


def routes(loaded: Loaded) -> tuple[Route, ...]:
    return tuple(
        Route(c.name, c.urgencies, c.tiers, c.services, c.send_resolved, getattr(c, "changes", False), rings(c))
        for c in loaded.root.channels
    )


def directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"the data directory {path} cannot be made: {error.strerror}") from None


def links(folder: Path) -> Links:
    """Signs with the secret of the data directory, made where there is none."""
    try:
        return Links.of(folder / "link.key")
    except (OSError, ValueError) as error:
        raise StartError(f"the secret of reporters' links cannot be used: {error}") from None


def warm() -> None:
    """Compile what is compiled, before the first sample waits for it."""
    from detector.anomaly import bank
    from detector.ingest.decode import warming as decoders
    from detector.rules import warming as rules
    from detector.series import store

    store.warm()
    decoders.warm()
    bank.warm()
    rules.warm()


def named(name: str, work: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[None]]:
    async def step() -> None:
        started = time.monotonic()
        try:
            await work()
        except Exception:
            log.exception("stopping: %s failed", name)
        log.debug("stopping: %s took %.2f s", name, time.monotonic() - started)

    return step


def progress_bar(stream: TextIO | None, what: str) -> Callable[[float], None]:
    """A progress bar where somebody looks: on a terminal."""
    import sys

    out = stream or sys.stderr
    if not out.isatty():
        return lambda _: None

    def show(share: float) -> None:
        width = int(share * 40)
        out.write(f"\rreading {what} [{'#' * width}{'.' * (40 - width)}] {share:4.0%}{'' if share < 1 else chr(10)}")
        out.flush()

    return show
