"""App: build, start, reload, stop; the only creator of root tasks; no logic of its own.

Built bottom-up on one AsyncExitStack, so that teardown follows the data: not ready, listeners, scrapes, last advance,
decisions, outbox until the deadline, mailbox, snapshot, database. One failing step never stops the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry

from detector.anomaly import season
from detector.charts.render import DrawingFailed, Renderer
from detector.charts.specs import alt_text, symptom_spec, telling
from detector.clock import Clock, SystemClock, every
from detector.config.compose import Loaded, load
from detector.config.load import ConfigError, read, validate
from detector.config.reload import watch
from detector.daemon import parts
from detector.daemon.actions import ActionRunner
from detector.daemon.digest import Digest
from detector.daemon.driver import Driver
from detector.daemon.duty import Duty
from detector.daemon.health import Health
from detector.daemon.intake import DaemonIntake
from detector.daemon.mail import Inbox, collect, lettered
from detector.daemon.parts import StartError
from detector.daemon.subscribers import Telling, kinds
from detector.heart import Heart
from detector.incidents.mute import quiet_until
from detector.ingest import post, receive, receive_events, scrape
from detector.ingest.backfill import BackfillError, HistoryChunk, history
from detector.ingest.options import BackfillOptions
from detector.ingest.scrape import Scraper
from detector.notify.channels import Channel, build, rings
from detector.notify.deliver import Deliverer
from detector.notify.heartbeat import Heartbeat
from detector.notify.messages import Attachment
from detector.nouns import ChangeEvent, Control, Notification, Symptom, Ticket
from detector.oncall.policy import calls
from detector.pipeline import Pipeline, StorageError
from detector.router import LocalRouter
from detector.series.journal import Journal
from detector.series.segments import JournalFull
from detector.series.snapshot import Snapshots
from detector.shard import Query
from detector.telemetry import Telemetry
from detector.tickets.database import address
from detector.tickets.desk import Committed, Desk
from detector.tickets.outbox import Outbox
from detector.tickets.people import People
from detector.tickets.prune import prune
from detector.tickets.subscribers import Subscribers
from detector.tickets.trace import Trace
from detector.tickets.views import Views
from detector.web.app import create_app
from detector.web.auth import VIEWER, Access, AccessError, tls
from detector.web.deps import Deps, ReloadRefused, ServiceFact, Theme
from detector.web.options import WebConfig, WebOptions, split_listen
from detector.web.pages.status import StatusPage

log = logging.getLogger(__name__)

DRAIN_MS = 6_000
"""What the outbox gets at the end: SIGTERM has to be over within 10 s."""
BACKOFF_MS = 5_000
SWEEP_MS = 60_000
BACKFILL_SPAN_MS = 65 * 60_000
SEASON_SPAN_MS = 7 * 86_400_000
RETENTION_MS = 86_400_000
SETTLED_MS = 600_000
"""How long after a start nothing is forgotten: a start has other worries."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says over the configuration."""

    listen: str | None = None
    data_dir: Path = Path("data")
    event_time: str = "wall"


