"""One incident per cause: which ticket a symptom belongs to, and which phase that ticket is in.

Pure: symptoms and a :class:`~detector.incidents.board.Trial` in, changes recorded on the trial. The order of the
symptoms is the order of the decisions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from detector.incidents.alerts import disrupts
from detector.incidents.board import OPEN, Trial
from detector.incidents.catalogue import Catalogue
from detector.incidents.options import IncidentOptions, Mode
from detector.nouns import (
    Absorbed,
    Affected,
    Evidence,
    ForecastChanged,
    Impact,
    Merged,
    Opened,
    Phase,
    PhaseChanged,
    Reopened,
    Symptom,
    SymptomJoined,
    SymptomRefreshed,
    Ticket,
)

_RANK: dict[Mode, int] = {"shadow": 0, "ticket": 1, "page": 2}
_FORECAST_NEWS = 0.15
"""A forecast that moved by less than this share of the time that is left is no news."""
_FORECAST_FLOOR = 60_000
_REFRESH_MS = 60_000
"""How old the stored values of a symptom become at most while it goes on; its chart is drawn from them."""


class Correlator:
    """The rules by which symptoms join, open, merge and end; built once per configuration, holds no state."""

    def __init__(self, catalogue: Catalogue, options: IncidentOptions) -> None:
        self.catalogue = catalogue
        self.options = options

    def decide(self, symptoms: Iterable[Symptom], trial: Trial, now: int) -> None:
        """Record on ``trial`` what each symptom changes; ``now`` (ms) is when it was decided."""
        for symptom in symptoms:
            symptom = self._marked(finite(symptom))
            known = trial.by_symptom(symptom.id)
            if known is not None:
                self._news(known, symptom, trial, now)
            elif symptom.active and not self._is_mute(symptom):
                self._new(symptom, trial, now)
            elif any(held.id == symptom.id for held in trial.held_of(symptom.service)):
                trial.held[symptom.id] = symptom

    def _marked(self, symptom: Symptom) -> Symptom:
        """Rules, too, disrupt when the configured matchers say so."""
        if symptom.detector == "rule" and not symptom.disruption and disrupts(symptom.labels, self.options.disruption):
            return replace(symptom, disruption=True)
        return symptom

    def _is_mute(self, symptom: Symptom) -> bool:
        return symptom.severity == "none" or (
            symptom.name == self.options.watchdog.alertname and (symptom.detector in ("alert", "rule"))
        )

    # --- a symptom that has a ticket ----------------------------------------------------------------------------------

    def _news(self, ticket: Ticket, symptom: Symptom, trial: Trial, now: int) -> None:
        before = next(s for s in reversed(ticket.symptoms) if s.id == symptom.id)
        returns = symptom.active and not before.active
        kept = replace(symptom, evidence=symptom.evidence or before.evidence, first_at=before.first_at)
        if ticket.state not in OPEN and returns:
            reopened = self._reopened(ticket, symptom, trial, now)
            if reopened is None:
                self._new(symptom, trial, now)
                return
            ticket = reopened
        if ticket.state not in OPEN:
            # Resolved by a person while it was active: that it ended is kept, so that its return is seen as one.
            if before.active and not symptom.active:
                trial.apply(SymptomJoined(ticket.key, now, symptom=kept, new=False))
        elif _is_news(before, symptom, now):
            ticket = trial.apply(SymptomJoined(ticket.key, now, symptom=kept, new=False))
            self._follow(ticket, trial, now)
        elif symptom.last_at - before.last_at >= _REFRESH_MS:
            trial.apply(SymptomRefreshed(ticket.key, now, symptom=kept))

    # --- a symptom that has none --------------------------------------------------------------------------------------

    def _new(self, symptom: Symptom, trial: Trial, now: int) -> None:
        mode = self.options.mode(symptom.family, symptom.service)
        ticket = self._returning(symptom, mode, trial, now) or self._home(symptom, mode, trial, now)
        if ticket is not None:
            self._join(ticket, symptom, mode, trial, now)
            return
        held = trial.held_of(symptom.service)
        if symptom.detector == "anomaly" or not self._is_corroborated(symptom, held):
            # Context for an incident that opens later, never (or not yet) the reason for one.
            trial.held[symptom.id] = symptom
            return
        ticket = self._join(self._opened(symptom, mode, trial, now), symptom, mode, trial, now)
        for other in held:
            its = self.options.mode(other.family, other.service)
            counted = other.active or self.options.corroborated(other.family, other.service) is not None
            if counted and (its == "shadow") == (mode == "shadow"):
                ticket = self._join(ticket, other, its, trial, now)

    def _is_corroborated(self, symptom: Symptom, held: list[Symptom]) -> bool:
        rule = self.options.corroborated(symptom.family, symptom.service)
        if rule is None:
            return True
        others = [
            s
            for s in held
            if s.id != symptom.id
            and rule.fits(s.family, s.service)
            and abs(symptom.first_at - s.first_at) <= rule.within
        ]
        return len(others) + 1 >= rule.count

    def _returning(self, symptom: Symptom, mode: Mode, trial: Trial, now: int) -> Ticket | None:
        """The ticket that had this symptom before: flapping does not open a second one."""
        ticket = trial.by_subject(symptom)
        if ticket is None or (ticket.mode == "shadow") != (mode == "shadow"):
            return None
        if ticket.state in OPEN:
            return ticket
        return self._reopened(ticket, symptom, trial, now)

    def _reopened(self, ticket: Ticket, symptom: Symptom, trial: Trial, now: int) -> Ticket | None:
        ended = ticket.resolved_at if ticket.resolved_at is not None else ticket.closed_at
        if ended is None or now - ended > self.options.reopen_window:
            return None
        return trial.apply(Reopened(ticket.key, now, reason=f"{symptom.name} is back"))

    def _home(self, symptom: Symptom, mode: Mode, trial: Trial, now: int) -> Ticket | None:
        """An open incident of the same service and item, or of a service that the catalogue links."""
        candidates = [t for t in trial.open_of(symptom.service) if (t.mode == "shadow") == (mode == "shadow")]
        if symptom.item and candidates:
            return self._of_item(symptom, candidates, trial, now)
        if candidates:
            return candidates[0]
        for service in self._neighbours(symptom.service):
            for ticket in trial.open_of(service):
                if (ticket.mode == "shadow") == (mode == "shadow") and not (symptom.item and _items(ticket)):
                    return ticket
        return None

    def _of_item(self, symptom: Symptom, candidates: list[Ticket], trial: Trial, now: int) -> Ticket | None:
        same = [t for t in candidates if symptom.item in _items(t)]
        without = [t for t in candidates if not _items(t)]
        if same or without:
            return (same or without)[0]
        recent = [t for t in candidates if now - t.opened_at <= self.options.gather_window]
        gathered = [t for t in candidates if len(_items(t)) >= self.options.gather_items]
        if gathered:
            return gathered[0]
        if len({item for t in recent for item in _items(t)} | {symptom.item}) >= self.options.gather_items:
            return self._gather(recent, trial, now)
        return None

    def _gather(self, tickets: list[Ticket], trial: Trial, now: int) -> Ticket:
        """Several items of one service at once are one cause: the oldest ticket, or the one that somebody holds, takes
        the others in."""
        first = next((t for t in tickets if t.acknowledged_at is not None), tickets[0])
        for other in tickets:
            if other.key == first.key:
                continue
            trial.apply(Merged(other.key, now, into=first.key))
            affected = first.affected
            for symptom in other.symptoms:
                affected = self._affected(affected, symptom)
            higher = other.mode if _RANK[other.mode] > _RANK[first.mode] else None
            first = trial.apply(
                Absorbed(first.key, now, source=other.key, symptoms=other.symptoms, mode=higher, affected=affected)
            )
        return first

    def _neighbours(self, service: str) -> tuple[str, ...]:
        entry = self.catalogue.entry(service)
        needs = entry.depends_on if entry else ()
        return (*needs, *self.catalogue.impacted(service))

    def _opened(self, symptom: Symptom, mode: Mode, trial: Trial, now: int) -> Ticket:
        before = trial.by_subject(symptom)
        return trial.apply(
            Opened(
                trial.new_key(),
                now,
                source="alert" if symptom.detector == "alert" else "detected",
                service=symptom.service,
                mode=mode,
                phase="disrupting" if symptom.disruption else "predicted",
                first_symptom_at=symptom.first_at,
                follows=before.key if before is not None else trial.past(symptom),
            )
        )

    def _join(self, ticket: Ticket, symptom: Symptom, mode: Mode, trial: Trial, now: int) -> Ticket:
        higher = mode if _RANK[mode] > _RANK[ticket.mode] else None
        affected = self._affected(ticket.affected, symptom)
        ticket = trial.apply(SymptomJoined(ticket.key, now, symptom=symptom, mode=higher, affected=affected))
        # One more active symptom changes nothing else, unless it is worse than the phase: a storm stays cheap.
        worse = symptom.disruption and ticket.phase != "disrupting"
        if symptom.active and not worse and symptom.impact is None and ticket.phase != "over":
            return ticket
        return self._follow(ticket, trial, now)

    def follow(self, ticket: Ticket, trial: Trial, now: int) -> Ticket:
        """Phase and forecast of a ticket whose symptoms a person has changed."""
        return self._follow(ticket, trial, now)

    # --- what follows from a ticket's symptoms ------------------------------------------------------------------------

    def _follow(self, ticket: Ticket, trial: Trial, now: int) -> Ticket:
        """Phase and forecast are functions of the symptoms."""
        phase, reason = phase_of(ticket)
        if phase != ticket.phase:
            ticket = trial.apply(PhaseChanged(ticket.key, now, phase=phase, previous=ticket.phase, reason=reason))
        impact = nearest_impact(ticket)
        if _forecast_moved(ticket.impact, impact, now):
            ticket = trial.apply(ForecastChanged(ticket.key, now, impact=impact))
        return ticket

    def _affected(self, known: tuple[Affected, ...], symptom: Symptom) -> tuple[Affected, ...]:
        """Origin and impacted services with their items, this symptom's among them."""
        own = next((a for a in known if a.service == symptom.service), None)
        if own is not None and (not symptom.item or symptom.item in own.items):
            return known
        items: dict[str, dict[str, None]] = {a.service: dict.fromkeys(a.items) for a in known}
        how = {a.service: a.how for a in known}
        found = items.setdefault(symptom.service, {})
        if symptom.item:
            found[symptom.item] = None
        how.setdefault(symptom.service, "origin")
        for service in self.catalogue.impacted(symptom.service):
            items.setdefault(service, {})
            how.setdefault(service, "impacted")
        return tuple(Affected(service, tuple(names), how[service]) for service, names in items.items())


