"""The staircase: findings, alerts, reports and people's acts become decisions, and decisions one transaction.

One decider per process: whatever waits is decided together and committed together, so that a storm of alerts shares a
commit. Who posted an alert is answered only after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from detector.incidents.alerts import alert_symptom
from detector.incidents.board import OPEN, Board, Trial, slim
from detector.incidents.correlate import Correlator
from detector.incidents.episodes import Entry, Ledger, end_of
from detector.incidents.mute import Hush, Inhibitions, Noise, hush, is_about_predictions, mute
from detector.nouns import (
    SYSTEM,
    Alert,
    Change,
    Control,
    Findings,
    Noted,
    Reopened,
    Report,
    Resolved,
    Silence,
    Symptom,
    SymptomJoined,
    Ticket,
    Tier,
    Viewer,
)
from detector.oncall import night
from detector.pipeline.counts import Counts
from detector.pipeline.policy import Busy, NoSuchTicket, Policy
from detector.telemetry import Telemetry
from detector.tickets import backlog
from detector.tickets.acts import ACTIONS, NotAllowed, opening
from detector.tickets.arguments import Arguments
from detector.tickets.changes import Changes
from detector.tickets.desk import Committed, Conflict, Desk, Draft, Episode, StorageError
from detector.tickets.lifecycle import ending, fold, next_due
from detector.tickets.options import DEFAULT_CATEGORIES
from detector.tickets.problems import Problems
from detector.tickets.public import communicate
from detector.tickets.silences import Silences
from detector.tickets.triage import next_urgency, triage

log = logging.getLogger(__name__)

MOST_WAITING = 2000
"""Posts that may wait for one decision; beyond it senders are told to come again."""
MOST_AT_ONCE = 200
"""Alerts that are decided in one go, and committed together: about 50 ms of the event loop."""
ATTEMPTS = 5
RETRY_MS = 5_000
LOOK_MS = 60_000
BACKLOG_MS = 600_000
MEMORY_MS = 3_600_000
MOST_PAST = 2_000
"""Ended tickets that are read at a start, so that what returns later than the re-opening window can name its last."""
SILENCES_SHOWN_MS = 5 * 86_400_000
"""How long a silence that has ended is shown, as in Alertmanager."""
MODELLED = ("forecast", "anomaly", "group")
"""Detectors whose symptoms are about series that models learn."""


class Telling(Protocol):
    def __call__(self, committed: Committed) -> None: ...


@dataclass(slots=True)
class _Post:
    symptoms: Sequence[Symptom]
    alerts: Sequence[Alert]
    now: int
    done: asyncio.Future[None]


class Pipeline:
    """Owner of the board and the ledger; the only one who decides."""

    def __init__(
        self, desk: Desk, policy: Policy, telemetry: Telemetry, on_control: Callable[[Control], None] | None = None
    ) -> None:
        self.desk = desk
        self.policy = policy
        self.board = Board()
        self.ledger = Ledger()
        self.silences = Silences(desk)
        self.changes = Changes(desk)
        self.problems = Problems(desk)
        self._arguments = Arguments(desk, self.problems, lambda: self.policy.tickets)
        self.noise = Noise(policy.noise)
        """What mutes; silences that ended within the last days are among it, to be shown."""
        self.failing: str | None = None
        """Why the database cannot be written, while it cannot."""
        self._telemetry = telemetry
        self._on_control = on_control or (lambda _: None)
        self._correlator = Correlator(policy.catalogue, policy.incidents)
        self._lock = asyncio.Lock()
        self._waiting: list[_Post] = []
        self._wake = asyncio.Event()
        self._tellings: dict[int, Telling] = {}
        self._counts = Counts(telemetry)
        self._next_due: int | None = None
        self._next_noise: int | None = None
        self._backlog_at = 0
        self._done: dict[Tier, int] = {}
        """What each tier has resolved within the last week."""
        self._look_at = 0

    # --- life ---------------------------------------------------------------------------------------------------------

    async def load(self, now: int) -> None:
        """Read what decisions look at: open tickets, those that may be reopened, and episodes of alerts."""
        since = now - self.policy.incidents.reopen_window
        self._look_at = 0
        # Before anything is decided: what was muted before a restart stays so.
        await self._read_silences(now)
        self.board = Board(map(slim, await self.desk.reopenable(since)))
        entries = []
        for episode in await self.desk.episodes(now - MEMORY_MS):
            entries.append(
                Entry(episode.alert, episode.result, episode.received, episode.expires_at, stored=episode.stored)
            )
        self.ledger.keep(entries)
        for ticket in await self.desk.ended(since, MOST_PAST):
            self.board.retire(slim(ticket))
        for ticket in self.board.tickets.values():
            self._counts.put(ticket)

    def set_policy(self, policy: Policy) -> None:
        """After a reload; open tickets keep what they have until their facts change."""
        self.policy = policy
        self._correlator = Correlator(policy.catalogue, policy.incidents)
        self.noise = Noise(policy.noise, self.noise.silences)
        self._look_at = 0

    def subscribe(self, telling: Telling) -> Callable[[], None]:
        """Be told of every commit, on the event loop; the returned callable ends it."""
        handle = max(self._tellings, default=0) + 1
        self._tellings[handle] = telling

        def end() -> None:
            self._tellings.pop(handle, None)

        return end

    async def run(self) -> None:
        """The decider: decide whatever waits, together."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            posts, self._waiting = self._waiting, []
            if posts:
                await self._decide(posts)

    async def drain(self) -> None:
        """Decide what still waits (the decider has ended)."""
        posts, self._waiting = self._waiting, []
        if posts:
            await self._decide(posts)

    # --- what comes in ------------------------------------------------------------------------------------------------

    async def findings(self, findings: Findings, now: int) -> None:
        """Symptoms of one advance; returns when they are committed. Raises StorageError."""
        for symptom in findings.symptoms:
            self._telemetry.symptoms.labels(symptom.detector, symptom.kind).inc(symptom.active)
        if findings.symptoms:
            await self._post(findings.symptoms, (), now, bounded=False)

    async def alerts(self, alerts: Sequence[Alert], now: int) -> None:
        """Alerts of one post; returns when they are committed. Raises Busy or StorageError."""
        if alerts:
            await self._post((), alerts, now)

    async def report(self, report: Report, who: str = "reporter") -> Ticket:
        """A person's words become a ticket; the same idempotency key finds the same one. ``who`` wrote them down."""
        async with self._lock:
            if report.idempotency_key and (known := await self.desk.known_report(report.idempotency_key)):
                return known
            trial = self.board.trial(fold)
            trial.apply(opening(trial.new_key(), report, who))
            done = await self._commit(trial, {}, report.received_at)
        return done[0].ticket

    async def act(
        self, key: str, action: str, viewer: Viewer, *, now: int, seen: int | None = None, **arguments: Any
    ) -> Ticket:
        """What a person does, one of :data:`detector.tickets.acts.ACTIONS`. ``seen``: when (ms) a person had last done
        something as the viewer knows it; where somebody has since, one of both has to look again. Raises NoSuchTicket,
        NotAllowed (with the remedy), StorageError."""
        if action == "categorise" and (category := arguments.get("category", "")) not in self.categories():
            raise NotAllowed(f"{category!r} is no category; there are: {', '.join(sorted(self.categories()))}")
        if action == "help" and (person := arguments.get("person", "")) not in self.people():
            raise NotAllowed(f"{person!r} cannot be called; who can: {', '.join(self.people()) or 'nobody'}")
        for _ in range(ATTEMPTS):
            async with self._lock:
                ticket = await self._seen(key, viewer)
                if seen is not None and seen != (ticket.last_step_at or 0):
                    raise NotAllowed(f"{key} was changed by somebody since you looked: look again")
                filled = await self._arguments.filled(ticket, action, viewer, arguments, self.board.tickets.values())
                changes = ACTIONS[action](ticket, viewer.name, now, **filled)
                if not changes:
                    return ticket
                for other in filled.values():
                    if isinstance(other, Ticket):
                        self.board.put(slim(other))
                trial = self.board.trial(fold)
                for change in changes:
                    trial.apply(change)
                if action == "split":
                    trial.new_key()
                    for part in list(trial.after.values()):
                        self._correlator.follow(part, trial, now)
                try:
                    done = await self._commit(trial, {}, now)
                except Conflict:
                    await self._refresh([key])
                    continue
            return await self._read(done[0].ticket.key)
        raise StorageError(f"{key} changes faster than it can be changed")

    async def silence(self, silences: Sequence[Silence], now: int) -> None:
        """From now on these are as they are here, new ones and known ones. Raises StorageError."""
        async with self._lock:
            await self.silences.save(*silences)
            await self._read_silences(now)
            await self._mute_all(now)

    def is_about_predictions(self, silence: Silence) -> bool:
        """Whether what it would mute at this moment is predicted only: then it is no word on the disruption."""
        return is_about_predictions(silence, self.board.tickets.values())

    def ticket_of(self, alert: Alert) -> Ticket | None:
        """The ticket that has this episode among its symptoms."""
        return self.board.by_symptom(alert_symptom(alert, self.policy.catalogue, self.policy.incidents).id)

    def alerts_firing(self, now: int) -> list[tuple[Alert, Hush | None]]:
        """What the Alertmanagers' API shows: each with why nobody is told of it."""
        silences = self.noise.at(now)
        tickets = (t for t in self.board.tickets.values() if t.state in OPEN)
        inhibitions = Inhibitions(self.noise.options.inhibit_rules, tickets)
        policy = self.policy
        return [
            (alert, hush(alert_symptom(alert, policy.catalogue, policy.incidents), silences, inhibitions))
            for alert in self.ledger.firing_alerts()
        ]

    async def each_open(self, decide: Callable[[Ticket], Iterable[Change]], now: int) -> list[Committed]:
        """Commit what ``decide`` says of every open ticket. Raises StorageError."""
        for _ in range(ATTEMPTS):
            async with self._lock:
                trial = self.board.trial(fold)
                for ticket in list(self.board.tickets.values()):
                    if ticket.state in OPEN:
                        for change in decide(ticket):
                            trial.apply(change)
                try:
                    return await self._commit(trial, {}, now)
                except Conflict:
                    await self._refresh(list(trial.after))
        raise StorageError("tickets change faster than they can be changed")

    def people(self) -> list[str]:
        """Who can be called."""
        return [person.name for person in self.policy.oncall.people]

    def categories(self) -> frozenset[str]:
        """All that are configured."""
        return frozenset({*DEFAULT_CATEGORIES, *(rule.category for rule in self.policy.tickets.categories)})

    async def tick(self, now: int) -> int | None:
        """What is due by the clock; returns when (ms) the next thing is, or None. Free while nothing is due."""
        following = self._next()
        if now < self._look_at and (following is None or now < following):
            return following
        async with self._lock:
            keys, self._next_due = await self.desk.due(now)
            if self._next_due is not None and now >= self._next_due:
                self._telemetry.timer_lateness.observe((now - self._next_due) / 1000)
            # Another process may have written what is due: look again soon, whatever is known here.
            self._look_at = now + LOOK_MS
            await self._read_silences(now)
            await self._refresh([key for key in keys if key not in self.board.tickets])
            if now >= self._backlog_at:
                self._backlog_at = now + BACKLOG_MS
                self._done = await self.desk.resolved_since(now - backlog.SPAN_MS)
            expired = self.ledger.expired(now)
            try:
                await self._sweep(keys, expired, now)
            except Conflict:
                await self._refresh(keys)
                self._look_at = now
                return now + RETRY_MS
            except StorageError:
                self._look_at = now
                raise
            except Exception:
                log.exception("what is due could not be decided together: each on its own")
                await self._sweep_each(keys, expired, now)
            self._forget(now)
        return self._next()

    async def _sweep(self, keys: Sequence[str], expired: Sequence[Entry], now: int) -> None:
        trial = self.board.trial(fold)
        options = self.policy
        if self._next_noise is not None and now >= self._next_noise:
            mute(self.board, trial, self.noise, now, every=True)
            self._next_noise = self.noise.next_change(now)
        for change in backlog.warnings(list(self.board.tickets.values()) if self._done else (), self._done, now):
            trial.apply(change)
        for key in keys:
            ticket = trial.ticket(key)
            if ticket is None:
                continue
            quiet, close = options.incidents.quiet_period, options.tickets.close_after
            due = ending(ticket, now, quiet, close, options.tickets.ack_expires)
            for change in due or self._facts(ticket, now):
                trial.apply(change)
        self._expire(expired, trial, now)
        # What expired keeps its time of expiry: it may come back at any time, unlike what was resolved.
        over = {
            (e.alert.fingerprint, e.alert.starts_at): replace(e, alert=replace(e.alert, status="resolved"))
            for e in expired
        }
        # A ticket that is due with nothing to say is written too: that moves its due time.
        await self._commit(trial, over, now, also=keys)

    async def _sweep_each(self, keys: Sequence[str], expired: Sequence[Entry], now: int) -> None:
        """One that fails does not stop the clocks of the others; it is tried again with the next look."""
        for alone in [*(([key], ()) for key in keys), *(((), [entry]) for entry in expired)]:
            try:
                await self._sweep(*alone, now)
            except StorageError:
                raise
            except Exception:
                log.exception("what is due could not be decided: %s", alone)

    def _next(self) -> int | None:
        known = (self._next_due, self.ledger.next_expiry(), self._next_noise)
        return min((at for at in known if at is not None), default=None)

    def _facts(self, ticket: Ticket, now: int) -> Iterable[Any]:
        return triage(ticket, self.policy.facts(ticket), self.policy.tickets, now)

    # --- deciding -----------------------------------------------------------------------------------------------------

    async def _post(self, symptoms: Sequence[Symptom], alerts: Sequence[Alert], now: int, bounded: bool = True) -> None:
        if bounded and len(self._waiting) >= MOST_WAITING:
            raise Busy
        post = _Post(symptoms, alerts, now, asyncio.get_running_loop().create_future())
        self._waiting.append(post)
        self._wake.set()
        # Shielded: a sender that goes away does not undo what others wait for.
        await asyncio.shield(post.done)

    async def _decide(self, posts: Sequence[_Post]) -> None:
        symptoms = [symptom for post in posts for symptom in post.symptoms]
        alerts = [alert for post in posts for alert in post.alerts]
        now = max(post.now for post in posts)
        try:
            # In portions, between which the event loop breathes. Should a later one fail, its sender comes again, and
            # what was committed is known then.
            for at in range(0, max(len(symptoms), len(alerts)), MOST_AT_ONCE):
                await self.step(symptoms[at : at + MOST_AT_ONCE], alerts[at : at + MOST_AT_ONCE], now)
        except StorageError as error:
            _refuse(posts, error)
            return
        except Exception as error:
            if len(posts) > 1:
                # One post that cannot be decided must not refuse those that waited beside it.
                for post in posts:
                    await self._decide([post])
                return
            log.exception("a decision failed")
            _refuse(posts, error)
            return
        for post in posts:
            if not post.done.done():
                post.done.set_result(None)

    async def step(self, symptoms: Sequence[Symptom], alerts: Sequence[Alert], now: int) -> list[Committed]:
        """Decide on these at ``now`` (ms) and commit; deterministic, the same for daemon and backtest."""
        async with self._lock:
            for _ in range(ATTEMPTS):
                policy = self.policy
                entries = self.ledger.sort(alerts, policy.catalogue, policy.incidents, now)
                news = [e.symptom for e in entries.values() if e.news and e.symptom is not None]
                trial = self.board.trial(fold)
                self._correlator.decide([*symptoms, *news], trial, now)
                try:
                    done = await self._commit(trial, entries, now)
                except Conflict:
                    await self._refresh(list(trial.after))
                    continue
                self.board.hold(trial.held.values())
                return done
        raise StorageError("tickets change faster than they can be changed")

    async def _commit(
        self, trial: Trial, entries: dict[tuple[str, int], Entry], now: int, also: Sequence[str] = ()
    ) -> list[Committed]:
        mute(self.board, trial, self.noise, now)
        self._triage(trial, now)
        self._hold_pages(trial, now, [*trial.after, *also])
        changes: dict[str, list[Change]] = {}
        for change in trial.changes:
            changes.setdefault(change.key, []).append(change)
        drafts = [self._draft(key, ticket, changes[key], now) for key, ticket in trial.after.items()]
        drafts += [
            self._draft(key, ticket, (), now)
            for key in also
            if key not in trial.after and (ticket := self.board.tickets.get(key)) is not None
        ]
        ledger = [self._episode(entry, trial) for entry in entries.values()]
        if not drafts and not ledger:
            return []
        try:
            done = await self.desk.commit(drafts, ledger)
        except StorageError as error:
            self.failing = str(error)
            raise
        self.failing = None
        due = [at for at in (self._next_due, *(draft.due_at for draft in drafts)) if at is not None]
        self._next_due = min(due, default=None)
        for result, count in self.ledger.keep(entries.values()).items():
            self._telemetry.alerts_decided.labels(result).inc(count)
        for committed in done:
            self.board.put(slim(committed.ticket))
            self._counts.committed(committed, self.categories())
            self._counts.put(committed.ticket)
            self._freeze(committed)
            for telling in list(self._tellings.values()):
                telling(committed)
        return done

    def _triage(self, trial: Trial, now: int) -> None:
        """Category, priority, tier and clocks follow from the facts in the same transaction."""
        for key in list(trial.after):
            ticket = trial.after[key]
            if ticket.state == "merged":
                continue
            said = self.policy.tickets.communication
            for change in communicate(ticket, said.templates, said.review != "nobody", now):
                ticket = trial.apply(change)
            for change in triage(ticket, self.policy.facts(ticket), self.policy.tickets, now):
                trial.apply(change)

    def _hold_pages(self, trial: Trial, now: int, keys: Iterable[str]) -> None:
        """Nobody is woken for tomorrow, once it is known how urgent it is."""
        hours, fixes = self.policy.oncall.working_hours, self.policy.tickets.fixes
        for key in dict.fromkeys(keys):
            ticket = trial.ticket(key)
            if ticket is not None:
                for change in night.decide(ticket, hours, fixes, now):
                    trial.apply(change)

    async def _mute_all(self, now: int) -> None:
        for _ in range(ATTEMPTS):
            trial = self.board.trial(fold)
            mute(self.board, trial, self.noise, now, every=True)
            try:
                await self._commit(trial, {}, now)
            except Conflict:
                await self._refresh(list(trial.after))
                continue
            return
        raise StorageError("tickets change faster than they can be changed")

    async def _read_silences(self, now: int) -> None:
        self.noise = Noise(self.policy.noise, await self.silences.since(now - SILENCES_SHOWN_MS))
        self._next_noise = self.noise.next_change(now)

    def _draft(self, key: str, ticket: Ticket, changes: Sequence[Change], now: int) -> Draft:
        before = self.board.tickets.get(key)
        quiet, close = self.policy.incidents.quiet_period, self.policy.tickets.close_after
        holds = self.policy.tickets.ack_expires
        dawn = night.next_look(ticket, self.policy.oncall.working_hours, now)
        due = [at for at in (next_due(ticket, quiet, close, holds), next_urgency(ticket, now), dawn) if at is not None]
        return Draft(before, ticket, tuple(changes), min(due, default=None))

    def _episode(self, entry: Entry, trial: Trial) -> Episode:
        ticket = trial.by_symptom(entry.symptom.id) if entry.symptom is not None else None
        key = ticket.key if ticket is not None and entry.result == "ticket" else None
        return Episode(entry.alert, entry.result, key, entry.received, entry.expires_at, entry.stored)

    def _expire(self, expired: Sequence[Entry], trial: Trial, now: int) -> None:
        for entry in expired:
            for symptom in end_of(entry, self.policy.catalogue, self.policy.incidents, now):
                self._correlator.decide([symptom], trial, now)
                ticket = trial.by_symptom(symptom.id)
                if ticket is not None and not symptom.active:
                    text = f"{symptom.name} was neither repeated nor resolved: it counts as over"
                    trial.apply(Noted(ticket.key, now, text=text))

    async def _seen(self, key: str, viewer: Viewer) -> Ticket:
        """The ticket as decisions see it, if this viewer may; put on the board where it had left it."""
        stored = await self.desk.ticket(key, viewer)
        if stored is None:
            raise NoSuchTicket(key)
        self.board.put(slim(stored))
        return slim(stored)

    async def _read(self, key: str) -> Ticket:
        ticket = await self.desk.ticket(key, SYSTEM)
        assert ticket is not None
        return ticket

    async def _refresh(self, keys: Iterable[str]) -> None:
        """Read these again: somebody else changed them."""
        for key in keys:
            if (ticket := await self.desk.ticket(key, SYSTEM)) is not None:
                self.board.drop(key)
                self.board.put(slim(ticket))

    def _forget(self, now: int) -> None:
        horizon = now - self.policy.incidents.reopen_window
        ended = [
            t
            for t in self.board.tickets.values()
            if t.state not in OPEN and max(t.resolved_at or 0, t.closed_at or 0) < horizon
        ]
        for ticket in ended:
            self.board.retire(ticket)
        self.board.let_go(now - MEMORY_MS)
        self.ledger.forget(now - MEMORY_MS)

    # --- telling ------------------------------------------------------------------------------------------------------

    def _freeze(self, committed: Committed) -> None:
        """Models do not learn from what an open incident is about. Each freeze has its one thaw: what another ticket
        took in stays frozen until that one is over."""
        ticket = committed.ticket
        joined = {c.symptom.id for c in committed.changes if isinstance(c, SymptomJoined) and c.new}
        if any(isinstance(change, Resolved) for change in committed.changes):
            self._control("thaw", [s for s in ticket.symptoms if s.id not in joined])
        elif any(isinstance(change, Reopened) for change in committed.changes):
            self._control("freeze", ticket.symptoms)
        elif ticket.state in OPEN:
            self._control("freeze", [s for s in ticket.symptoms if s.id in joined] if joined else ())

    def _control(self, kind: Literal["freeze", "thaw"], symptoms: Iterable[Symptom]) -> None:
        labels = tuple(tuple(sorted(s.labels.items())) for s in symptoms if s.detector in MODELLED)
        if labels:
            self._on_control(Control(kind, labels))


def _refuse(posts: Iterable[_Post], error: Exception) -> None:
    for post in posts:
        if not post.done.done():
            post.done.set_exception(error)
            post.done.exception()


__all__ = ["NotAllowed", "Pipeline", "StorageError", "Telling"]
