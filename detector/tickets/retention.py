"""What may be forgotten: which tickets are old enough and needed by nobody. Pure.

A ticket goes with those that were merged into it, or stays with them. What is open, what an open ticket names, and the
ticket with the highest number stay, whatever the options say; what is or was a suspected data breach has its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from detector.tickets.options import RetentionOptions

_KEY = re.compile(r"\bINC-([0-9]{1,15})\b")


@dataclass(frozen=True, slots=True)
class Record:
    """What retention has to know of a ticket. ``ended_at``: when (ms) it was closed; None for one that was merged: it
    ends with the ticket that it was merged into."""

    id: int
    version: int
    state: str
    mode: str
    confidential: bool
    """Restricted, or a data breach, be it a dismissed one."""
    ended_at: int | None
    merged_into: int | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """A ticket that was closed, and all that were merged into it, near or far."""

    root: Record
    members: tuple[Record, ...] = ()

    @property
    def records(self) -> tuple[Record, ...]:
        """Members first: none of them is ever without the ticket that it names."""
        return (*self.members, self.root)


def removable(
    families: Iterable[Family], named: Collection[int], newest: int, options: RetentionOptions, now: int, least: int
) -> list[Family]:
    """Those that may go. ``named``: numbers that open tickets and problems name; ``newest``: the highest number, which
    is never given twice; ``least`` (ms): what ended so recently may come back, and stays."""
    return [family for family in families if _may_go(family, named, newest, options, now, least)]


def _may_go(
    family: Family, named: Collection[int], newest: int, options: RetentionOptions, now: int, least: int
) -> bool:
    root = family.root
    if root.state != "closed" or root.ended_at is None:
        return False
    if any(member.state != "merged" for member in family.members):
        return False
    if any(record.id in named or record.id == newest for record in family.records):
        return False
    kept = [kept_for(record, options) for record in family.records]
    longest = [time for time in kept if time is not None]
    if len(longest) != len(kept):
        return False
    return root.ended_at <= now - max(least, *longest)


def kept_for(record: Record, options: RetentionOptions) -> int | None:
    """How long (ms) after its end such a ticket stays; None: for ever."""
    if record.confidential:
        return options.breaches
    if record.mode == "shadow" and options.shadow is not None:
        return options.shadow
    return options.closed


def horizon(options: RetentionOptions, now: int, least: int) -> int | None:
    """Until when (ms) a ticket must have ended for any of the options to let it go; None: none of them does."""
    times = [time for time in (options.closed, options.shadow, options.breaches) if time is not None]
    return now - max(least, min(times)) if times else None


def names(texts: Iterable[str]) -> set[int]:
    """The numbers of all tickets that these texts name, in whatever words: what an open ticket follows, was split from
    or is linked to, and what somebody wrote down."""
    return {int(number) for text in texts for number in _KEY.findall(text)}


def portions(families: Sequence[Family], weights: Sequence[int], most: int) -> list[list[Family]]:
    """Families in their order, in portions of at most ``most`` rows by ``weights``; a larger one goes alone."""
    found: list[list[Family]] = []
    held = most
    for family, weight in zip(families, weights, strict=True):
        if held + weight > most:
            found.append([])
            held = 0
        found[-1].append(family)
        held += weight
    return found
