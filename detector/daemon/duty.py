"""On call, by the clock: hand-over at a shift's end, its report, what would keep a page from reaching somebody, and
whether those who were woken had to be."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo

from prometheus_client import Counter, Gauge

from detector.clock import Clock
from detector.notify.channels import DeliveryError
from detector.notify.messages import headline
from detector.nouns import SYSTEM, Resolved, Ticket, Viewer
from detector.oncall import night
from detector.oncall.findings import KINDS, Finding, findings
from detector.oncall.handover import LISTED, Report, concerns, ended_shifts, offers, shift_at
from detector.oncall.options import OnCallOptions, Person
from detector.oncall.policy import calls
from detector.oncall.schedule import Shift, shifts
from detector.pipeline import Pipeline
from detector.telemetry import Telemetry
from detector.tickets.desk import Committed
from detector.tickets.duty import Duty as Records
from detector.tickets.outbox import Memo, Outbox
from detector.web.api.silences import covers_too_much
from detector.worktime import is_open

log = logging.getLogger(__name__)

HOUR = 3_600_000
BACK = 12 * HOUR
"""ms after its end that a shift's report is still written: a daemon that was down does so when it is back."""
AGAIN_MS = 30_000
"""ms between two test messages to one person."""
MOST_ENDED = 10_000


class Links(Protocol):
    def proof(self, who: str, channel: str, now: int) -> str: ...


