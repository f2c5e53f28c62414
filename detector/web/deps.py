"""What the web room asks of the rest of the house: a frozen dataclass of small Protocols, filled by the daemon."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from aiohttp import web

from detector.clock import Clock
from detector.incidents.mute import Noise
from detector.nouns import ChangeEvent, Report, Silence, Symptom, Ticket, TimelineEntry, Viewer
from detector.oncall.findings import Finding
from detector.oncall.handover import Report as ShiftReport
from detector.oncall.options import OnCallOptions
from detector.pipeline import Policy
from detector.telemetry import Telemetry
from detector.tickets.desk import Committed, TicketPage, TicketQuery
from detector.tickets.people import People
from detector.tickets.problems import Problems
from detector.tickets.subscribers import Kind, Subscriber
from detector.tickets.trace import Posted, Traced
from detector.tickets.views import Views
from detector.web.auth import Access
from detector.web.links import Links
from detector.web.options import WebOptions

Theme = Literal["light", "dark"]


class Desk(Protocol):
    """Reads of tickets. Every one takes the viewer; a restricted ticket does not exist for who may not see it."""

    async def ticket(self, key: str, viewer: Viewer) -> Ticket | None: ...
    async def tickets(self, query: TicketQuery, viewer: Viewer) -> TicketPage: ...
    async def similar(self, ticket: Ticket, viewer: Viewer) -> Ticket: ...
    async def search(self, words: Sequence[str], viewer: Viewer, most: int = 50) -> Sequence[Ticket]: ...
    @property
    def subscribed(self) -> Sequence[str]: ...
    async def opened_between(self, start: int, end: int, most: int = 50_000) -> Sequence[Ticket]: ...
    async def families(self, keys: Sequence[str]) -> Mapping[str, Sequence[str]]: ...
    async def public(self, since: int, most: int = 500) -> Sequence[Ticket]: ...
    async def every_open(self, viewer: Viewer) -> Sequence[Ticket]: ...
    async def timeline(self, key: str, viewer: Viewer) -> Sequence[TimelineEntry]: ...
    async def timelines(self, tickets: Sequence[Ticket], viewer: Viewer) -> Mapping[str, Sequence[TimelineEntry]]: ...
    async def newest_entry(self) -> int: ...
    async def breaches(self, viewer: Viewer) -> Sequence[Ticket]: ...


class Replayer(Protocol):
    """The changes of the desk, once more for a channel that follows it."""

    async def replay(self, channel: str, since: int, now: int) -> int: ...


class SubscriberBook(Protocol):
    """Who is told what the status page says. ``ask`` raises Full."""

    async def ask(self, kind: Kind, address: str, components: Sequence[str], now: int) -> None: ...
    async def confirm(self, token: str, now: int) -> Subscriber | None: ...
    async def end(self, token: str, now: int) -> Subscriber | None: ...
    async def of(self, token: str, now: int) -> Subscriber | None: ...


class SilenceBook(Protocol):
    """Every silence that was ever set."""

    async def one(self, id: str) -> Silence | None: ...


class Actions(Protocol):
    """What people do to tickets (raises NotAllowed), and word of every commit, called on the event loop."""

    @property
    def policy(self) -> Policy: ...
    @property
    def noise(self) -> Noise: ...
    @property
    def problems(self) -> Problems: ...
    @property
    def silences(self) -> SilenceBook: ...

    async def act(
        self, key: str, action: str, viewer: Viewer, *, now: int, seen: int | None = None, **arguments: Any
    ) -> Ticket: ...
    def subscribe(self, telling: Callable[[Committed], None], /) -> Callable[[], None]: ...
    async def report(self, report: Report, who: str = "reporter", /) -> Ticket: ...
    def categories(self) -> frozenset[str]: ...
    async def silence(self, silences: Sequence[Silence], now: int) -> None: ...
    def is_about_predictions(self, silence: Silence) -> bool: ...


class Chart(Protocol):
    """The symptom's evidence as SVG of ``width`` x ``height`` CSS pixels; None where there is nothing to draw, or where
    it cannot be drawn now. ``changes`` are marked at its foot."""

    async def __call__(
        self, symptom: Symptom, theme: Theme, width: int, height: int, changes: Sequence[ChangeEvent] = ()
    ) -> bytes | None: ...


class ChangeBook(Protocol):
    """What was changed, newest first; of ``services`` and of none, None: all."""

    async def between(
        self, start: int, end: int, services: Iterable[str] | None = None, most: int = 100
    ) -> Sequence[ChangeEvent]: ...


class Trace(Protocol):
    """What was done with alerts and messages."""

    async def episodes(self, name: str, most: int = 200) -> Sequence[Traced]: ...
    async def messages(self, key: str) -> Sequence[Posted]: ...
    async def ledger(self) -> Mapping[str, Mapping[str, int]]: ...


class OnCallDesk(Protocol):
    """Who is called, and what is known of it."""

    @property
    def options(self) -> OnCallOptions: ...

    async def findings(self) -> Sequence[Finding]: ...
    async def report(self, schedule: str, at: int, viewer: Viewer) -> ShiftReport | None: ...
    async def send_test(self, who: str) -> Sequence[tuple[str, str]]:
        """(channel, why it failed or empty) of each of a person; LookupError for whom nobody knows, ValueError where
        one was sent just now."""

    async def prove(self, who: str, channel: str) -> None:
        """It arrived; LookupError where the person is not called on the channel."""


class NobodyOnCall:
    """Nobody is called in person."""

    options = OnCallOptions()

    async def findings(self) -> Sequence[Finding]:
        return ()

    async def report(self, schedule: str, at: int, viewer: Viewer) -> ShiftReport | None:
        return None

    async def send_test(self, who: str) -> Sequence[tuple[str, str]]:
        raise LookupError(f"{who} is not among people")

    async def prove(self, who: str, channel: str) -> None:
        raise LookupError(f"{who} is not among people")


class NoChanges:
    """Nobody tells of changes."""

    async def between(
        self, start: int, end: int, services: Iterable[str] | None = None, most: int = 100
    ) -> Sequence[ChangeEvent]:
        return ()


class Query(Protocol):
    """Prometheus's HTTP API over the store.

    ``endpoint`` is the path below ``/api/v1/`` (``query``, ``query_range``, ``series``, ``labels``, ``metadata``,
    ``rules``, ``alerts``, ``status/buildinfo``; ``label/values`` with the name in ``params["name"]``). Answers the HTTP
    status and the whole JSON document, in Prometheus's shape also where it failed.
    """

    async def __call__(self, endpoint: str, params: Mapping[str, Sequence[str]]) -> tuple[int, Mapping[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class SourceFact:
    """Where samples or alerts come from, and when the last arrived (ms, None: nothing yet)."""

    name: str
    kind: str
    last_at: int | None = None


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """What is watched, for page headers and for the empty board. Times in ms."""

    version: str
    since: int
    series: int
    rules: int
    evaluated_at: int | None = None
    """Event time of the last evaluation."""
    sources: Sequence[SourceFact] = ()
    problems: Sequence[str] = ()
    """What does not work right now, one sentence each: a full disk, a rule that fails, a dead channel."""


@dataclass(frozen=True, slots=True)
class ServiceFact:
    """A service of the catalogue."""

    name: str
    team: str | None = None
    criticality: str = "medium"
    depends_on: Sequence[str] = ()
    runbook: str = ""


@dataclass(frozen=True, slots=True)
class OnCallFact:
    """Who is told about what: a team or a channel as configured, and the people on duty where that is known."""

    team: str
    people: Sequence[str] = ()
    channels: Sequence[str] = ()


class ReloadRefused(Exception):
    """The new configuration cannot be used and nothing was changed; ``problems`` name file, line, key and remedy."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Deps:
    """``healthy`` and ``ready`` answer the reasons why not (none: all is well). ``reload`` answers notes for people
    (what changed, what needs a restart) or raises :class:`ReloadRefused`. ``ingest`` are the routes of what programs
    send; their POSTs also take an ingest token.
    """

    options: WebOptions
    access: Access
    people: People
    clock: Clock
    telemetry: Telemetry
    desk: Desk
    actions: Actions
    trace: Trace
    views: Views
    outbox: Replayer
    subscribers: SubscriberBook
    query: Query
    status: Callable[[], StatusFacts]
    healthy: Callable[[], Sequence[str]]
    ready: Callable[[], Sequence[str]]
    reload: Callable[[], Awaitable[Sequence[str]]]
    chart: Chart
    services: Callable[[], Sequence[ServiceFact]] = field(default=lambda: ())
    oncall: Callable[[], Sequence[OnCallFact]] = field(default=lambda: ())
    duty: OnCallDesk = field(default_factory=NobodyOnCall)
    ingest: Sequence[web.RouteDef] = ()
    wake: Callable[[Sequence[str]], None] = field(default=lambda _: None)
    """Messages wait for these channels."""
    followers: Callable[[], Sequence[str]] = field(default=lambda: ())
    """Channels that are handed every change."""
    settings: Callable[[], Mapping[str, Any]] = field(default=dict)
    """The configuration without its secrets."""
    changes: ChangeBook = field(default_factory=NoChanges)
    needs: Callable[[str], Sequence[str]] = field(default=lambda _: ())
    """The services that one needs, as the catalogue says."""
    links: Links = field(default_factory=lambda: Links(os.urandom(32)))
