"""``detector demo``: the daemon on its shipped configuration, beside a small real shop whose faults grow.

The shop is scraped over HTTP like any other service. Scrape and evaluation interval are a second instead of fifteen;
rules, models and thresholds are those shipped. Messages are printed here by a ``console`` channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from detector.config.compose import Loaded, Root, load
from detector.daemon import App, Settings
from detector.demo.shop import HEALTHY_S, OPEN_FILES

INTERVAL = "1s"


def show(listen: str | None) -> int:
    """Run shop and daemon until interrupted; the exit code. Raises ConfigError or StartError."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="detector-demo-") as folder:
        with contextlib.suppress(KeyboardInterrupt):
            return asyncio.run(_run(configured(load(None), port), Settings(listen, Path(folder)), port))
    return 0


def configured(shipped: Loaded, port: int) -> Loaded:
    """The shipped configuration, with the shop as a target, a second as interval, and a console channel."""
    changes = {
        "evaluation": {"interval": INTERVAL, "lateness": "6s"},
        "global": {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL},
        "scrape_configs": [
            {
                "job_name": "shop",
                "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"service": "demo-shop"}}],
            }
        ],
        "channels": [{"name": "terminal", "type": "console"}],
    }
    root = Root.model_validate(changes)
    kept = shipped.root.model_copy(
        update={name: getattr(root, name) for name in ("evaluation", "global_", "scrape_configs", "channels")}
    )
    every_second = tuple(replace(group, interval=1000) for group in shipped.groups)
    return replace(shipped, root=kept, groups=every_second)


async def _run(loaded: Loaded, settings: Settings, port: int) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    console = Console(highlight=False, soft_wrap=True)
    console.print("Starting; the very first start compiles for about half a minute ...")
    app = App(loaded, settings)
    await app.start()
    shop = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "detector.demo.shop", str(port), stderr=asyncio.subprocess.DEVNULL
    )
    app.failed.add_done_callback(lambda _: stop.set())
    try:
        _explain(console, app.url, port)
        await stop.wait()
    finally:
        if shop.returncode is None:
            shop.terminate()
        await shop.wait()
        await app.stop()
    return 1 if app.failed.done() else 0


def _explain(console: Console, url: str, port: int) -> None:
    console.print(f"\n  Board:  [bold]{url}/[/bold]      the shop: http://127.0.0.1:{port}/metrics\n")
    console.print(f"  now            the shop is healthy and in use; the board stays empty for about {HEALTHY_S:.0f} s")
    console.print(f"  then           it leaks open files towards its limit of {OPEN_FILES}, and its queue gets slower")
    console.print("  within 3 min   an incident opens, with chart and forecast; its message is printed here")
    console.print("  in minute 4    the shop really fails: the incident turns from predicted to disrupting")
    console.print("\n  Press Ctrl-C to end.\n")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
