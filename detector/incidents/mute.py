"""Of what nobody is to be told: silences, maintenance windows, inhibition. Pure.

All three work on labels and time, never on an alert or a ticket: what flaps, returns or is seen first in the middle of
a window is treated as what was there before. They keep nothing from being seen: what is muted is recorded, has its
incident and its place on the board; only messages and clocks wait. The incident speaks as soon as one of its active
symptoms is no longer muted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, model_validator

from detector.incidents.board import OPEN, Board, Trial
from detector.incidents.matchers import Matcher, MatcherText, every, matcher
from detector.nouns import Change, Muted, Priority, Silence, Symptom, SymptomJoined, Ticket, Unmuted
from detector.options import Duration, Options
from detector.worktime import WEEKDAYS, Wall, Weekday, WorkingHours, Zone, shuts

_ANYTHING = frozenset({".*", ".+", "", "^.*$", "^.+$", "(.*)", "(.+)"})
_SOON_MS = 8 * 86_400_000
"""How far ahead the next start of a window is looked for: a week and a day."""


# --- options ----------------------------------------------------------------------------------------------------------


_WITH_MATCHERS = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, arbitrary_types_allowed=True)


class InhibitRule(Options):
    """Alertmanager's ``inhibit_rules``: while something that matches ``source_matchers`` is active, nobody is told of
    what matches ``target_matchers`` and has the same value of each label in ``equal``."""

    model_config = _WITH_MATCHERS

    source_matchers: tuple[MatcherText, ...] = Field(min_length=1)
    target_matchers: tuple[MatcherText, ...] = Field(min_length=1)
    equal: tuple[str, ...] = ()


class Maintenance(Options):
    """A window in which nobody is told of what matches: once, from ``start`` to ``end``, or again and again, on
    ``days`` at ``at`` for as long as it ``lasts``."""

    model_config = _WITH_MATCHERS

    name: str = Field(min_length=1, max_length=100)
    matchers: tuple[MatcherText, ...] = Field(min_length=1)
    reason: str = Field(min_length=1, max_length=500)
    start: datetime | None = None
    end: datetime | None = None
    days: tuple[Weekday, ...] = ()
    at: Wall | None = None
    """Wall time in ``zone``; its first occurrence where it comes twice."""
    lasts: Duration | None = Field(None, ge=60_000, le=7 * 86_400_000)
    zone: Zone = "UTC"
    until: date | None = None
    """The last day on which it begins; a recurring window without an end is a silence that nobody remembers."""
    public: bool = False
    """Announced on the status page."""

    @model_validator(mode="after")
    def _one(self) -> Maintenance:
        once, again = (self.start, self.end), (self.at, self.lasts, self.until)
        if all(once) and not any(again) and not self.days:
            assert self.start is not None
            assert self.end is not None
            if self.start.tzinfo is None or self.end.tzinfo is None:
                raise ValueError("start and end need their offset, such as 2026-12-24T18:00:00+01:00")
            if self.end <= self.start:
                raise ValueError("end is not after start")
        elif not (all(again) and self.days and not any(once)):
            raise ValueError("give start and end (once), or days, at, lasts and until (again and again)")
        return self


class QuietHours(WorkingHours):
    """When messages that page nobody wait for the morning, and come as one digest a channel."""

    days: tuple[Weekday, ...] = WEEKDAYS
    hours: tuple[Wall, Wall] = (time(22), time(7))
    priorities: tuple[Priority, ...] = ("P3", "P4")
    """Of tickets with these."""


class NoiseOptions(Options):
    """Of what nobody is told, or not now."""

    quiet_hours: QuietHours | None = None

    inhibit_rules: tuple[InhibitRule, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()

    @model_validator(mode="after")
    def _names(self) -> NoiseOptions:
        names = [window.name for window in self.maintenance]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"maintenance: {', '.join(twice)} is there twice")
        return self


def quiet_until(ticket: Ticket, options: NoiseOptions, now: int) -> int | None:
    """When (ms) the quiet hours end in which messages of this ticket wait; None: they do not."""
    quiet = options.quiet_hours
    return shuts(quiet, now) if quiet is not None and ticket.priority in quiet.priorities else None


# --- windows ----------------------------------------------------------------------------------------------------------


def windows(options: NoiseOptions, start: int, end: int) -> list[tuple[Maintenance, int, int]]:
    """Every window that overlaps ``start`` to ``end`` (ms), with when it begins and ends, by its beginning."""
    found = [
        (window, low, high)
        for window in options.maintenance
        for low, high in _spans(window, start, end)
        if low < end and high > start
    ]
    return sorted(found, key=lambda span: (span[1], span[0].name))


def _spans(window: Maintenance, start: int, end: int) -> Iterator[tuple[int, int]]:
    if window.start is not None and window.end is not None:
        yield round(window.start.timestamp() * 1000), round(window.end.timestamp() * 1000)
        return
    assert window.at is not None
    assert window.lasts is not None
    assert window.until is not None
    zone = ZoneInfo(window.zone)
    day = datetime.fromtimestamp((start - window.lasts) / 1000, UTC).astimezone(zone).date() - timedelta(1)
    last = min(window.until, datetime.fromtimestamp(end / 1000, UTC).astimezone(zone).date())
    while day <= last:
        if WEEKDAYS[day.weekday()] in window.days:
            begins = round(datetime.combine(day, window.at, zone).timestamp() * 1000)
            yield begins, begins + window.lasts
        day += timedelta(1)


# --- silences ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compiled:
    """A silence, or a window that is open, ready to be asked."""

    silence: Silence
    matchers: tuple[Matcher, ...]

    def covers(self, symptom: Symptom, labels: Mapping[str, str]) -> bool:
        return every(self.matchers, labels) and (self.silence.covers == "all" or not symptom.disruption)


def compiled(silence: Silence) -> Compiled:
    """ValueError for a matcher that is none."""
    return Compiled(silence, tuple(matcher(*parts) for parts in silence.matchers))


def covers_too_much(silence: Silence) -> bool:
    """Whether it says nothing about what it is for: every matcher fits whatever there is."""
    return all(
        (op == "=~" and value in _ANYTHING) or (op == "!=" and value == "") or (op == "!~" and value == "")
        for _, op, value in silence.matchers
    )


def named_labels(symptom: Symptom) -> dict[str, str]:
    """What matchers see of a symptom: its labels, and under the usual names what it has instead of a label."""
    known = {"alertname": symptom.name, "service": symptom.service, "detector": symptom.detector,
             "category": symptom.category or "", "severity": symptom.severity or ""}  # fmt: skip
    return known | dict(symptom.labels)


# --- what a decision asks ---------------------------------------------------------------------------------------------


class Noise:
    """Everything that mutes at a moment. One value: replaced when a silence comes or goes, or the configuration."""

    def __init__(self, options: NoiseOptions | None = None, silences: Iterable[Silence] = ()) -> None:
        self.options = options or NoiseOptions()
        self.silences = tuple(silences)
        self._compiled = [compiled(silence) for silence in self.silences]

    def __bool__(self) -> bool:
        return bool(self.silences or self.options.inhibit_rules or self.options.maintenance)

    def at(self, now: int) -> list[Compiled]:
        """What silences at ``now``, windows as silences of their own."""
        found = [c for c in self._compiled if c.silence.starts_at <= now < c.silence.ends_at]
        for window, low, high in windows(self.options, now, now + 1):
            silence = Silence(
                f"maintenance/{window.name}", tuple((m.name, m.op, m.value) for m in window.matchers), low, high, low,
                "configuration", window.reason,
            )  # fmt: skip
            found.append(Compiled(silence, window.matchers))
        return found

    def next_change(self, now: int) -> int | None:
        """When (ms) something begins to mute next, or ends."""
        edges = [at for s in self.silences for at in (s.starts_at, s.ends_at)]
        edges += [at for _, low, high in windows(self.options, now, now + _SOON_MS) for at in (low, high)]
        return min((at for at in edges if at > now), default=None)

    def inhibits(self, symptom: Symptom) -> bool:
        """Whether it is one on account of which others are muted."""
        labels = named_labels(symptom)
        return any(every(rule.source_matchers, labels) for rule in self.options.inhibit_rules)


class Inhibitions:
    """Which inhibiting symptoms are active now, ready to be asked. A symptom that is source and target of a rule is not
    inhibited by another that is both, as in Alertmanager: two of a kind would mute each other."""

    def __init__(self, rules: Sequence[InhibitRule], tickets: Iterable[Ticket]) -> None:
        self._rules = rules
        self._all: list[dict[tuple[str, ...], Symptom]] = [{} for _ in rules]
        self._pure: list[dict[tuple[str, ...], Symptom]] = [{} for _ in rules]
        if not rules:
            return
        for ticket in tickets:
            for symptom in ticket.symptoms:
                if symptom.active:
                    self._add(symptom)

    def _add(self, symptom: Symptom) -> None:
        labels = named_labels(symptom)
        for number, rule in enumerate(self._rules):
            if every(rule.source_matchers, labels):
                equal = tuple(labels.get(name, "") for name in rule.equal)
                self._all[number].setdefault(equal, symptom)
                if not every(rule.target_matchers, labels):
                    self._pure[number].setdefault(equal, symptom)

    def source(self, symptom: Symptom, labels: Mapping[str, str]) -> Symptom | None:
        """What inhibits ``symptom``, if anything."""
        for number, rule in enumerate(self._rules):
            if not every(rule.target_matchers, labels):
                continue
            known = self._pure if every(rule.source_matchers, labels) else self._all
            found = known[number].get(tuple(labels.get(name, "") for name in rule.equal))
            if found is not None and found.id != symptom.id:
                return found
        return None


@dataclass(frozen=True, slots=True)
class Hush:
    """Why nobody is told of one symptom."""

    by: str
    reason: str
    until: int | None
    kind: Literal["silenced", "inhibited"]


def hush(symptom: Symptom, silences: Sequence[Compiled], inhibitions: Inhibitions) -> Hush | None:
    """What mutes it, the silence that lasts longest first; None: nothing does."""
    labels = named_labels(symptom)
    fits = [c.silence for c in silences if c.covers(symptom, labels)]
    if fits:
        last = max(fits, key=lambda s: s.ends_at)
        return Hush(last.id, last.comment or f"silenced by {last.created_by}", last.ends_at, "silenced")
    source = inhibitions.source(symptom, labels)
    if source is not None:
        return Hush(source.id, f"inhibited by {source.name} of {source.service}", None, "inhibited")
    return None


def muting(ticket: Ticket, silences: Sequence[Compiled], inhibitions: Inhibitions, now: int) -> list[Change]:
    """Whether people are told of the ticket, as far as that differs from what it was. While all is quiet it stays as it
    is: what resolved inside a window is not told when the window ends."""
    holding = [s for s in ticket.symptoms if s.active and s.detector != "anomaly"]
    if not holding:
        return []
    found = [hush(symptom, silences, inhibitions) for symptom in holding]
    hushes = [one for one in found if one is not None]
    if len(hushes) < len(found):
        unmuted = Unmuted(ticket.key, now, reason=_loud(ticket, found, holding))
        return [unmuted] if ticket.muted_since is not None else []
    by = tuple(dict.fromkeys(one.by for one in hushes))
    until = min((one.until for one in hushes if one.until is not None), default=None)
    if ticket.muted_since is not None and (by, until) == (ticket.muted_by, ticket.muted_until):
        return []
    reason = "; ".join(dict.fromkeys(one.reason for one in hushes))[:500]
    return [Muted(ticket.key, now, by=by, reason=reason, until=until)]


def _loud(ticket: Ticket, found: Sequence[Hush | None], holding: Sequence[Symptom]) -> str:
    """Why people are told again."""
    loud = next(symptom for symptom, one in zip(holding, found, strict=True) if one is None)
    if loud.disruption:
        return "users are hurt: the silence was for a prediction, or for something else"
    if all(by.startswith("maintenance/") for by in ticket.muted_by):
        return "the maintenance window is over, and it goes on"
    return "it is no longer silenced, and it goes on"


# --- over a board -----------------------------------------------------------------------------------------------------


def is_about_predictions(silence: Silence, tickets: Iterable[Ticket]) -> bool:
    """Whether all that it would mute now is predicted only, and there is something."""
    asked = compiled(silence)
    active = (s for t in tickets if t.state in OPEN for s in t.symptoms if s.active)
    found = [symptom for symptom in active if asked.covers(symptom, named_labels(symptom))]
    return bool(found) and not any(s.disruption or s.detector == "alert" for s in found)


def mute(board: Board, trial: Trial, noise: Noise, now: int, *, every: bool = False) -> None:
    """Record on ``trial`` of which tickets people are told no more, or again: of those whose muting may have changed
    with the changes on it, or of ``every`` open one."""
    keys = list(board.tickets) if every else _to_judge(board, trial, noise)
    if not keys:
        return
    silences = noise.at(now)
    known = {**board.tickets, **trial.after}
    inhibitions = Inhibitions(noise.options.inhibit_rules, (t for t in known.values() if t.state in OPEN))
    for key in keys:
        ticket = trial.ticket(key)
        if ticket is not None and ticket.state in OPEN:
            for change in muting(ticket, silences, inhibitions, now):
                trial.apply(change)


def _to_judge(board: Board, trial: Trial, noise: Noise) -> list[str]:
    """What the trial changes, what is muted, and all that is open where a symptom came or went on account of which
    others are muted."""
    muted = [key for key, ticket in board.tickets.items() if ticket.muted_since is not None]
    if not noise:
        return muted
    news = (c.symptom for c in trial.changes if isinstance(c, SymptomJoined))
    if any(noise.inhibits(symptom) for symptom in news):
        return list(dict.fromkeys((*trial.after, *board.tickets)))
    return list(dict.fromkeys((*trial.after, *muted)))