def phase_of(ticket: Ticket) -> tuple[Phase, str]:
    """The phase that the symptoms call for, and why. What disrupted recovers before it is over; ``over`` comes only
    with the end of the quiet period."""
    active = [s for s in ticket.symptoms if s.active and s.detector != "anomaly"]
    worst = next((s for s in active if s.disruption), None)
    if worst is not None:
        return "disrupting", worst.summary
    if ticket.phase in ("disrupting", "recovering"):
        return "recovering", "no symptom says any more that users are hurt"
    if ticket.phase == "over" and not active:
        return "over", ""
    return "predicted", "symptoms, but nobody is hurt yet"


def nearest_impact(ticket: Ticket) -> Impact | None:
    """The forecast that comes true first among active symptoms; the last one is kept when none is left."""
    found = [s.impact for s in ticket.symptoms if s.active and s.impact is not None]
    return min(found, key=lambda i: (i.likely, i.earliest, i.latest)) if found else ticket.impact


def finite(symptom: Symptom) -> Symptom:
    """The symptom with numbers that every store and reader can hold: NaN and infinity become None or go."""

    def number(value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None

    evidence = symptom.evidence
    if evidence is not None:
        evidence = _finite_evidence(evidence)
    return replace(
        symptom,
        score=symptom.score if math.isfinite(symptom.score) else 99.0,
        value=number(symptom.value),
        lower=number(symptom.lower),
        upper=number(symptom.upper),
        evidence=evidence,
    )


def _finite_evidence(evidence: Evidence) -> Evidence:
    banded = len(evidence.lower) == len(evidence.upper) == len(evidence.at)
    rows = [i for i, value in enumerate(evidence.value) if math.isfinite(value)]
    if banded and not all(math.isfinite(evidence.lower[i]) and math.isfinite(evidence.upper[i]) for i in rows):
        banded = False
    return replace(
        evidence,
        at=tuple(evidence.at[i] for i in rows),
        value=tuple(evidence.value[i] for i in rows),
        lower=tuple(evidence.lower[i] for i in rows) if banded else (),
        upper=tuple(evidence.upper[i] for i in rows) if banded else (),
        limit=evidence.limit if evidence.limit is not None and math.isfinite(evidence.limit) else None,
        forecast=tuple(point for point in evidence.forecast if all(map(math.isfinite, point))),
    )


def _items(ticket: Ticket) -> set[str]:
    return {symptom.item for symptom in ticket.symptoms if symptom.item}


def _is_news(before: Symptom, after: Symptom, now: int) -> bool:
    return (
        before.active != after.active
        or before.disruption != after.disruption
        or before.severity != after.severity
        or _forecast_moved(before.impact, after.impact, now)
    )


def _forecast_moved(before: Impact | None, after: Impact | None, now: int) -> bool:
    if after is None or before is None:
        return after is not before
    left = max(0, before.likely - now)
    return abs(after.likely - before.likely) > max(_FORECAST_FLOOR, _FORECAST_NEWS * left)
