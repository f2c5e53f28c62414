"""The timeline in words: facts are stored as data, the sentence is made where it is read.

One small function per kind of fact, in one table; a fact without one is named as it is, so that a newer desk can be
read by an older page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, tzinfo
from typing import Any

from detector.nouns import Impact, TimelineEntry
from detector.words import between, clock, plain

Data = Mapping[str, Any]


def sentence(entry: TimelineEntry, zone: tzinfo = UTC) -> str:
    """What happened, in one plain sentence without its time and its author, which stand beside it. Never raises on odd
    data; the result is text, not HTML: escape it for where it goes."""
    wording = _WORDINGS.get(entry.what)
    said = wording(entry.data, entry.at, zone) if wording is not None else ""
    return said or plain(str(entry.what).replace("-", " "), 200).capitalize()


def _text(data: Data, name: str, limit: int = 300) -> str:
    value = data.get(name)
    return "" if value is None else plain(value if isinstance(value, str) else str(value), limit)


def _because(data: Data, name: str = "reason") -> str:
    reason = _text(data, name)
    return f": {reason}" if reason else ""


def _impact(data: Data, at: int, zone: tzinfo) -> str:
    value = data.get("impact")
    if isinstance(value, Impact):
        return between(value, at, zone)
    if isinstance(value, Mapping):
        points = [value.get(name) for name in ("earliest", "likely", "latest")]
    elif isinstance(value, list | tuple) and len(value) == 3:
        points = list(value)
    else:
        return ""
    earliest, likely, latest = points
    if isinstance(earliest, int) and isinstance(likely, int) and isinstance(latest, int):
        return between(Impact(earliest, likely, latest), at, zone)
    return ""


_BY = {"mail": " by mail", "call": " by a call", "page": " on the page"}


def _opened(data: Data, at: int, zone: tzinfo) -> str:
    source = {"detected": "Opened from symptoms", "alert": "Opened from an alert", "report": "Reported"}
    follows = _text(data, "follows", 40)
    said = source.get(_text(data, "source", 20), "Opened") + _BY.get(_text(data, "channel", 20), "")
    return f"{said}; follows {follows}" if follows else said


def _symptom(data: Data) -> Data:
    raw = data.get("symptom")
    return raw if isinstance(raw, Mapping) else data


def _symptom_joined(data: Data, at: int, zone: tzinfo) -> str:
    symptom = _symptom(data)
    said = _text(symptom, "summary") or _text(symptom, "name") or _text(symptom, "metric") or _text(symptom, "id", 40)
    if symptom.get("active") is False:
        return f"Symptom ended: {said}" if said else "A symptom ended"
    lead = "New symptom" if data.get("new", True) else "Symptom changed"
    return f"{lead}: {said}" if said else lead


def _phase_changed(data: Data, at: int, zone: tzinfo) -> str:
    words = {
        "predicted": "A disruption is predicted",
        "disrupting": "Users are hurt now",
        "recovering": "Symptoms are quiet: recovering",
        "over": "Over: every symptom has stayed quiet",
    }
    phase = _text(data, "phase", 20)
    return words.get(phase, f"Phase {phase}") + _because(data)


def _forecast_changed(data: Data, at: int, zone: tzinfo) -> str:
    expected = _impact(data, at, zone)
    return f"Disruption is now expected {expected}" if expected else "The forecast no longer reaches the limit"


def _triaged(data: Data, at: int, zone: tzinfo) -> str:
    previous, priority = _text(data, "previous", 4), _text(data, "priority", 4)
    change = f"{previous} becomes {priority}" if previous and previous != priority else priority or "Triaged"
    category = _text(data, "category", 60)
    return change + (f", {category}" if category else "") + _because(data, "priority_reason")


def _routed(data: Data, at: int, zone: tzinfo) -> str:
    team = _text(data, "team", 60)
    return f"Routed to {_text(data, 'tier', 4) or 'a tier'}" + (f", team {team}" if team else "") + _because(data)


def _clock(verb: str) -> Callable[[Data, int, tzinfo], str]:
    def said(data: Data, at: int, zone: tzinfo) -> str:
        name, due = _text(data, "clock", 40).replace("-", " ") or "a clock", data.get("due_at")
        when = f" {clock(due, at, zone)}" if isinstance(due, int) and due > 0 else ""
        return f"{name.capitalize()} {verb}" + (f", due{when}" if when else "")

    return said


def _warned(data: Data, at: int, zone: tzinfo) -> str:
    expected = data.get("expected_at")
    if not isinstance(expected, int):
        return _clock("clock has a quarter left")(data, at, zone)
    return _clock("clock will be missed")(data, at, zone) + f": the backlog will take until {clock(expected, at, zone)}"


def _acknowledged(data: Data, at: int, zone: tzinfo) -> str:
    holder = _text(data, "assignee", 60)
    return f"Acknowledged: {holder} holds it, paging stops" if holder else "Acknowledged: paging stops"


def _assigned(data: Data, at: int, zone: tzinfo) -> str:
    holder = _text(data, "assignee", 60)
    return f"Assigned to {holder}" if holder else "Nobody holds it any more"


def _escalated(data: Data, at: int, zone: tzinfo) -> str:
    previous = _text(data, "previous", 4)
    source = f" from {previous}" if previous else ""
    return f"Escalated{source} to {_text(data, 'tier', 4) or 'the next tier'}" + _because(data, "summary")


_WAITS = {"user": "the user", "supplier": "a supplier", "change": "a change"}
_KINDS = {"incident": "an incident", "request": "a request", "undecided": "not decided yet"}


def _waiting(data: Data, at: int, zone: tzinfo) -> str:
    whom = _WAITS.get(_text(data, "reason", 20), _text(data, "reason", 60))
    return f"Waiting for {whom}" + _because(data, "text") if whom else "Waiting"


def _list(data: Data, name: str) -> list[str]:
    value = data.get(name)
    return [plain(str(one), 300) for one in value[:50]] if isinstance(value, list | tuple) else []


def _answers(data: Data) -> list[str]:
    given = data.get("answers")
    said = [f"{n}: {plain(str(text), 1000)}" for n, text in given.items()] if isinstance(given, Mapping) else []
    text = _text(data, "text", 4000)
    return [*([text] if text else []), *said] or ["answered"]


def _bridge_opened(data: Data, at: int, zone: tzinfo) -> str:
    begins = data.get("begins")
    when = f" {clock(begins, at, zone)}" if isinstance(begins, int) and begins > at else ""
    where = " or ".join(text for name in ("link", "dial_in") if (text := _text(data, name, 300)))
    who = _list(data, "attendees")
    return f"A call{when}: {where}" + (f", with {', '.join(who)}" if who else "")


def _muted(data: Data, at: int, zone: tzinfo) -> str:
    until = data.get("until")
    when = f" until {clock(until, at, zone)}" if isinstance(until, int) and until > 0 else ""
    return f"Muted{when}: nobody is told" + _because(data)


def _page_deferred(data: Data, at: int, zone: tzinfo) -> str:
    until, wakes = data.get("until"), data.get("wakes_at")
    day = f" until {clock(until, at, zone)}" if isinstance(until, int) and until > 0 else ""
    hour = f"; it would wake somebody from {clock(wakes, at, zone)} on" if isinstance(wakes, int) and wakes > 0 else ""
    return f"Nobody is woken for it{day}" + _because(data) + hour


def _resolved(data: Data, at: int, zone: tzinfo) -> str:
    code = _text(data, "resolution", 40)
    return "Resolved" + (f" as {code}" if code else "") + _because(data, "text")


def _delivered(data: Data, at: int, zone: tzinfo) -> str:
    if data.get("channel") == "@mail":
        failed = data.get("result") == "dead"
        if data.get("event") == "call":
            return "An invitation to the call could not be sent" + _because(data) if failed else "Invited to the call"
        return "The reporter could not be written to" + _because(data) if failed else "The reporter was written to"
    channel = _text(data, "channel", 60) or "a channel"
    if data.get("result") == "dead":
        return f"{channel} could not be told" + _because(data)
    person = _text(data, "person", 60)
    return f"{person} was told on {channel}" if person else f"{channel} was told"


_WORDINGS: Mapping[str, Callable[[Data, int, tzinfo], str]] = {
    "opened": _opened,
    "symptom-joined": _symptom_joined,
    "symptom-refreshed": lambda data, at, zone: "Symptom seen again: " + _text(_symptom(data), "summary"),
    "absorbed": lambda data, at, zone: f"Took in {_text(data, 'source', 40)} with its symptoms",
    "phase-changed": _phase_changed,
    "forecast-changed": _forecast_changed,
    "triaged": _triaged,
    "routed": _routed,
    "clock-started": _clock("clock runs"),
    "clock-met": _clock("clock met"),
    "clock-warned": _warned,
    "clock-breached": _clock("clock breached"),
    "acknowledged": _acknowledged,
    "acknowledgement-expired": lambda data, at, zone: (
        f"{_text(data, 'assignee', 60) or 'Nobody'} has taken no step: it pages again"
    ),
    "assigned": _assigned,
    "returned": lambda data, at, zone: "It is not theirs: the next one is called" + _because(data),
    "help-asked": lambda data, at, zone: f"{_text(data, 'person', 60)} is asked to help" + _because(data, "text"),
    "joined": lambda data, at, zone: "Helps",
    "offered": lambda data, at, zone: (
        f"The shift of {_text(data, 'assignee', 60)} is over: offered to {_text(data, 'to', 60)}"
    ),
    "page-deferred": _page_deferred,
    "page-released": lambda data, at, zone: "It pages" + _because(data),
    "escalated": _escalated,
    "noted": lambda data, at, zone: _text(data, "text", 4000),
    "waiting": _waiting,
    "resumed": lambda data, at, zone: "It goes on" + _because(data),
    "muted": _muted,
    "unmuted": lambda data, at, zone: "People are told again" + _because(data),
    "decided": lambda data, at, zone: "It is " + _KINDS.get(_text(data, "kind", 20), "something else"),
    "categorised": lambda data, at, zone: f"Category set to {_text(data, 'category', 60)}",
    "prioritised": lambda data, at, zone: f"Priority set to {_text(data, 'priority', 4)}" + _because(data),
    "replied": lambda data, at, zone: "To the reporter: " + _text(data, "text", 4000),
    "answered": lambda data, at, zone: "The reporter: " + "; ".join(_answers(data)),
    "asked": lambda data, at, zone: "Asked the reporter: " + " ".join(_list(data, "questions")),
    "solution-used": lambda data, at, zone: (
        f"The solution of {_text(data, 'used', 40)} {'helped' if data.get('helped') is True else 'did not help'}"
        + _because(data, "text")
    ),
    "linked": lambda data, at, zone: f"{_text(data, 'how', 20).replace('-', ' ').capitalize()} {_text(data, 'to', 40)}",
    "symptoms-moved": lambda data, at, zone: (
        f"{len(_list(data, 'symptoms'))} symptoms go on in {_text(data, 'to', 40)}" + _because(data)
    ),
    "bridge-opened": _bridge_opened,
    "bridge-ended": lambda data, at, zone: "The call is over" + _because(data, "text"),
    "action-run": lambda data, at, zone: f"Runs {_text(data, 'name', 100)}" + _because(data, "says"),
    "action-answered": lambda data, at, zone: (
        f"{_text(data, 'name', 100)} {'succeeded' if data.get('ok') is True else 'failed'}" + _because(data, "said")
    ),
    "prevention-done": lambda data, at, zone: "Acted before it came true" + _because(data, "text"),
    "prevention-declined": lambda data, at, zone: "The preventive action is not taken" + _because(data, "text"),
    "informed": lambda data, at, zone: f"{_text(data, 'tier', 4)} is informed" + _because(data, "text"),
    "public-drafted": lambda data, at, zone: (
        f"Draft for the public, {_text(data, 'status', 20)}" + _because(data, "body")
    ),
    "published": lambda data, at, zone: f"The public is told, {_text(data, 'status', 20)}" + _because(data, "body"),
    "hypothesis-stated": lambda data, at, zone: f"Hypothesis {_text(data, 'number', 6)}: {_text(data, 'text', 500)}",
    "hypothesis-settled": lambda data, at, zone: (
        f"Hypothesis {_text(data, 'number', 6)} {'confirmed' if data.get('holds') is True else 'rejected'}"
        + _because(data, "text")
    ),
    "fix-applied": lambda data, at, zone: "Fix applied" + _because(data, "text"),
    "service-restored": lambda data, at, zone: "The service works again" + _because(data, "text"),
    "cause-recorded": lambda data, at, zone: "; ".join(
        f"{name}: {_text(data, name, 1000)}" for name in ("cause", "fix", "prevention")
    ).capitalize(),
    "breach-judged": lambda data, at, zone: (
        f"The suspicion of a data breach is {_text(data, 'verdict', 20)}" + _because(data, "text")
    ),
    "checked": lambda data, at, zone: f"Done: {_text(data, 'item', 40).replace('-', ' ')}" + _because(data, "text"),
    "resolved": _resolved,
    "resolution-proposed": lambda data, at, zone: (
        f"Every symptom is quiet: resolve as {_text(data, 'resolution', 40) or 'self-recovered'}?"
    ),
    "closed": lambda data, at, zone: "Closed" + _because(data, "text"),
    "reopened": lambda data, at, zone: "Reopened" + _because(data),
    "merged": lambda data, at, zone: f"Merged into {_text(data, 'into', 40) or 'another ticket'}",
    "delivered": _delivered,
}
