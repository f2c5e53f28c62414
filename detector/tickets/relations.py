"""How tickets stand to each other: linked, split, behind one problem. Pure; raises NotAllowed with the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from detector.nouns import (
    Absorbed,
    Change,
    Linked,
    Opened,
    Phase,
    Problem,
    ProblemState,
    Relation,
    SymptomsMoved,
    Ticket,
)
from detector.tickets.allowed import NotAllowed, alive, cut_line, cut_text

MOST_LINKS = 100
INVERSE: Mapping[Relation, Relation] = {
    "related": "related", "caused-by": "causes", "causes": "caused-by", "follows": "followed-by",
    "followed-by": "follows", "split-from": "split-into", "split-into": "split-from", "problem": "problem",
}  # fmt: skip
BY_HAND: tuple[Relation, ...] = ("related", "caused-by", "causes")


def link(ticket: Ticket, who: str, now: int, to: Ticket | Problem, how: Relation = "related") -> list[Change]:
    """Both tickets name each other; a problem is named by its tickets."""
    if isinstance(to, Problem):
        how = "problem"
    elif how not in BY_HAND:
        raise NotAllowed(f"{how!r} is no link that is made by hand; there are: {', '.join(BY_HAND)}")
    elif to.restricted != ticket.restricted:
        raise NotAllowed("a restricted ticket is linked with a restricted one only")
    if to.key == ticket.key:
        raise NotAllowed(f"{ticket.key} cannot be linked with itself")
    if any(known.key == to.key and known.how == how for known in ticket.links):
        return []
    if len(ticket.links) >= MOST_LINKS:
        raise NotAllowed(f"{ticket.key} has {MOST_LINKS} links already")
    changes: list[Change] = [Linked(ticket.key, now, who, to=to.key, how=how)]
    if isinstance(to, Ticket):
        changes.append(Linked(to.key, now, who, to=ticket.key, how=INVERSE[how]))
    return changes


def split(
    ticket: Ticket, who: str, now: int, symptoms: Sequence[str] = (), reason: str = "", *, new: str
) -> list[Change]:  # fmt: skip
    """Some of its symptoms have another cause: they go on in a ticket of their own, ``new`` until it is numbered."""
    alive(ticket, "split")
    moved = tuple(s for s in ticket.symptoms if s.id in set(symptoms))
    if not moved or len(moved) == len(ticket.symptoms):
        raise NotAllowed(f"{ticket.key}: name some of its {len(ticket.symptoms)} symptoms, not all and not none")
    hurting = any(s.active and s.disruption for s in moved)
    phase: Phase = "disrupting" if hurting else "predicted"
    return [
        SymptomsMoved(ticket.key, now, who, to=new, symptoms=tuple(s.id for s in moved), reason=cut_text(reason)),
        Opened(
            new, now, who, source=ticket.source, service=moved[0].service, mode=ticket.mode, phase=phase,
            first_symptom_at=min(s.first_at for s in moved), restricted=ticket.restricted,
        ),
        Absorbed(new, now, who, source=ticket.key, symptoms=moved),
        Linked(ticket.key, now, who, to=new, how="split-into"),
        Linked(new, now, who, to=ticket.key, how="split-from"),
    ]  # fmt: skip


def changed_problem(
    problem: Problem, who: str, now: int, *, title: str | None = None, state: ProblemState | None = None,
    cause: str | None = None, workaround: str | None = None,
) -> Problem:  # fmt: skip
    """The problem with what is given. A known error has a cause and a work-around."""
    if state is not None and state not in get_args(ProblemState):
        raise NotAllowed(f"a problem is {', '.join(get_args(ProblemState))}, not {state!r}")
    after = replace(
        problem, changed_at=now, changed_by=who, version=problem.version + 1,
        title=problem.title if title is None else cut_line(title),
        state=problem.state if state is None else state,
        cause=problem.cause if cause is None else cut_text(cause),
        workaround=problem.workaround if workaround is None else cut_text(workaround),
    )  # fmt: skip
    if not after.title:
        raise NotAllowed("a problem has a title")
    if after.state == "known-error" and not (after.cause and after.workaround):
        raise NotAllowed("a known error has a cause and a work-around: give both")
    return after
