"""What is asked and said between the desk and whoever reported: questions of a category, a call that leads through the
fix, whether a past solution helped. Pure; raises NotAllowed with the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detector.nouns import Answered, Asked, BridgeEnded, BridgeOpened, Change, Resumed, SolutionUsed, Ticket, Waiting
from detector.tickets.allowed import NotAllowed, alive, cut_line, cut_text

MOST_QUESTIONS = 20
MOST_ATTENDEES = 30
LONGEST_BRIDGE = 12 * 3_600_000
_AHEAD = 30 * 86_400_000

SHIPPED_QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "availability": ("What exactly can you not reach or do?", "Since when?", "Does it concern others beside you?"),
    "errors": ("Which message do you see, word for word?", "What did you do before?", "Does it happen every time?"),
    "latency": ("What is slow, and how long does it take?", "Since when?", "From where do you work?"),
    "security": ("What did you see, and when?", "Who else knows of it?", "Did you click, open or enter anything?"),
    "request": ("What do you need?", "By when?", "Who has to approve it?"),
    "": ("What did you do, and what did you expect?", "Since when is it so?", "Does it concern others beside you?"),
}  # fmt: skip
"""By category or the part before its slash; the empty name is for all others."""


def questions(category: str | None, configured: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The basic questions of a category: the configured ones before the shipped, the exact name before its parent."""
    name = category or ""
    for known in (configured, SHIPPED_QUESTIONS):
        for wanted in (name, name.partition("/")[0], ""):
            if wanted in known:
                return tuple(known[wanted])
    return ()


def ask(
    ticket: Ticket, who: str, now: int, asked: Sequence[str] = (), basic: Sequence[str] = ()
) -> list[Change]:  # fmt: skip
    """Ask the reporter: ``asked``, or the ``basic`` questions of its category. The ticket waits for the answer, and the
    resolution clock stands still."""
    alive(ticket, "asked about")
    if ticket.reporter is None:
        raise NotAllowed(f"{ticket.key} was reported by nobody: there is nobody to ask")
    known = {question.text for question in ticket.questions}
    fresh = [text for text in map(cut_line, asked or basic) if text and text not in known]
    if not fresh:
        raise NotAllowed(f"{ticket.key}: the basic questions were asked already; ask others by name")
    if len(ticket.questions) + len(fresh) > MOST_QUESTIONS:
        raise NotAllowed(f"{ticket.key} has {len(ticket.questions)} questions already; at most {MOST_QUESTIONS}")
    changes: list[Change] = [Asked(ticket.key, now, who, questions=tuple(fresh))]
    if ticket.waiting is None:
        changes.append(Waiting(ticket.key, now, who, reason="user", text="\n".join(fresh)))
    return changes


def answer(
    ticket: Ticket, who: str, now: int, text: str = "", answers: Mapping[int, str] | None = None, mail: str = ""
) -> list[Change]:  # fmt: skip
    """The reporter's word, and the answers to questions by their numbers; what waited for it goes on."""
    if ticket.state in ("closed", "merged"):
        raise NotAllowed(f"{ticket.key} is {ticket.state}: report it anew")
    numbers = {question.number for question in ticket.questions}
    given = {n: cut_text(said) for n, said in (answers or {}).items() if said.strip()}
    if unknown := sorted(set(given) - numbers):
        raise NotAllowed(f"{ticket.key} has no question {unknown[0]}")
    if not text.strip() and not given:
        raise NotAllowed("an answer needs a text")
    changes: list[Change] = [Answered(ticket.key, now, who, text=cut_text(text), answers=given, mail=mail)]
    if ticket.waiting == "user":
        changes.append(Resumed(ticket.key, now, who, reason="the reporter has answered"))
    return changes


def use(ticket: Ticket, who: str, now: int, solution: str = "", helped: bool = True, text: str = "") -> list[Change]:
    """The solution of a past ticket was tried. That there is one of the key ``solution`` is the caller's to check."""
    if ticket.state == "merged":
        raise NotAllowed(f"{ticket.key} is merged: record it on {ticket.merged_into}")
    key = solution.strip()
    if not key or key == ticket.key:
        raise NotAllowed("name the past incident, or the known error, whose solution was used")
    if any(used.key == key and used.helped == helped for used in ticket.used):
        return []
    return [SolutionUsed(ticket.key, now, who, used=key, helped=helped, text=cut_text(text))]


def bridge(
    ticket: Ticket, who: str, now: int, link: str = "", dial_in: str = "", at: int | None = None,
    minutes: int = 60, attendees: Sequence[str] = (), text: str = "",
) -> list[Change]:  # fmt: skip
    """A call about the ticket: by link, by telephone, or both; the reporter is among the attendees by default."""
    alive(ticket, "talked about")
    if not link.strip() and not dial_in.strip():
        raise NotAllowed("a call needs a link or a number to dial")
    if link.strip() and not link.strip().startswith(("https://", "http://")):
        raise NotAllowed("the link of a call begins with https://")
    begins = now if at is None else at
    if not now - LONGEST_BRIDGE <= begins <= now + _AHEAD:
        raise NotAllowed("a call begins now, or within the next 30 days")
    if not 5 <= minutes <= LONGEST_BRIDGE // 60_000:
        raise NotAllowed("a call lasts between 5 minutes and 12 hours")
    contact = ticket.reporter.contact if ticket.reporter is not None else ""
    names = tuple(dict.fromkeys(cut_line(name) for name in (*attendees, contact) if name.strip()))
    if len(names) > MOST_ATTENDEES:
        raise NotAllowed(f"{len(names)} attendees; at most {MOST_ATTENDEES}")
    return [
        BridgeOpened(
            ticket.key, now, who, link=link.strip()[:2000], dial_in=cut_line(dial_in), begins=begins,
            ends=begins + minutes * 60_000, attendees=names, text=cut_text(text),
        )
    ]  # fmt: skip


def end_bridge(ticket: Ticket, who: str, now: int, text: str = "") -> list[Change]:
    """What came of the call."""
    if ticket.bridge is None:
        raise NotAllowed(f"{ticket.key} has no call: begin one first")
    if not text.strip():
        raise NotAllowed("say what came of the call")
    return [BridgeEnded(ticket.key, now, who, text=cut_text(text))]


def proposes_bridge(ticket: Ticket) -> bool:
    """Whether a call is proposed: for what a person reported and is serious."""
    serious = ticket.priority in ("P1", "P2") and ticket.kind != "request"
    return ticket.source == "report" and serious and ticket.bridge is None
