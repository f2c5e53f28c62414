"""Scraping: one loop a target on the clock, at an offset of its own, as Prometheus does it.

Out: a :class:`ScrapeResult` for every scrape, failed ones too, and one that says goodbye when a target vanishes; what
is in the body is the heart's business.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from detector.clock import Clock
from detector.ingest import discovery
from detector.ingest.decode.exposition_text import BadText
from detector.ingest.decode.labelling import metric_of
from detector.ingest.discovery import BadFile, Target
from detector.ingest.options import GlobalOptions, HttpClientOptions, ScrapeConfig
from detector.ingest.relabel import Relabeller
from detector.nouns import LabelSet

log = logging.getLogger(__name__)

ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
MOST_BYTES = 256 * 1024 * 1024
"""Of one exposition, inflated, where ``body_size_limit`` does not say less."""
MAX_BACKOFF_MS = 60_000


@dataclass(frozen=True, slots=True)
class ScrapeResult:
    """One scrape. ``error`` is empty when it succeeded; ``gone``: the target is no longer scraped."""

    target: str
    labels: LabelSet
    at: int
    seconds: float
    body: bytes = b""
    content_type: str = ""
    error: str = ""
    gone: bool = False
    honor_timestamps: bool = True
    sample_limit: int = 0
    relabel: Callable[[LabelSet], LabelSet | None] | None = None


class Sink(Protocol):
    async def scraped(self, result: ScrapeResult) -> Any: ...


@dataclass(frozen=True, slots=True)
class TargetState:
    """What is shown of a target."""

    target: Target
    last_at: int | None
    seconds: float
    error: str


@dataclass(slots=True)
class _Job:
    config: ScrapeConfig
    session: aiohttp.ClientSession
    found: dict[Path, list[Any]] = field(default_factory=dict)
    loops: dict[Target, asyncio.Task[None]] = field(default_factory=dict)


class Scraper:
    """All jobs. ``apply`` takes over a configuration: loops of targets that did not change go on undisturbed."""

    def __init__(self, sink: Sink, clock: Clock) -> None:
        self._sink = sink
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._base = Path()
        self._defaults = GlobalOptions()
        self._states: dict[Target, TargetState] = {}

    @property
    def states(self) -> Sequence[TargetState]:
        return list(self._states.values())

    async def apply(self, configs: Sequence[ScrapeConfig], defaults: GlobalOptions, base: Path) -> None:
        """Scrape this from now on. ``base``: the folder that relative paths start from."""
        self._base, self._defaults = base, defaults
        wanted = {config.job_name: config for config in configs}
        for name in [name for name, job in self._jobs.items() if wanted.get(name) != job.config]:
            await self._end(self._jobs.pop(name))
        for name, config in wanted.items():
            if name not in self._jobs:
                try:
                    self._jobs[name] = _Job(config, session(config, base))
                except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                    log.error("job %s is not scraped: tls_config: %s", name, error)
        await self.discover()

    async def discover(self) -> None:
        """Read the files of targets, start loops for new targets and end those of targets that are gone."""
        for job in self._jobs.values():
            await asyncio.to_thread(self._read_files, job)
            wanted = discovery.targets(job.config, self._defaults, job.found)
            for target in [target for target in job.loops if target not in wanted]:
                await self._goodbye(job, target)
            for target in wanted:
                if target not in job.loops:
                    name = f"scrape-{target.job}"
                    job.loops[target] = asyncio.create_task(self._loop(job, target), name=name)

    async def run(self) -> None:
        """Look at the files again and again, until cancelled."""
        while True:
            refresh = [sd.refresh_interval for job in self._jobs.values() for sd in job.config.file_sd_configs]
            await self._clock.sleep_until(self._clock.now() + min([*refresh, 5000]))
            await self.discover()

    async def close(self) -> None:
        """End every loop; targets do not become stale: the daemon will be back."""
        for job in self._jobs.values():
            for task in job.loops.values():
                task.cancel()
            await asyncio.gather(*job.loops.values(), return_exceptions=True)
            await job.session.close()
        self._jobs.clear()

    def _read_files(self, job: _Job) -> None:
        present = [path for sd in job.config.file_sd_configs for path in discovery.paths(sd, self._base)]
        for path in [path for path in job.found if path not in present]:
            del job.found[path]
        for path in present:
            try:
                job.found[path] = discovery.read_file(path)
            except BadFile as error:
                log.warning("job %s: %s; the targets known before stay", job.config.job_name, error)

    async def _end(self, job: _Job) -> None:
        for target in list(job.loops):
            await self._goodbye(job, target)
        await job.session.close()

    async def _goodbye(self, job: _Job, target: Target) -> None:
        task = job.loops.pop(target)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self._states.pop(target, None)
        await self._hand_over(ScrapeResult(target.name, target.labels, self._clock.now(), 0.0, gone=True))

    async def _loop(self, job: _Job, target: Target) -> None:
        """Scrape at the target's own offset inside the interval, so that targets spread. A slot that was missed is
        skipped, not made up for."""
        offset = _offset(target)
        relabel = _relabelling(job.config, target)
        at = (self._clock.now() - offset) // target.interval * target.interval + target.interval + offset
        while True:
            await self._clock.sleep_until(at)
            result = await self._scrape(job, target, at, relabel)
            self._states[target] = TargetState(target, at, result.seconds, result.error)
            await self._hand_over(result)
            now = self._clock.now()
            at += target.interval
            if at <= now:
                at += (now - at) // target.interval * target.interval + target.interval

    async def _hand_over(self, result: ScrapeResult) -> None:
        try:
            await self._sink.scraped(result)
        except Exception as error:  # noqa: BLE001 - a full mailbox or disk loses this scrape, not the loop
            log.warning("%s: the scrape at %d was lost: %s", result.target, result.at, error)

    async def _scrape(
        self, job: _Job, target: Target, at: int, relabel: Callable[[LabelSet], LabelSet | None]
    ) -> ScrapeResult:
        config = job.config
        started = time.monotonic()
        body, kind, error = b"", "", ""
        try:
            async with asyncio.timeout(target.timeout / 1000):
                body, kind = await _fetch(job.session, target, config, await authorization(config, self._base))
        except TimeoutError:
            error = f"no answer within {target.timeout} ms"
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            error = str(failure) or type(failure).__name__
        return ScrapeResult(
            target.name,
            target.labels,
            at,
            time.monotonic() - started,
            body,
            kind,
            error,
            honor_timestamps=config.honor_timestamps,
            sample_limit=config.sample_limit,
            relabel=relabel,
        )


async def _fetch(
    session_: aiohttp.ClientSession, target: Target, config: ScrapeConfig, headers: Mapping[str, str]
) -> tuple[bytes, str]:
    limit = config.body_size_limit or MOST_BYTES
    sent = {**headers, "X-Prometheus-Scrape-Timeout-Seconds": f"{target.timeout / 1000:g}"}
    async with session_.get(
        target.url,
        headers=sent,
        allow_redirects=config.follow_redirects,
        server_hostname=config.tls_config.server_name or None,
    ) as answer:
        if answer.status != 200:
            raise ValueError(f"server returned HTTP status {answer.status}")
        parts, size = [], 0
        async for chunk in answer.content.iter_chunked(1 << 16):
            size += len(chunk)
            if size > limit:
                raise ValueError(f"the exposition has more than {limit} bytes (body_size_limit)")
            parts.append(chunk)
        return b"".join(parts), answer.headers.get("Content-Type", "")


def session(config: HttpClientOptions, base: Path) -> aiohttp.ClientSession:
    """A client session for the job: its TLS settings, connections kept, no cookies."""
    tls = config.tls_config
    context = ssl.create_default_context(cafile=str(base / tls.ca_file) if tls.ca_file else None)
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file and tls.key_file:
        context.load_cert_chain(str(base / tls.cert_file), str(base / tls.key_file))
    compress = getattr(config, "enable_compression", True)
    headers = {"Accept": ACCEPT, "User-Agent": "detector", "Accept-Encoding": "gzip" if compress else "identity"}
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=0), headers=headers, cookie_jar=aiohttp.DummyCookieJar()
    )


async def authorization(config: HttpClientOptions, base: Path) -> dict[str, str]:
    """The Authorization header; secrets in files are read at every scrape, because they rotate."""

    def read(path: Path) -> str:
        return (base / path).read_text(encoding="utf-8").strip()

    if (basic := config.basic_auth) is not None:
        name = await asyncio.to_thread(read, basic.username_file) if basic.username_file else basic.username
        password = basic.password.get_secret_value() if basic.password else ""
        if basic.password_file:
            password = await asyncio.to_thread(read, basic.password_file)
        return {"Authorization": aiohttp.encode_basic_auth(name, password, "utf-8")}
    kind, token, file = "Bearer", config.bearer_token, config.bearer_token_file
    if config.authorization is not None:
        kind, token, file = (
            config.authorization.type,
            config.authorization.credentials,
            config.authorization.credentials_file,
        )
    if file is not None:
        return {"Authorization": f"{kind} {await asyncio.to_thread(read, file)}"}
    return {"Authorization": f"{kind} {token.get_secret_value()}"} if token is not None else {}


def _relabelling(config: ScrapeConfig, target: Target) -> Callable[[LabelSet], LabelSet | None]:
    """From the labels of an exposition to those of the stored series: target labels, honor_labels, metric relabelling,
    label limits. Prometheus moves a label that both have to ``exported_<name>`` unless labels are honoured."""
    relabel = Relabeller(config.metric_relabel_configs)

    def relabelled(exposed: LabelSet) -> LabelSet | None:
        labels = dict(exposed)
        for name, value in target.labels:
            if config.honor_labels:
                labels.setdefault(name, value)
                continue
            if name in labels:
                moved = f"exported_{name}"
                while moved in labels:
                    moved = f"exported_{moved}"
                labels[moved] = labels[name]
            labels[name] = value
        kept = relabel(labels) if relabel else labels
        if kept is None or not kept.get("__name__"):
            return None
        stored = tuple(sorted((name, value) for name, value in kept.items() if value))
        _within_limits(stored, config)
        return stored

    return relabelled


def _within_limits(labels: LabelSet, config: ScrapeConfig) -> None:
    """A series beyond the job's label limits fails the whole scrape, as in Prometheus; raises BadText."""
    metric = metric_of(labels)[:80]
    if 0 < config.label_limit < len(labels):
        raise BadText(f"{metric} has {len(labels)} labels; label_limit is {config.label_limit}")
    for name, value in labels:
        if 0 < config.label_name_length_limit < len(name.encode()):
            raise BadText(f"{metric}: label {name[:80]!r} is longer than label_name_length_limit")
        if 0 < config.label_value_length_limit < len(value.encode()):
            raise BadText(f"{metric}: the value of label {name[:80]!r} is longer than label_value_length_limit")


def _offset(target: Target) -> int:
    digest = hashlib.blake2b(f"{target.url} {target.labels}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % target.interval
