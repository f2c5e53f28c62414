"""The register of data breaches (GDPR Art. 33(5)): the facts of each, its effects and the remedies, from its timeline.

Pure: a ticket and its timeline in, one record out; as JSON for programs and as CSV for who keeps it in a table.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from detector.clock import rfc3339
from detector.nouns import Ticket, TimelineEntry
from detector.tickets.acts import CHECKLIST

ASSESSED = "assess"
NOTIFIED = "notify-regulator"
COLUMNS = (
    "key", "title", "service", "state", "verdict", "suspected_at", "suspected_by", "confirmed_at", "confirmed_by",
    "dismissed_at", "dismissed_by", "finding", "effects", "affected", "remedies", "cause", "fix", "prevention",
    "regulator_due_at", "regulator_clock", "regulator_notified_at", "regulator_notified_by", "closed_at", "description",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def register(tickets: Iterable[tuple[Ticket, Sequence[TimelineEntry]]]) -> list[dict[str, Any]]:
    """A record of every ticket that is or was a suspected breach, oldest first; times are RFC 3339."""
    records = [(t.opened_at, t.key, _record(t, timeline)) for t, timeline in tickets if t.breach is not None]
    return [record for *_, record in sorted(records, key=lambda found: found[:2])]


def as_csv(records: Iterable[Mapping[str, Any]]) -> str:
    """One line a breach. A cell that a spreadsheet would take for a formula begins with an apostrophe: reporters are
    strangers."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for record in records:
        flat = _flat(record)
        writer.writerow([_harmless(flat[name]) for name in COLUMNS])
    return out.getvalue()


def _record(ticket: Ticket, timeline: Sequence[TimelineEntry]) -> dict[str, Any]:
    opened = next((entry for entry in timeline if entry.what == "opened"), None)
    reporter = ticket.reporter.name if ticket.reporter is not None and ticket.reporter.name else None
    checks = {str(entry.data["item"]): entry for entry in _of(timeline, "checked")}
    remedies = [_remedy(item, checks.get(item)) for item in dict.fromkeys((*CHECKLIST, *checks))]
    return {
        "key": ticket.key, "title": ticket.title, "description": ticket.description, "service": ticket.service,
        "state": ticket.state, "verdict": ticket.breach,
        "suspected": {
            "at": _time(ticket.reported_at if ticket.reported_at is not None else ticket.opened_at),
            "who": reporter or (opened.who if opened is not None else ""),
        },
        "judgements": [
            {"verdict": entry.data["verdict"], "at": _time(entry.at), "who": entry.who, "text": entry.data["text"]}
            for entry in _of(timeline, "breach-judged")
        ],
        "effects": str(checks[ASSESSED].data["text"]) if ASSESSED in checks else "",
        "affected": [{"service": a.service, "items": list(a.items)} for a in ticket.affected],
        "remedies": remedies,
        "measures": [
            {"at": _time(entry.at), "who": entry.who, "text": entry.data["text"]}
            for entry in _of(timeline, "fix-applied")
        ],
        "cause": ticket.cause, "fix": ticket.fix, "prevention": ticket.prevention,
        "regulator": _regulator(ticket, checks.get(NOTIFIED)),
        "opened_at": _time(ticket.opened_at), "resolved_at": _time(ticket.resolved_at),
        "closed_at": _time(ticket.closed_at),
    }  # fmt: skip


def _remedy(item: str, done: TimelineEntry | None) -> dict[str, Any]:
    if done is None:
        return {"item": item, "done_at": None, "who": None, "text": ""}
    return {"item": item, "done_at": _time(done.at), "who": done.who, "text": str(done.data["text"])}


def _regulator(ticket: Ticket, notified: TimelineEntry | None) -> dict[str, Any]:
    clock = next((clock for clock in ticket.clocks if clock.name == "regulator"), None)
    return {
        "due_at": _time(clock.due_at) if clock is not None else None,
        "clock": clock.state if clock is not None else None,
        "notified_at": _time(notified.at) if notified is not None else None,
        "notified_by": notified.who if notified is not None else None,
    }


def _of(timeline: Sequence[TimelineEntry], what: str) -> Iterator[TimelineEntry]:
    return (entry for entry in timeline if entry.what == what)


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as cells of one line; of several judgements the last of each kind."""
    last = {judged["verdict"]: judged for judged in record["judgements"]}
    remedies = [
        f"{remedy['item']}: {remedy['done_at'] or 'not done'}" + (f" ({remedy['text']})" if remedy["text"] else "")
        for remedy in record["remedies"]
    ]
    flat = {name: record.get(name) for name in COLUMNS}
    flat |= {
        "suspected_at": record["suspected"]["at"], "suspected_by": record["suspected"]["who"],
        "finding": last.get(record["verdict"], {}).get("text", ""),
        "affected": "; ".join(" ".join((a["service"], *a["items"])) for a in record["affected"]),
        "remedies": "; ".join(remedies),
        **{f"regulator_{name}": value for name, value in record["regulator"].items()},
    }  # fmt: skip
    for verdict in ("confirmed", "dismissed"):
        flat[f"{verdict}_at"] = last.get(verdict, {}).get("at")
        flat[f"{verdict}_by"] = last.get(verdict, {}).get("who")
    return flat


def _harmless(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _time(at: int | None) -> str | None:
    return None if at is None else rfc3339(at)
