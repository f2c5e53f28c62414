"""What templates put on a page: foreign text made harmless to read, times, icons' names.

Escaping is Jinja's (autoescape is on everywhere); this is about what escaping does not touch: control and bidi
characters that would reorder a line, lone surrogates that UTF-8 cannot hold.
"""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any

from markupsafe import Markup

from detector.clock import rfc3339
from detector.notify.messages.formats import link_target
from detector.nouns import Impact, Ticket
from detector.words import clock, in_calendar, moment, relative, span, within

_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")

SHAPES = {"predicted": "Predicted", "disrupting": "Disrupting", "recovering": "Recovering", "over": "Over"}


def visible(value: Any) -> Any:
    """Jinja's ``finalize``: every string that a template writes passes here before it is escaped."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return "" if value is None else value
    return _SURROGATE.sub("\ufffd", _HIDDEN.sub("", value))


def shape(ticket: Ticket) -> tuple[str, str]:
    """The state's shape and its word: the phase's, ``over`` for what ended, ``report`` for what has no phase yet."""
    if ticket.state == "merged":
        return "over", "Merged"
    if ticket.state in ("resolved", "closed"):
        return "over", ticket.state.capitalize()
    if ticket.phase is None:
        return "report", "Reported"
    return ticket.phase, SHAPES[ticket.phase]


def absolute(at: int, now: int) -> str:
    """``03:40:12 UTC``, with the date on another day: what a time says on hover without script."""
    then = moment(at, UTC)
    return f"{clock(at, now, UTC)}:{then.second:02d} UTC"


def time_tag(at: int | None, now: int) -> Markup:
    """A ticking relative time: ``in 38 min``, the absolute one on hover and for screen readers."""
    if at is None:
        return Markup("")
    return Markup('<time datetime="{}" title="{}" data-rel>{}</time>').format(
        rfc3339(in_calendar(at)), absolute(at, now), relative(at, now)
    )


def since_tag(at: int | None, now: int) -> Markup:
    """``4 min``: how long it has lasted."""
    if at is None:
        return Markup("")
    return Markup('<time datetime="{}" title="{}" data-since>{}</time>').format(
        rfc3339(in_calendar(at)), f"since {absolute(at, now)}", span(max(0, now - at))
    )


def clock_tag(at: int, now: int) -> Markup:
    """``03:40``: a time of the day; script moves it into the viewer's zone."""
    return Markup('<time datetime="{}" title="{}" data-clock>{}</time>').format(
        rfc3339(in_calendar(at)), absolute(at, now), clock(at, now, UTC)
    )


def impact_tag(impact: Impact | None, now: int) -> Markup:
    """``in 38 min (31-52)``, an interval as an interval."""
    if impact is None:
        return Markup("")
    title = f"{absolute(impact.earliest, now)} to {absolute(impact.latest, now)}"
    return Markup('<time datetime="{}" title="{}" data-early="{}" data-late="{}">{}</time>').format(
        rfc3339(in_calendar(impact.likely)), title, in_calendar(impact.earliest), in_calendar(impact.latest),
        within(impact, now),
    )  # fmt: skip


def safe_link(url: str) -> str:
    """``url`` where it may be clicked (http or https, nothing disguised), else empty."""
    return link_target(url.strip())