class App:
    """One daemon. Two of them run side by side in one process: nothing is global."""

    def __init__(
        self,
        loaded: Loaded,
        settings: Settings | None = None,
        *,
        clock: Clock | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self.loaded = loaded
        self.settings = settings or Settings()
        self.clock = clock or SystemClock()
        self.registry = CollectorRegistry()
        self.telemetry = Telemetry(self.registry)
        self.url = ""
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Set to the reason when a task without which nothing works has ended."""
        self._stream = stream
        self._stack = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = asyncio.Event()
        self._swept = asyncio.Event()
        self._called = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._channels: dict[str, tuple[Any, Channel]] = {}

    # --- start --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Everything up to an open port; raises StartError or ConfigError, and nothing is left running then."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def _start(self) -> None:
        loaded, settings = self.loaded, self.settings
        self.telemetry.build_info.info({"version": version("proactive-detector")})
        web_options, web_config = self._web(loaded)
        access = self._access(web_options, web_config)
        parts.directory(settings.data_dir)
        desk = await self._desk(loaded)
        self.pipeline = Pipeline(desk, parts.policy(loaded), self.telemetry, self._on_control)
        await self.pipeline.load(self.clock.now())
        await self._heart(loaded)
        self.driver = Driver(
            self.router, self.pipeline, self.clock, self.telemetry, loaded.root, settings.event_time == "samples"
        )
        self.intake = DaemonIntake(self.router, self.pipeline, self.driver, self.telemetry)
        self.driver.owe(self._recovered)
        self.links = parts.links(self.settings.data_dir)
        self.inbox = Inbox(
            self.pipeline, self.links, lambda: self.loaded.root.mail, self.intake.now, self.telemetry,
            lambda: self.intake.closed,
        )  # fmt: skip
        self.people = People(desk, self.clock)
        self.subscribers = Subscribers(desk, lambda channels: self.deliverer.wake(channels))
        page = StatusPage(desk, self.pipeline, self.clock, lambda: self.loaded.root.web.url, self._services)
        self.telling = Telling(self.subscribers, page, self.clock)
        await self._notify(desk, web_options)
        await self._respond()
        self.scraper = Scraper(self.intake, self.clock)
        self.health = Health(
            lambda: self.loaded, self.pipeline, self.driver, self.intake, self.scraper, self.deliverer, self.clock,
            lambda: self.router.heart.shard.store.series_count,
        )  # fmt: skip
        self.pipeline.subscribe(self._committed)
        self._gauges(self.router, self.outbox)
        await self._listen(web_options, web_config, access)
        self._run()

    def _web(self, loaded: Loaded) -> tuple[WebOptions, WebConfig]:
        options = loaded.root.web
        if self.settings.listen is not None:
            try:
                split_listen(self.settings.listen)
            except ValueError:
                raise StartError(
                    f"--listen {self.settings.listen!r}: write HOST:PORT, such as 127.0.0.1:9797"
                ) from None
            options = options.model_copy(update={"listen": self.settings.listen})
        if options.config_file is None:
            return options, WebConfig()
        return options, validate(read(loaded.path.parent / options.config_file), WebConfig)

    def _access(self, options: WebOptions, config: WebConfig) -> Access:
        try:
            return Access(options, config, self.loaded.path.parent)
        except AccessError as error:
            raise StartError(str(error)) from None

    async def _desk(self, loaded: Loaded) -> Desk:
        url = loaded.root.tickets.database or address(self.settings.data_dir / "detector.db")
        try:
            desk = await Desk.open(url, parts.routes(loaded))
        except (ValueError, StorageError) as error:
            raise StartError(f"the database cannot be used: {error}") from None
        self._stack.push_async_callback(parts.named("database", desk.close))
        desk.letters = loaded.root.mail.smtp is not None
        desk.subscribed = kinds(loaded.root)
        desk.quiet = lambda ticket, now: quiet_until(ticket, self.loaded.root.noise, now)
        desk.calls = lambda ticket, now, who="": calls(ticket, self.loaded.root.oncall, now, who)
        return desk

    async def _heart(self, loaded: Loaded) -> None:
        root, folder = loaded.root, self.settings.data_dir
        follows = self.settings.event_time == "samples"
        journal = Journal(folder / "journal")
        heart = Heart(
            parts.plan(loaded),
            journal,
            Snapshots(folder / "snapshots"),
            slot=root.evaluation.interval,
            lateness=root.evaluation.lateness if follows else None,
        )
        await asyncio.to_thread(parts.warm)
        self._recovered = await asyncio.to_thread(heart.recover)
        self.router = LocalRouter(heart, root.storage.mailbox_size, patient=follows)
        self.router.mailbox.start()

        async def end() -> None:
            await asyncio.to_thread(self.router.mailbox.stop)
            await asyncio.to_thread(heart.snapshot)
            journal.close()

        self._stack.push_async_callback(parts.named("heart", end))

    async def _notify(self, desk: Desk, web_options: WebOptions) -> None:
        session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        self._stack.push_async_callback(parts.named("http client", session.close))
        self._session = session
        self.renderer = Renderer(self.clock, self.telemetry)
        self._stack.push_async_callback(parts.named("charts", self.renderer.close))
        self.outbox = Outbox(desk)
        channels = await self._build_channels(self.loaded)
        self.deliverer = Deliverer(
            self.outbox, channels, self.clock, self.telemetry, web_options.url, self.loaded.zone,
            illustrate=self._illustrate, sent=self._sent, sign=self.links.called,
        )  # fmt: skip
        self.duty = Duty(
            lambda: self.loaded.root.oncall, lambda: self.loaded.zone, self.pipeline, self.links, self.clock,
            self.telemetry, self.deliverer.send_test, self.deliverer.wake,
            lambda name: not any(rings(c) for c in self.loaded.root.channels if c.name == name),
        )  # fmt: skip

    async def _respond(self) -> None:
        """Actions of runbooks are run by whoever makes calls to the outside."""
        runner = ActionRunner(self.pipeline, self._session, self.clock, lambda: self.loaded.path.parent)
        await runner.forget_lost()
        self.pipeline.subscribe(runner.committed)
        self._stack.push_async_callback(parts.named("actions", runner.close))

    async def _listen(self, options: WebOptions, config: WebConfig, access: Access) -> None:
        deps = Deps(
            options=options,
            access=access,
            people=self.people,
            clock=self.clock,
            telemetry=self.telemetry,
            desk=self.pipeline.desk,
            actions=self.pipeline,
            trace=Trace(self.pipeline.desk),
            views=Views(self.pipeline.desk),
            outbox=self.outbox,
            wake=lambda channels: self.deliverer.wake(channels),
            followers=lambda: [c.name for c in self.loaded.root.channels if getattr(c, "changes", False)],
            subscribers=self.subscribers,
            settings=lambda: self.loaded.root.model_dump(mode="json", by_alias=True),
            query=self._query,
            status=self.health.status,
            healthy=lambda: [],
            ready=self.health.ready,
            reload=self._reload,
            chart=self._chart,
            services=self.health.services,
            oncall=self.health.oncall,
            duty=self.duty,
            ingest=[
                *receive.routes(self.intake, who=lambda request: request[VIEWER].name),
                *receive_events.routes(self.intake),
                *post.routes(self.inbox),
            ],
            changes=self.pipeline.changes,
            needs=lambda service: self.loaded.catalogue.needs(service),
            links=self.links,
        )
        try:
            context = tls(config, self.loaded.path.parent)
        except AccessError as error:
            raise StartError(str(error)) from None
        app = create_app(deps, dict(config.http_server_config.headers))
        runner = web.AppRunner(app, access_log=None, handler_cancellation=False, shutdown_timeout=3)
        await runner.setup()
        self._stack.push_async_callback(parts.named("listeners", runner.cleanup))
        host, port = options.address
        site = web.TCPSite(runner, host or None, port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            raise StartError(f"cannot listen on {options.listen}: {error.strerror or error}") from None
        bound = runner.addresses[0][1]
        scheme = "https" if context else "http"
        self.url = options.external_url or f"{scheme}://{host or 'localhost'}:{bound}"
        self._access_now = access

    def _run(self) -> None:
        root = self.loaded.root
        self._essential("decider", self.pipeline.run())
        self._essential("deliverer", self.deliverer.run())
        self._isolated("event time", lambda: every(self.clock, self.driver.step))
        self._isolated("sweeps", lambda: every(self.clock, self._sweep, self._swept))
        self._isolated("retention", self._retain)
        digest = Digest(self.pipeline.desk, self.outbox, lambda: self.loaded.zone, self.deliverer.wake)
        self._isolated("digest", lambda: every(self.clock, digest.step))
        self._isolated("on call", lambda: every(self.clock, self._on_duty, self._called))
        self._isolated("journal", lambda: every(self.clock, self._sync))
        self._isolated("snapshots", lambda: every(self.clock, self._snapshot))
        self._isolated("configuration", lambda: watch(lambda: self.loaded.watched, self._watched, self._ending))
        if root.heartbeat is not None:
            beat = Heartbeat(root.heartbeat, self.health.works, self._session, self.clock, self.telemetry)
            self._isolated("heartbeat", beat.run)
        self._isolated("scraper", self._scrape)
        if self.settings.event_time != "samples":
            look = partial(collect, self.inbox, lambda: self.loaded, self.clock)
            self._isolated("mailbox", lambda: every(self.clock, look))
            self._isolated("subscribers", lambda: every(self.clock, self.telling.forget))
            self._isolated("announcements", lambda: every(self.clock, self._announce))

    async def _announce(self, now: int) -> int:
        return await self.telling.announce(now, self.pipeline.desk.subscribed)

    async def _scrape(self) -> None:
        """History first, then the targets; whatever is pushed meanwhile is told to come again."""
        if self.settings.event_time == "samples":
            self.intake.closed = None
            return
        options = self.loaded.root.backfill
        if options is not None:
            self.intake.closed = "reading history from Prometheus"
            now, newest = self.clock.now(), self.router.heart.newest
            start, progress = max(now - BACKFILL_SPAN_MS, newest), parts.progress_bar(self._stream, "history")
            stored = await self._read(options, self.router.history, start, now, progress)
            log.info("history: %d samples read from %s", stored, options.url)
            if not newest:  # else the models came back with what they know
                self._spawn("season", self._season(options, now))
        self.intake.closed = None
        await self.scraper.apply(self.loaded.root.scrape_configs, self.loaded.root.global_, self.loaded.path.parent)
        await self.scraper.run()

    async def _season(self, options: BackfillOptions, now: int) -> None:
        """Beside the samples that arrive: the models know the time of day meanwhile, or an hour later."""
        progress = parts.progress_bar(self._stream, "season")
        taught = await self._read(options, self.router.season, now - SEASON_SPAN_MS, now, progress, step=season.BIN)
        log.info("season: %d series know the time of day from %s", taught, options.url)
        if taught:
            await self.router.snapshot()  # the journal does not hold it

    async def _read(
        self, options: BackfillOptions, take: Callable[[HistoryChunk], Awaitable[int]], start: int, end: int,
        progress: Callable[[float], None], step: int = 0,
    ) -> int:  # fmt: skip
        """Hand the Prometheus's history to ``take``, chunk by chunk; the sum of what that answers. What cannot be read
        is left out and said."""
        done, base = 0, self.loaded.path.parent
        try:
            async with scrape.session(options, base) as session, asyncio.timeout(options.timeout / 1000):
                headers = await scrape.authorization(options, base)
                async for chunk in history(
                    session, options.url, options.match, start, end, progress, step=step, headers=headers
                ):
                    done += await take(chunk)
        except TimeoutError:
            log.warning("history is incomplete: not read within %d s", options.timeout // 1000)
        except (BackfillError, JournalFull, OSError, ValueError) as error:
            log.warning("history is incomplete: %s", error)
        return done

    # --- tasks --------------------------------------------------------------------------------------------------------

    def _essential(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """A task without which nothing works: its end is the daemon's."""

        async def guarded() -> None:
            try:
                await work
                reason = f"{name} has ended"
            except Exception as error:
                log.exception("%s failed", name)
                reason = f"{name} failed: {error}"
            if not self._ending.is_set() and not self.failed.done():
                self.failed.set_result(reason)

        self._spawn(name, guarded())

    def _isolated(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """A task that backs off and goes on when it fails."""

        async def guarded() -> None:
            while True:
                try:
                    await work()
                    return
                except Exception:
                    log.exception("%s failed; again in %d s", name, BACKOFF_MS // 1000)
                    await self.clock.sleep_until(self.clock.now() + BACKOFF_MS)

        self._spawn(name, guarded())

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sweep(self, now: int) -> int | None:
        if self.settings.event_time == "samples":
            return now + SWEEP_MS
        try:
            due = await self.pipeline.tick(now)
        except StorageError as error:
            log.error("the sweep could not be committed: %s", error)
            return now + BACKOFF_MS
        return min(due if due is not None else now + SWEEP_MS, now + SWEEP_MS)

    async def _retain(self) -> None:
        await self.clock.sleep_until(self.clock.now() + SETTLED_MS)
        if self.settings.event_time != "samples":
            await every(self.clock, self._forget)

    async def _forget(self, now: int) -> int:
        root = self.loaded.root
        done = await prune(
            self.pipeline.desk, root.tickets.retention, now, root.incidents.reopen_window, self.pipeline.board.forget
        )
        if done:
            log.info("retention: %s", ", ".join(f"{count} rows of {table}" for table, count in sorted(done.items())))
        return now + RETENTION_MS

    async def _on_duty(self, now: int) -> int | None:
        if self.settings.event_time == "samples":
            return now + SWEEP_MS
        try:
            return await self.duty.step(now)
        except StorageError as error:
            log.error("on call: %s", error)
            return now + BACKOFF_MS

    async def _sync(self, now: int) -> int:
        with suppress(JournalFull):
            await self.router.sync()
        return now + 1000

    async def _snapshot(self, now: int) -> int:
        if self.driver.evaluated_at is not None:
            await self.router.snapshot()
        return now + self.loaded.root.storage.snapshot_interval

    async def _watched(self) -> None:
        try:
            await self.reload()
        except ReloadRefused as error:
            log.error("the changed configuration was refused and nothing was changed:\n%s", error)

    # --- reload -------------------------------------------------------------------------------------------------------

    async def reload(self) -> Sequence[str]:
        """Take over the configuration as it is now, whole or not at all; answers notes for people."""
        notes = await self._reload()
        try:
            await self.people.audit("detector", "reload", "configuration", {"notes": list(notes)})
        except StorageError as error:
            log.error("the reload could not be written into the audit log: %s", error)
        return notes

    async def _reload(self) -> Sequence[str]:
        async with self._reloading:
            # Above the line everything may fail and has no effect, below it nothing can fail.
            try:
                loaded = await asyncio.to_thread(load, self.loaded.path)
                web_options, web_config = self._web(loaded)
                access = Access.prepare(web_options, web_config, loaded.path.parent)
                prepared = await self.router.prepare(parts.plan(loaded))
                built = await self._build_channels(loaded)
            except ConfigError as error:
                raise ReloadRefused([str(problem) for problem in error.problems]) from None
            except (StartError, AccessError, ValueError) as error:
                raise ReloadRefused([str(error)]) from None
            # ----------------------------------------------------------------------------------------------------------
            before, self.loaded = self.loaded, loaded
            await self.router.commit(prepared)
            self.pipeline.set_policy(parts.policy(loaded))
            self.pipeline.desk.routes = parts.routes(loaded)
            self.pipeline.desk.letters = loaded.root.mail.smtp is not None
            self.pipeline.desk.subscribed = kinds(loaded.root)
            self._called.set()
            self.driver.set_options(loaded.root)
            self._access_now.commit(access)
            await self.deliverer.replace(built, web_options.url, loaded.zone)
            if self.settings.event_time != "samples":
                await self.scraper.apply(loaded.root.scrape_configs, loaded.root.global_, loaded.path.parent)
            notes = [str(problem) for problem in loaded.problems]
            notes += [f"{what} changed: restart the daemon for it" for what in parts.needs_restart(before, loaded)]
            log.info("configuration reloaded: %s", loaded.summary())
            return notes

    async def _build_channels(self, loaded: Loaded) -> list[Channel]:
        """Channels whose options did not change are the same objects; one that cannot be built is reported by name."""
        found: dict[str, tuple[Any, Channel]] = {}
        for options in loaded.root.channels:
            known = self._channels.get(options.name)
            if known is not None and known[0] == options:
                found[options.name] = known
                continue
            try:
                channel = await asyncio.to_thread(build, options, self._session, self.clock, loaded.zone, self._stream)
            except ValueError as error:
                log.error("channel %s was left out: %s", options.name, error)
                continue
            found[options.name] = (options, channel)
        letters = lettered(self._channels, self.pipeline, self.links, loaded, self.clock)
        self._channels = found | letters | self.telling.channels(self._channels, loaded)
        return [channel for _, channel in self._channels.values()]

    # --- stop ---------------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Drain and end; every step is named, timed and logged, and a failing one does not stop the next."""
        self.intake.closed = "stopping"
        self._ending.set()
        await parts.named("scrapes", self.scraper.close)()
        await parts.named("last advance", self._last_advance)()
        await parts.named("outbox", lambda: self.deliverer.drain(self.clock.now() + DRAIN_MS))()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await parts.named("decisions", self.pipeline.drain)()
        await self._stack.aclose()

    async def _last_advance(self) -> None:
        if self.settings.event_time != "samples" and self.driver.evaluated_at is not None:
            await self.driver.step(self.clock.now())

    # --- what others are handed ---------------------------------------------------------------------------------------

    def _on_control(self, control: Control) -> None:
        self._spawn("control", self._control(control))

    async def _control(self, control: Control) -> None:
        try:
            await self.router.control(control)
        except Exception as error:  # noqa: BLE001 - models that learn from an alarm are worse, not wrong
            log.warning("the models were not told: %s", error)

    def _committed(self, committed: Committed) -> None:
        self._swept.set()
        if committed.channels:
            self.deliverer.wake(committed.channels)
        if self.duty.committed(committed):
            self._called.set()

    def _services(self) -> Sequence[ServiceFact]:
        return self.health.services()

    def _sent(self, notification: Notification, now: int) -> None:
        if notification.event == "opened" and notification.attempts == 0:
            self.telemetry.incident_latency.observe(max(0, now - notification.created_at) / 1000)

    async def _query(self, endpoint: str, params: Mapping[str, Sequence[str]]) -> tuple[int, Mapping[str, Any]]:
        asked = {name: tuple(values) for name, values in params.items()}
        endpoint = "label_values" if endpoint == "label/values" else endpoint
        return await self.router.query(Query(endpoint, asked, self.driver.now()))

    async def _chart(
        self, symptom: Symptom, theme: Theme, width: int, height: int, changes: Sequence[ChangeEvent] = ()
    ) -> bytes | None:
        if symptom.evidence is None:
            return None
        minute = self.driver.now() // 60_000 * 60_000
        spec = symptom_spec(
            symptom, max(minute, symptom.last_at), theme, zone=self.loaded.zone, width=width, height=height,
            changed=[change.at for change in changes],
        )  # fmt: skip
        try:
            return (await self.renderer.svg(spec)).encode()
        except DrawingFailed as error:
            log.warning("no chart for %s: %s", symptom.id, error)
            return None

    async def _illustrate(self, ticket: Ticket, now: int) -> Attachment | None:
        symptom = telling(ticket.symptoms)
        if symptom is None:
            return None
        zone = self.loaded.zone
        png = await self.renderer.png(symptom_spec(symptom, now, "dark", zone=zone, width=400, height=250))
        return Attachment("chart.png", "image/png", png, alt_text(symptom, now, zone=zone))

    def _gauges(self, router: LocalRouter, outbox: Outbox) -> None:
        telemetry, mailbox = self.telemetry, router.mailbox
        telemetry.series.set_function(lambda: router.heart.shard.store.series_count)
        for lane, name in enumerate(("ingest", "query")):
            telemetry.queue_depth.labels(name).set_function(partial(mailbox.depth, lane))
            telemetry.queue_age.labels(name).set_function(partial(mailbox.oldest_seconds, lane))
