"""A store as a desk has it after years: 100,000 tickets with symptoms, timelines and messages, written in bulk.

A few hundred histories are folded as the desk folds them; the others are copies of these at other times. A few tickets
are open, the rest closed; the mix of services, priorities and sources follows a fixed seed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert

from detector.nouns import (
    Acknowledged,
    Affected,
    Change,
    ClockMet,
    ClockStarted,
    Closed,
    Evidence,
    Impact,
    Noted,
    Opened,
    Priority,
    Reporter,
    Resolved,
    Routed,
    Symptom,
    SymptomJoined,
    Ticket,
    Tier,
    Triaged,
)
from detector.series.identity import symptom_id
from detector.tickets import schema
from detector.tickets.codec import change_data, change_name, document, symptom_doc, ticket_doc
from detector.tickets.database import address
from detector.tickets.desk import Desk
from detector.tickets.lifecycle import fold

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
TEMPLATES = 300
PORTION = 2_000
_Rows = dict[str, list[dict[str, Any]]]
_Timeline = list[tuple[int, str, str, str]]
_Template = tuple[Ticket, _Timeline]
PRIORITIES: tuple[Priority, ...] = ("P1", "P2", "P3", "P3", "P4", "P4")
TIERS: tuple[Tier, ...] = ("L1", "L1", "L2", "L3")
CATEGORIES = ("capacity/disk", "latency", "errors", "availability", "capacity/memory", "other")
WORDS = ("queue", "is", "stuck", "again", "after", "the", "deployment", "of", "checkout", "nobody", "can", "pay")


def fill(path: Path, tickets: int, still_open: int, now: int) -> None:
    """``tickets`` in the SQLite file ``path``, ``still_open`` of them open, the newest at ``now`` (ms)."""
    partial = path.with_name(f"{path.name}.partial")
    asyncio.run(_fill(partial, tickets, still_open, now))
    partial.rename(path)  # a store that is there is a whole one


async def _fill(path: Path, tickets: int, still_open: int, now: int) -> None:
    desk = await Desk.open(address(path))
    dice = random.Random(7)
    closed = [_folded(_history(dice, n, True)) for n in range(TEMPLATES)]
    opened = [_folded(_history(dice, n, False)) for n in range(TEMPLATES)]
    ages = sorted((dice.randrange(2 * DAY, 700 * DAY) for _ in range(tickets - still_open)), reverse=True)
    ages += sorted((dice.randrange(MINUTE, 2 * DAY) for _ in range(still_open)), reverse=True)
    for start in range(0, tickets, PORTION):
        rows: _Rows = {"tickets": [], "symptoms": [], "timeline": [], "outbox": []}
        for number in range(start, min(start + PORTION, tickets)):
            pool = closed if number < tickets - still_open else opened
            _copied(rows, number + 1, pool[dice.randrange(TEMPLATES)], now - ages[number], dice)

        def write(connection: Connection, rows: _Rows = rows) -> None:
            for name, some in rows.items():
                if some:
                    connection.execute(insert(schema.metadata.tables[name]), some)

        await desk.transact(write)
    await desk.close()


def _history(dice: random.Random, number: int, ends: bool) -> Iterator[Change]:
    """The changes of one ticket that was opened at time 0."""
    key, service = "new-1", f"service-{number % 180}"
    reported = number % 5 == 0
    reporter = Reporter(f"Person {number}", f"person{number}@example.org") if reported else None
    text = " ".join(dice.choice(WORDS) for _ in range(40)) if reported else None
    yield Opened(
        key, 0, source="report" if reported else "detected", service=service, mode="ticket" if reported else "page",
        phase=None if reported else dice.choice(("predicted", "disrupting")), description=text, reporter=reporter,
        title=f"Trouble {number}" if reported else "",
    )  # fmt: skip
    for n in range(0 if reported else dice.choice((1, 1, 2, 3, 5))):
        affected = (Affected(service, (f"host{n}",)), Affected(f"service-{(number + 1) % 180}", (), "impacted"))
        yield SymptomJoined(key, n * MINUTE, symptom=_symptom(dice, service, n, not ends), affected=affected)
    priority, tier = dice.choice(PRIORITIES), dice.choice(TIERS)
    yield Triaged(key, 0, category=dice.choice(CATEGORIES), priority=priority, priority_reason="medium impact, urgency")
    yield Routed(key, 0, tier=tier, team=f"team-{number % 12}", reason="everything else")
    for name, target in (("response", HOUR), ("resolution", DAY)):
        yield ClockStarted(key, 0, clock=name, due_at=target, warn_at=target * 3 // 4)
    if ends or number % 3 == 0:
        yield Acknowledged(key, 5 * MINUTE, "ann", assignee="ann")
        yield ClockMet(key, 5 * MINUTE, clock="response")
        for n in range(dice.randrange(4)):
            yield Noted(key, (10 + n) * MINUTE, "ann", text=" ".join(dice.choice(WORDS) for _ in range(20)))
    if ends:
        yield Resolved(key, 50 * MINUTE, "ann", resolution=dice.choice(("fixed", "prevented", "false-alarm")))
        yield ClockMet(key, 50 * MINUTE, clock="resolution")
        yield Closed(key, HOUR, text="nothing came back")


def _symptom(dice: random.Random, service: str, n: int, active: bool) -> Symptom:
    times = tuple(range(-30 * MINUTE, 1, 30_000))
    values = tuple(round(dice.gauss(100, 5), 3) for _ in times)
    forecast = tuple((k * 5 * MINUTE, 90.0 - k, 91.0 - k, 92.0 - k) for k in range(8))
    labels = {"instance": f"host{n}:9100", "mountpoint": "/data", "job": service, "service": service}
    seen = dice.random() < 0.4
    return Symptom(
        id=symptom_id("forecast", labels, dice.randrange(1 << 40)), detector="forecast" if seen else "rule",
        kind="exhaustion", name="node_filesystem_avail_bytes", service=service, labels=labels,
        metric="node_filesystem_avail_bytes", score=6.2, value=values[-1], lower=None, upper=None, first_at=0,
        last_at=0, active=active, category="capacity/disk", item=f"host{n} /data",
        summary="Free space on /data falls 1.1 MiB a minute and is gone in 38 min",
        impact=Impact(30 * MINUTE, 38 * MINUTE, 52 * MINUTE) if seen else None,
        evidence=Evidence(times, values, limit=0.0, forecast=forecast, unit="bytes") if seen else None,
    )  # fmt: skip


def _folded(history: Iterator[Change]) -> _Template:
    """The ticket that a history makes, and its timeline as it is stored."""
    ticket: Ticket | None = None
    timeline: _Timeline = []
    for change in history:
        ticket = fold(ticket, change)
        timeline.append((change.at, change.who, change_name(change), document(change_data(change))))
    assert ticket is not None
    return ticket, timeline


def _copied(rows: _Rows, id: int, template: _Template, at: int, dice: random.Random) -> None:
    """The rows of the template's ticket as number ``id``, opened at ``at`` (ms)."""
    ticket, timeline = template
    key = f"INC-{id}"
    own = replace(
        ticket, key=key, version=1, opened_at=at, clocks=tuple(replace(c, due_at=c.due_at + at) for c in ticket.clocks),
        acknowledged_at=_moved(ticket.acknowledged_at, at), first_symptom_at=_moved(ticket.first_symptom_at, at),
        disrupted_at=_moved(ticket.disrupted_at, at), resolved_at=_moved(ticket.resolved_at, at),
        closed_at=_moved(ticket.closed_at, at), restored_at=_moved(ticket.restored_at, at),
        first_response_at=_moved(ticket.first_response_at, at), last_step_at=_moved(ticket.last_step_at, at),
    )  # fmt: skip
    rows["tickets"].append({
        "id": id, "version": 1, "kind": own.kind, "state": own.state, "phase": own.phase, "service": own.service,
        "mode": own.mode, "priority": own.priority, "tier": own.tier, "restricted": False, "opened_at": at,
        "ended_at": own.closed_at, "due_at": None, "idempotency_key": None, "doc": ticket_doc(own),
    })  # fmt: skip
    for position, symptom in enumerate(own.symptoms):
        moved = replace(symptom, id=f"{dice.randrange(1 << 64):016x}", first_at=at, last_at=at)
        if moved.evidence is not None:
            moved = replace(moved, evidence=replace(moved.evidence, at=tuple(t + at for t in moved.evidence.at)))
        rows["symptoms"].append({
            "ticket_id": id, "symptom_id": moved.id, "position": position, "active": moved.active,
            "doc": symptom_doc(moved),
        })  # fmt: skip
    rows["timeline"] += [
        {"ticket_id": id, "at": when + at, "who": who, "what": what, "data": data} for when, who, what, data in timeline
    ]
    for event in ("opened", "resolved") if own.state == "closed" else ("opened",):
        thread = f"detector/{key}/first"
        rows["outbox"].append({
            "ticket_id": id, "channel": "first", "event": event, "urgency": "notify", "reason": event,
            "dedup_key": thread, "idempotency_key": f"{thread}/{event}", "state": "sent", "created_at": at,
            "not_before": at, "claimed_until": None, "attempts": 1, "receipt": "r", "settled_at": at + 900,
        })  # fmt: skip


def _moved(time: int | None, by: int) -> int | None:
    return None if time is None else time + by
