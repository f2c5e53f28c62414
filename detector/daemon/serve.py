"""``detector run``: logging, signals, and the App between them."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from detector.config.compose import Loaded, load
from detector.daemon.app import App, Settings
from detector.web.deps import ReloadRefused

log = logging.getLogger("detector")

SWITCH_S = 0.0005
"""The interpreter's switch interval: beside many small array calls the event loop lags 1.6 ms, not 10."""


def serve(config: Path | None, *, listen: str | None, data_dir: Path | None, event_time: str) -> int:
    """Run until a signal; the exit code. Raises ConfigError or StartError before anything runs."""
    _logging()
    loaded = load(config)
    for problem in loaded.problems:
        log.warning("%s (left out, the rest goes on)", problem)
    return asyncio.run(_serve(loaded, Settings(listen, data_dir or Path("data"), event_time)))


async def _serve(loaded: Loaded, settings: Settings) -> int:
    sys.setswitchinterval(SWITCH_S)
    app = App(loaded, settings)
    await app.start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    reloads: set[asyncio.Task[None]] = set()

    def hang_up() -> None:
        task = loop.create_task(reload(app))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    log.info("listening on %s", app.url)
    app.failed.add_done_callback(lambda _: stop.set())
    await stop.wait()
    await app.stop()
    if app.failed.done():
        log.critical("%s", app.failed.result())
        return 1
    return 0


async def reload(app: App) -> None:
    """Reload and say how it went."""
    try:
        for note in await app.reload():
            log.warning("%s", note)
    except ReloadRefused as error:
        log.error("the configuration was refused and nothing was changed:\n%s", error)


def _logging() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    for noisy in ("alembic", "aiosqlite", "sqlalchemy", "watchfiles", "apprise", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("aiohttp.server").addFilter(_not_the_senders_fault)


def _not_the_senders_fault(record: logging.LogRecord) -> bool:
    """Broken requests have had their 400, or left; a traceback for each would let anybody fill the log."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, RequestPayloadError | HttpProcessingError | ConnectionResetError)
