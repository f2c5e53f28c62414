"""How the desk does, as figures over a span of time: a pure function of its tickets, no stored counter.

Restricted tickets and shadows are in none of it. Times in ms; a median of nothing is None, never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from detector.nouns import Priority, Ticket

TARGET_MS = 24 * 3_600_000
"""What the average of satisfactory resolutions must stay under."""
NOISY = ("false-alarm", "self-recovered", "not-worth-waking")
MOST_NOISY = 10


@dataclass(frozen=True, slots=True)
class Against:
    """Times of one priority against its target: how many, the median, how many within the target."""

    count: int
    median: float | None
    within: int


@dataclass(frozen=True, slots=True)
class Summary:
    """``average_elapsed`` and ``average_clock``: satisfactory resolutions from opening to resolution, by the wall and
    without what the clock stood still. ``foreseen`` of ``disrupted`` were open before users were hurt, ``leads`` by how
    long."""

    opened: int
    ended: int
    open: int
    response: Mapping[Priority, Against]
    resolution: Mapping[Priority, Against]
    satisfactory: int
    average_elapsed: float | None
    average_clock: float | None
    first_line: int
    first_line_of: int
    time_to_restore: float | None
    by_category: Sequence[tuple[str, int]]
    by_outcome: Sequence[tuple[str, int]]
    disrupted: int
    foreseen: int
    leads: float | None
    false_alarms: int
    reopened: int
    noisy: Sequence[tuple[str, int]] = ()

    @property
    def on_target(self) -> bool | None:
        """Whether satisfactory resolutions take 24 hours on average at most; None: there are none yet."""
        return None if self.average_clock is None else self.average_clock <= TARGET_MS


def summary(tickets: Iterable[Ticket], families: Mapping[str, Sequence[str]] | None = None) -> Summary:
    """Of tickets that were opened in the span. ``families``: the symptom families of each ended one, by its key."""
    counted = [t for t in tickets if not t.restricted and t.mode != "shadow" and t.state != "merged"]
    ended = [t for t in counted if t.resolved_at is not None]
    satisfied = [t for t in ended if is_satisfactory(t)]
    first = [t for t in ended if t.kind != "request" and not t.critical]
    disrupted = [t for t in counted if t.disrupted_at is not None and t.kind == "incident" and t.source != "report"]
    foreseen = [t for t in disrupted if (t.disrupted_at or 0) > t.opened_at]
    noisy: Counter[str] = Counter()
    for ticket in ended:
        if ticket.resolution in NOISY:
            noisy.update(set((families or {}).get(ticket.key, ())))
    return Summary(
        opened=len(counted), ended=len(ended), open=len(counted) - len(ended),
        response=_against(counted, "response", lambda t: _since(t, t.first_response_at)),
        resolution=_against(counted, "resolution", on_the_clock),
        satisfactory=len(satisfied),
        average_elapsed=_mean(_since(t, t.resolved_at) for t in satisfied),
        average_clock=_mean(on_the_clock(t) for t in satisfied),
        first_line=sum(t.tier == "L1" for t in first), first_line_of=len(first),
        time_to_restore=_median(to_restore(t) for t in ended),
        by_category=Counter(t.category or "other" for t in counted).most_common(),
        by_outcome=Counter(t.resolution or "unknown" for t in ended).most_common(),
        disrupted=len(disrupted), foreseen=len(foreseen),
        leads=_median((t.disrupted_at or 0) - t.opened_at for t in foreseen),
        false_alarms=sum(t.resolution == "false-alarm" for t in ended),
        reopened=sum(t.reopenings > 0 for t in counted), noisy=noisy.most_common(MOST_NOISY),
    )  # fmt: skip


def is_satisfactory(ticket: Ticket) -> bool:
    """Its reporter said that it is solved; or it was detected and is restored."""
    if ticket.source == "report":
        return ticket.confirmed_at is not None
    return ticket.restored_at is not None and ticket.resolution not in ("false-alarm", "duplicate", "declined")


def on_the_clock(ticket: Ticket) -> int | None:
    """From opening to resolution without what the resolution clock stood still."""
    elapsed = _since(ticket, ticket.resolved_at)
    return None if elapsed is None else max(0, elapsed - ticket.paused_ms)


def to_restore(ticket: Ticket) -> int | None:
    """From when users were hurt to when the service worked again; None where nobody was hurt."""
    began = ticket.disrupted_at if ticket.disrupted_at is not None else ticket.reported_at
    return None if began is None or ticket.restored_at is None else max(0, ticket.restored_at - began)


def _since(ticket: Ticket, at: int | None) -> int | None:
    return None if at is None else max(0, at - ticket.opened_at)


def _against(
    tickets: Sequence[Ticket], clock: str, time: Callable[[Ticket], int | None]
) -> dict[Priority, Against]:  # fmt: skip
    """By the priority that the ticket ended with. A clock that was missed once is missed, whatever came later."""
    found: dict[Priority, list[tuple[int, bool]]] = {}
    for ticket in tickets:
        took = time(ticket)
        state = next((c.state for c in ticket.clocks if c.name == clock), None)
        if took is not None and ticket.priority is not None:
            found.setdefault(ticket.priority, []).append((took, clock not in ticket.missed and state != "breached"))
    return {
        priority: Against(len(some), median(took for took, _ in some), sum(kept for _, kept in some))
        for priority, some in sorted(found.items())
    }


def _mean(values: Iterable[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _median(values: Iterable[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