class Duty:
    """``send`` delivers a test message on a channel with the path that proves it; ``wake`` tells the deliverer that
    memos wait; ``quiet``: whether a channel can be told something without ringing."""

    def __init__(
        self,
        options: Callable[[], OnCallOptions],
        zone: Callable[[], tzinfo],
        pipeline: Pipeline,
        links: Links,
        clock: Clock,
        telemetry: Telemetry,
        send: Callable[[str, str], Awaitable[object]],
        wake: Callable[[Iterable[str]], None] = lambda _: None,
        quiet: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._options = options
        self._zone = zone
        self._pipeline = pipeline
        self._records = Records(pipeline.desk)
        self._outbox = Outbox(pipeline.desk)
        self._links = links
        self._clock = clock
        self._send = send
        self._wake = wake
        self._quiet = quiet
        self._gaps = Gauge(
            "detector_oncall_gaps", "What would keep a page from reaching somebody.", ["kind"],
            registry=telemetry.registry,
        )  # fmt: skip
        self._wakes = Counter(
            "detector_wakes", "Tickets that woke somebody, by whether that was needed.", ["result"],
            registry=telemetry.registry,
        )  # fmt: skip
        for result in ("needed", "avoidable"):
            self._wakes.labels(result)
        self._ended: dict[str, int] = {}
        self._tested: dict[str, int] = {}
        self._looked_at: int | None = None

    @property
    def options(self) -> OnCallOptions:
        return self._options()

    # --- by the clock -------------------------------------------------------------------------------------------------

    def committed(self, committed: Committed) -> bool:
        """Word of a commit; whether :meth:`step` has something to do about it."""
        ticket = committed.ticket
        ended = next((change.at for change in committed.changes if isinstance(change, Resolved)), None)
        if ended is None or ticket.mode == "shadow" or ticket.restricted or len(self._ended) >= MOST_ENDED:
            return False
        self._ended[ticket.key] = ended
        return True

    async def step(self, now: int) -> int:
        """Everything that is due; returns when (ms) to come again."""
        options = self.options
        if options.policies:
            await self._pipeline.each_open(lambda ticket: offers(ticket, options, now), now)
        await self._report_shifts(now)
        for key in list(self._ended):
            await self._judge(key)
            self._ended.pop(key, None)
        if self._looked_at is None or now - self._looked_at >= HOUR:
            await self._look()
            self._looked_at = now
        return min((*self._edges(now), now + HOUR))

    def _edges(self, now: int) -> list[int]:
        return [s.end for schedule in self.options.schedules for s in shifts(schedule, now, now + HOUR)]

    async def _look(self) -> None:
        found = await self.findings()
        for kind in KINDS:
            self._gaps.labels(kind).set(sum(one.kind == kind for one in found))

    async def _report_shifts(self, now: int) -> None:
        memos = []
        for schedule in self.options.schedules:
            for shift, following in ended_shifts(schedule, now - BACK, now):
                report = await self._compose(schedule.name, shift, SYSTEM)
                subject, text = self._worded(report, ZoneInfo(schedule.zone), now)
                for who in dict.fromkeys((*shift.people, *following)):
                    name = f"shift/{schedule.name}/{shift.end}/{who}"
                    memos.append(Memo(name, who, self._channels(who, now), subject, text))
        if memos and (channels := await self._outbox.write(memos, now)):
            self._wake(channels)

    def _channels(self, who: str, now: int) -> tuple[str, ...]:
        """Where something that can wait is told to a person: the first of their ways that does not ring."""
        nothing = Ticket("", 0, "incident", "triaged", "detected", "", now, "ticket", priority="P4")
        ways = [call for call in calls(nothing, self.options, now, who) if self._quiet(call.channel)]
        first = min((call.delay for call in ways), default=0)
        return tuple(call.channel for call in ways if call.delay == first)

    def _worded(self, report: Report, zone: tzinfo, now: int) -> tuple[str, str]:
        counts = (
            f"{len(report.opened)} opened, {len(report.ended)} ended, {len(report.still_open)} still open, "
            f"{report.pages} page{'' if report.pages == 1 else 's'}, {report.wakes} of them outside working hours"
        )
        subject = f"Shift of {', '.join(report.people)} on {report.schedule} is over: {counts.partition(',')[0]}"
        lines = [f"From {_wall(report.start, zone)} to {_wall(report.end, zone)}: {counts}."]
        held = {ticket.key for ticket in report.held}
        for word, tickets in (("open", report.still_open), ("ended", report.ended)):
            for ticket in tickets[:LISTED]:
                with_ = f", offered to {ticket.offered_to}" if ticket.key in held and ticket.offered_to else ""
                who = f" (held by {ticket.assignee}{with_})" if ticket.assignee and word == "open" else ""
                lines.append(f"{word}: {ticket.key} {headline(ticket, now, zone)}{who}")
            if len(tickets) > LISTED:
                lines.append(f"{word}: and {len(tickets) - LISTED} more")
        return subject, "\n".join(lines)

    async def _judge(self, key: str) -> None:
        """Count a ticket that has ended, if it woke somebody."""
        hours = self.options.working_hours
        ticket = await self._pipeline.desk.ticket(key, SYSTEM)
        result = night.wake(ticket) if ticket is not None else None
        if hours is None or result is None:
            return
        timeline = await self._pipeline.desk.timeline(key, SYSTEM)
        since = max((entry.at for entry in timeline if entry.what == "reopened"), default=0)
        if any(not is_open(hours, at) for at in await self._records.paged(key, since)):
            self._wakes.labels(result).inc()

    # --- what people ask ----------------------------------------------------------------------------------------------

    async def findings(self) -> list[Finding]:
        """What would keep a page from reaching somebody, as it is now."""
        now = self._clock.now()
        found = list(findings(self.options, now, await self._records.proofs()))
        for silence in self._pipeline.noise.silences:
            if silence.starts_at <= now < silence.ends_at and covers_too_much(silence):
                found.append(Finding("silence", f"silence {silence.id} mutes everything: {silence.comment}"))
        return found

    async def report(self, schedule: str, at: int, viewer: Viewer) -> Report | None:
        """The shift that holds ``at`` (ms), as far as the viewer may see it; None: no such schedule."""
        known = next((one for one in self.options.schedules if one.name == schedule), None)
        return None if known is None else await self._compose(schedule, shift_at(known, at), viewer)

    async def _compose(self, schedule: str, shift: Shift, viewer: Viewer) -> Report:
        options, start, end = self.options, shift.start, shift.end
        hours = options.working_hours
        # No report goes to people of whom nobody knows whether they may see what is confidential.
        found = [t for t in await self._records.tickets(start, end, Viewer(viewer.name)) if t.mode != "shadow"]
        found = [ticket for ticket in found if concerns(ticket, schedule, options)]
        over = [ticket for ticket in found if start <= _ended(ticket, end) < end]
        left = [ticket for ticket in found if _ended(ticket, end) >= end]
        pages = await self._records.pages(start, end, shift.people)
        return Report(
            schedule, start, end, shift.people,
            opened=tuple(ticket for ticket in found if start <= ticket.opened_at < end),
            ended=tuple(over), still_open=tuple(left), pages=len(pages),
            wakes=sum(hours is not None and not is_open(hours, at) for at in pages),
            held=tuple(ticket for ticket in left if ticket.assignee in shift.people),
        )  # fmt: skip

    async def send_test(self, who: str) -> list[tuple[str, str]]:
        """A test message on each channel of a person: (channel, why it failed or empty). Raises LookupError for whom
        nobody knows, ValueError where one was sent just now."""
        person = self._person(who)
        now = self._clock.now()
        if now - self._tested.get(who, -AGAIN_MS) < AGAIN_MS:
            raise ValueError(f"a test message to {who} was sent less than {AGAIN_MS // 1000} s ago")
        self._tested[who] = now
        done = []
        for channel in dict.fromkeys(rule.channel for rule in person.rules):
            try:
                await self._send(channel, self._links.proof(who, channel, now))
                done.append((channel, ""))
            except (DeliveryError, LookupError) as error:
                done.append((channel, str(error)))
        return done

    async def prove(self, who: str, channel: str) -> None:
        """It arrived. Raises LookupError where the person is not called on the channel any more."""
        if channel not in {rule.channel for rule in self._person(who).rules}:
            raise LookupError(f"{who} is not called on {channel} any more")
        await self._records.prove(who, channel, self._clock.now())
        self._looked_at = None

    def _person(self, who: str) -> Person:
        person = next((person for person in self.options.people if person.name == who), None)
        if person is None:
            raise LookupError(f"{who} is not among people")
        return person


def _ended(ticket: Ticket, otherwise: int) -> int:
    at = ticket.closed_at if ticket.resolved_at is None else ticket.resolved_at
    return otherwise if at is None or ticket.state not in night.ENDED else at


def _wall(at: int, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(at / 1000, zone):%a %d %b %H:%M}"
