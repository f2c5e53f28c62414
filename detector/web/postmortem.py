"""A postmortem, drafted from the timeline: what is known is filled in, what only people know is asked for. Pure.

As Markdown for where teams keep their papers; the page shows the same with the charts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from detector.notify.messages import sentence, title
from detector.notify.messages.formats import markdown
from detector.nouns import ChangeEvent, Ticket, TimelineEntry
from detector.tickets.clocks import held
from detector.tickets.prevention import effect
from detector.words import plain, span

TO_WRITE = "To be written."
_LEFT_OUT = frozenset({"clock-started", "clock-met", "symptom-refreshed", "forecast-changed", "clock-warned"})
_MOST_LINES = 200


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its lines; a line may have a time."""

    heading: str
    lines: Sequence[tuple[str, str]]


def sections(
    ticket: Ticket, timeline: Sequence[TimelineEntry], changes: Sequence[ChangeEvent], now: int
) -> list[Section]:  # fmt: skip
    """What is known, in the order that a reader asks."""
    kept = [entry for entry in timeline if entry.what not in _LEFT_OUT][:_MOST_LINES]
    return [
        Section("What happened", _what(ticket)),
        Section("How it was noticed", _noticed(ticket)),
        Section("Who was affected", _affected(ticket)),
        Section("What was changed before", [(_at(c.at), f"{c.service or 'everywhere'}: {plain(c.summary, 300)}")
                                            for c in reversed(changes)] or [("", "Nothing that was told.")]),
        Section("What was tried", [("", f"{h.text} ({h.state})") for h in ticket.hypotheses]
                or [("", "No hypothesis was recorded.")]),
        Section("Cause", [("", ticket.cause or TO_WRITE)]),
        Section("Fix", [("", ticket.fix or TO_WRITE)]),
        Section("What keeps it from coming back", [("", ticket.prevention or TO_WRITE)]),
        Section("Who had it", [("", f"{tier} for {span(ms)}") for tier, ms in sorted(held(timeline, now).items())]
                or [("", "Nobody.")]),
        Section("Said to the public", [(_at(u.at), f"{u.status}: {u.body}") for u in ticket.public]
                or [("", "Nothing.")]),
        Section("Timeline", [(_at(e.at), f"{plain(e.who, 60)}: {sentence(e)}") for e in kept]),
        Section("What went well, what did not, where we were lucky", [("", TO_WRITE)]),
        Section("What follows", [("", TO_WRITE)]),
    ]  # fmt: skip


def as_markdown(ticket: Ticket, parts: Sequence[Section], link: str) -> str:
    """CommonMark; every text that came from outside is only text in it."""
    lines = [f"# {markdown(ticket.key)}: {markdown(plain(f'{ticket.service}: {title(ticket)}', 300))}", ""]
    if link:
        lines += [f"[{markdown(ticket.key)}]({link})", ""]
    for part in parts:
        lines += [f"## {part.heading}", ""]
        for at, said in part.lines:
            text = markdown(plain(said, 4000))
            lines.append(f"- {at} {text}" if at else f"- {text}")
        lines.append("")
    return "\n".join(lines)


def _at(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _what(ticket: Ticket) -> list[tuple[str, str]]:
    lines = [("", f"{ticket.priority or 'no priority'}, {ticket.category or 'no category'}: {ticket.priority_reason}")]
    for at, said in (
        (ticket.first_symptom_at, "first sign"), (ticket.reported_at, "reported"), (ticket.opened_at, "opened"),
        (ticket.acknowledged_at, "acknowledged"), (ticket.disrupted_at, "users hurt"),
        (ticket.fix_applied_at, "fix applied"), (ticket.restored_at, "restored"), (ticket.resolved_at, "resolved"),
    ):  # fmt: skip
        if at is not None:
            lines.append((_at(at), said))
    return lines


def _noticed(ticket: Ticket) -> list[tuple[str, str]]:
    how = {"detected": "The detector saw it.", "alert": "An alert came.", "report": "A person reported it."}
    lines = [("", how[ticket.source])]
    if ticket.disrupted_at is not None and ticket.source != "report":
        lead = ticket.disrupted_at - ticket.opened_at
        foreseen = f"Foreseen {span(lead)} before users were hurt." if lead > 0 else "Not before users were hurt."
        lines.append(("", foreseen))
    if ticket.prevented_at is not None:
        word = {"prevented": "It was prevented.", "not helped": "What was done did not help."}
        if (known := word.get(effect(ticket, ticket.resolved_at or ticket.opened_at))) is not None:
            lines.append((_at(ticket.prevented_at), f"Acted on. {known}"))
    lines += [(_at(s.first_at), plain(s.summary or s.name, 300)) for s in ticket.symptoms[:50]]
    return lines


def _affected(ticket: Ticket) -> list[tuple[str, str]]:
    found = [
        ("", f"{a.service} ({a.how})" + (f": {', '.join(a.items[:20])}" if a.items else "")) for a in ticket.affected
    ]
    return found or [("", ticket.service)]
