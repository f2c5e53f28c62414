"""The tickets that a decision has to look at, found by symptom, by subject and by service; changed by folding.

A *subject* is what a symptom is about, whenever: detector, name and labels. A flapping alert is one subject.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace

from detector.nouns import Change, Symptom, Ticket

Fold = Callable[[Ticket | None, Change], Ticket]
"""``fold(ticket, change)``: the ticket after the change; None before it was opened."""

_MOST_PAST = 20_000
_MOST_HELD = 200
OPEN = frozenset({"logged", "triaged", "diagnosing", "waiting", "reopened"})


def subject(symptom: Symptom) -> Hashable:
    """What the symptom is about, without its onset."""
    return symptom.detector, symptom.kind, symptom.name, symptom.metric, frozenset(symptom.labels.items())


class Board:
    """Open tickets, and those that ended recently enough to be reopened. One writer.

    Decisions are made on a :meth:`trial`, which sees its own changes and leaves the board as it is; what was committed
    is put on the board with :meth:`put`.
    """

    def __init__(self, tickets: Iterable[Ticket] = ()) -> None:
        self.tickets: dict[str, Ticket] = {}
        self._symptoms: dict[str, str] = {}
        self._subjects: dict[Hashable, str] = {}
        self._services: dict[str, dict[str, None]] = {}
        self._past: dict[Hashable, str] = {}
        self._held: dict[str, dict[str, Symptom]] = {}
        for ticket in tickets:
            self.put(ticket)

    def put(self, ticket: Ticket) -> None:
        """The ticket as it is now; a merged one leaves the board."""
        old = self.tickets.get(ticket.key)
        if ticket.state == "merged":
            self.drop(ticket.key)
            return
        if old is not None and len(ticket.symptoms) < len(old.symptoms):
            # Some went on in another ticket: what was known of the others stands as it is.
            self.drop(ticket.key)
            old = None
        self.tickets[ticket.key] = ticket
        self._services.setdefault(ticket.service, {})[ticket.key] = None
        # Symptoms are only ever appended or replaced in their place: what is new stands at the end.
        for symptom in ticket.symptoms[len(old.symptoms) if old is not None else 0 :]:
            self._symptoms[symptom.id] = ticket.key
            self._subjects[subject(symptom)] = ticket.key

    def drop(self, key: str) -> None:
        """Forget the ticket: it is merged, or ended too long ago to come back."""
        old = self.tickets.pop(key, None)
        if old is None:
            return
        keys = self._services.get(old.service, {})
        keys.pop(key, None)
        if not keys:
            self._services.pop(old.service, None)
        for symptom in old.symptoms:
            if self._symptoms.get(symptom.id) == key:
                del self._symptoms[symptom.id]
            about = subject(symptom)
            if self._subjects.get(about) == key:
                del self._subjects[about]

    def retire(self, ticket: Ticket) -> None:
        """It ended too long ago to be reopened; what it was about is remembered, so that a new one can name it."""
        self.drop(ticket.key)
        for symptom in ticket.symptoms:
            about = subject(symptom)
            self._past.pop(about, None)
            self._past[about] = ticket.key
        while len(self._past) > _MOST_PAST:
            del self._past[next(iter(self._past))]

    def forget(self, keys: Collection[str]) -> None:
        """These are no longer stored: nothing may name them."""
        for key in keys:
            self.drop(key)
        self._past = {about: key for about, key in self._past.items() if key not in keys}

    def past(self, symptom: Symptom) -> str | None:
        """The key of the last ticket about the same that can no longer be reopened."""
        return self._past.get(subject(symptom))

    def hold(self, symptoms: Iterable[Symptom]) -> None:
        """Keep symptoms that opened nothing by themselves, for whom they may corroborate."""
        for symptom in symptoms:
            held = self._held.setdefault(symptom.service, {})
            held.pop(symptom.id, None)
            held[symptom.id] = symptom
            while len(held) > _MOST_HELD:
                del held[next(iter(held))]

    def let_go(self, before: int) -> None:
        """Forget held symptoms that began before ``before`` (ms) and are over."""
        for service, held in list(self._held.items()):
            for id in [id for id, s in held.items() if s.last_at < before and not s.active]:
                del held[id]
            if not held:
                del self._held[service]

    def held(self, service: str) -> Mapping[str, Symptom]:
        return self._held.get(service, {})

    def by_symptom(self, id: str) -> Ticket | None:
        key = self._symptoms.get(id)
        return self.tickets.get(key) if key else None

    def by_subject(self, symptom: Symptom) -> Ticket | None:
        key = self._subjects.get(subject(symptom))
        return self.tickets.get(key) if key else None

    def open_of(self, service: str) -> Iterator[Ticket]:
        """Open incidents of the service, oldest first."""
        for key in self._services.get(service, ()):
            ticket = self.tickets[key]
            if ticket.kind == "incident" and ticket.state in OPEN:
                yield ticket

    def trial(self, fold: Fold) -> Trial:
        return Trial(self, fold)


class Trial:
    """A board seen through changes that are not committed yet; collects them in ``changes``."""

    def __init__(self, board: Board, fold: Fold) -> None:
        self._board = board
        self._fold = fold
        self._own = Board()
        self._hidden: set[str] = set()
        self._count = 0
        self.changes: list[Change] = []
        self.after: dict[str, Ticket] = {}
        """What each changed ticket became, merged ones among them."""
        self.held: dict[str, Symptom] = {}
        """Symptoms that opened nothing: context, or in want of corroboration."""

    def new_key(self) -> str:
        """A placeholder for a ticket that the desk will number."""
        self._count += 1
        return f"new-{self._count}"

    def apply(self, change: Change) -> Ticket:
        """Record the change and see its effect from now on."""
        ticket = self._fold(self.after.get(change.key) or self.ticket(change.key), change)
        self.changes.append(change)
        self.after[change.key] = ticket
        if change.key not in self._hidden:
            self._hidden.add(change.key)
            # The symptoms that it had are found through the board: only new ones are indexed here.
            if (known := self._board.tickets.get(change.key)) is not None:
                self._own.tickets[change.key] = known
        self._own.put(ticket)
        return ticket

    def ticket(self, key: str) -> Ticket | None:
        return self._own.tickets.get(key) or (None if key in self._hidden else self._board.tickets.get(key))

    def by_symptom(self, id: str) -> Ticket | None:
        return self._own.by_symptom(id) or self._now(self._board.by_symptom(id))

    def by_subject(self, symptom: Symptom) -> Ticket | None:
        return self._own.by_subject(symptom) or self._now(self._board.by_subject(symptom))

    def open_of(self, service: str) -> list[Ticket]:
        found = [t for t in self._board.open_of(service) if t.key not in self._hidden]
        return sorted([*found, *self._own.open_of(service)], key=lambda t: t.opened_at)

    def past(self, symptom: Symptom) -> str | None:
        return self._board.past(symptom)

    def held_of(self, service: str) -> list[Symptom]:
        """Held symptoms of the service that are in no ticket, in the order they came."""
        own = {id: symptom for id, symptom in self.held.items() if symptom.service == service}
        return [symptom for id, symptom in {**self._board.held(service), **own}.items() if self.by_symptom(id) is None]

    def _now(self, ticket: Ticket | None) -> Ticket | None:
        return None if ticket is None else self.ticket(ticket.key)


def slim(ticket: Ticket) -> Ticket:
    """The ticket without its evidence, which decisions do not read: what the board keeps in memory."""
    if all(symptom.evidence is None for symptom in ticket.symptoms):
        return ticket
    return replace(
        ticket, symptoms=tuple(s if s.evidence is None else replace(s, evidence=None) for s in ticket.symptoms)
    )
