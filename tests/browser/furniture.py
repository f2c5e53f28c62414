"""Desks as on bad days: a board for most tests, and one on which every page has all of its parts."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

from detector.incidents.catalogue import Catalogue, CatalogueOptions
from detector.incidents.mute import NoiseOptions
from detector.nouns import SYSTEM, Alert, ChangeEvent, Problem, Report, Reporter, Silence, Viewer
from detector.oncall.options import OnCallOptions
from detector.pipeline import Pipeline, Policy
from detector.tickets.options import TicketOptions
from detector.web.deps import ServiceFact
from tests.rows import DAY, HOUR, MINUTE, alert
from tests.web.house import filling

HOSTILE = '<img src=x onerror="window.pwned=1">'
LONG = "rechnungsdruckaufbereitungsdienst-" + "x" * 160
"""A name without a place to break it, as long as names may be."""
ANN, BEN = Viewer("ann"), Viewer("ben")
SERVICES = {
    "shop": ("checkout", "search-api", HOSTILE), "checkout": ("postgres", "mailer", LONG), "search-api": ("postgres",),
    "mailer": ("storage",), "postgres": ("storage",), LONG: ("storage",), HOSTILE: (), "storage": (),
}  # fmt: skip
ROSTER = {
    "people": [{"name": "ann", "channels": ["ann"]}, {"name": "ben", "channels": ["ben"]},
               {"name": HOSTILE[:60], "channels": []}],
    "schedules": [
        {"name": "web", "zone": "Europe/Berlin", "layers": [{"people": ["ann", "ben"]}]},
        {"name": "desk in the day", "layers": [{"people": ["ben"], "days": ["mon", "tue", "wed", "thu", "fri"]}]},
    ],
    "policies": [{"name": "all", "steps": [{"schedule": "web"}, {"person": "ben"}]}],
}  # fmt: skip
RUNBOOK = {
    "name": "Disk fills up", "categories": ["capacity/disk"], "link": "https://runbooks.example.org/disk",
    "steps": ["Look for old dumps in /data/backup.", "Ask storage for a larger volume, and say since when it grows.",
              "Move cold tables: " + "a long sentence of somebody who had time " * 4],
    "actions": [
        {"name": "grow", "says": "The volume grows by 10 GiB", "url": "https://deploy.example.org/hooks/grow",
         "body": '{"incident": "$key", "item": "$item"}', "every": "0s"},
        {"name": "clean", "says": "Dumps older than a week are removed",
         "url": "https://deploy.example.org/hooks/" + "c" * 120},
    ],
}  # fmt: skip


async def furnish(pipeline: Pipeline, now: int) -> None:
    """Five incidents: two predicted, one that hurts, one from an alert, one with hostile text."""
    step = pipeline.step
    await step([filling(at=now)], [], now)
    main = "/var/lib/postgresql/14/main"
    labels = {"instance": "db2:9100", "mountpoint": main}
    await step([filling(main, service="postgres", at=now, left=3 * HOUR, labels=labels, item="db2")], [], now)
    failing = {"summary": "5xx 12 % of requests", "runbook_url": "https://runbooks.example/checkout"}
    critical = {"service": "checkout", "severity": "critical"}
    await step(
        [], [alert("CheckoutErrors", at=now, labels=critical, annotations=failing, starts_at=now - 4 * MINUTE)], now
    )
    await step([], [_slow(now)], now)
    labels, long = {"service": HOSTILE, "severity": "info"}, {"summary": HOSTILE + " long" * 60}
    await step([], [alert(HOSTILE, at=now, labels=labels, annotations=long, starts_at=now - 50 * MINUTE)], now)
    await pipeline.act("INC-2", "ack", ANN, now=now)
    text = "Old dumps in /data/backup are not needed.\nAsked storage for a second volume."
    await pipeline.act("INC-1", "note", BEN, now=now, text=text)


def _slow(now: int) -> Alert:
    slow = {"summary": "p99 latency 2.4 s, 0.8 s is usual"}
    return alert("QueueSlow", at=now, labels={"service": "mailer"}, annotations=slow, starts_at=now - 14 * MINUTE)


def policy(now: int) -> Policy:
    """A catalogue with hostile names, runbooks with actions, a window of maintenance that is announced."""
    services = [
        {"name": name, "depends_on": needs, "team": None if name == HOSTILE else "web",
         "criticality": "high" if name in ("shop", "checkout") else "medium",
         "runbook": "https://runbooks.example/" + name if name.isalpha() else ""}
        for name, needs in SERVICES.items()
    ]  # fmt: skip
    window = {
        "name": "move", "matchers": ['service="search-api"'], "reason": "We move the search to new machines",
        "public": True, "start": _iso(now + DAY), "end": _iso(now + DAY + 2 * HOUR),
    }  # fmt: skip
    # Everything is an incident of its own: the pages shall be full, not the correlation be right.
    return Policy(
        catalogue=Catalogue(CatalogueOptions.model_validate({"services": services})),
        noise=NoiseOptions.model_validate({"maintenance": [window]}),
        tickets=TicketOptions.model_validate({"response": {"runbooks": [RUNBOOK]}}),
        oncall=OnCallOptions.model_validate(ROSTER),
    )


def facts(pipeline: Pipeline) -> list[ServiceFact]:
    """The catalogue as the daemon tells pages of it."""
    entries = pipeline.policy.catalogue.entries.values()
    known = [ServiceFact(e.name, e.team, e.criticality, e.depends_on, e.runbook) for e in entries]
    return known or [ServiceFact("storage", "storage", "high", ("network",), "https://runbooks.example/storage")]


async def furnish_everything(pipeline: Pipeline, now: int) -> None:
    """:func:`furnish`, and whatever else pages can show: past, silences, changes, public words, calls, problems."""
    pipeline.desk.subscribed = ("email", "webhook")
    await furnish(pipeline, now)
    # Before there is a catalogue: what was apart is not one incident with what rests on it.
    await _past(pipeline, now - 9 * DAY)
    pipeline.set_policy(policy(now))
    await _investigated(pipeline, now)
    await _told(pipeline, now)
    await _reported(pipeline, now)
    await _silenced(pipeline, now)


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at // 1000, UTC).isoformat()


async def _past(pipeline: Pipeline, now: int) -> None:
    """INC-6 and INC-7 have ended: for the statistics, the bars of the status page, what was like it."""
    labels = {"instance": "db7:9100", "mountpoint": "/data"}
    before = filling(service="archive", at=now, labels=labels, item="db7 /data")
    broken = {"service": "search-api", "severity": "critical"}
    down = alert("SearchDown", at=now, labels=broken, annotations={"summary": "search is down"}, starts_at=now)
    await pipeline.step([before], [down], now)
    act = _Acts(pipeline, now)
    keys = {ticket.service: key for key, ticket in pipeline.board.tickets.items()}
    await act(keys["search-api"], "publish", status="investigating", body="Search is down.", title="No search")
    act = _Acts(pipeline, now + 5 * HOUR)
    await act(keys["search-api"], "publish", status="resolved", body="It works again.")
    await act(keys["archive"], "prevent", text="Removed dumps that nobody needs")
    for name, code in (("search-api", "fixed"), ("archive", "prevented")):
        await act(keys[name], "resolve", resolution=code, text="as planned", force=True)


class _Acts:
    """Acts on tickets, each a millisecond after the last: entries of a timeline keep their order."""

    def __init__(self, pipeline: Pipeline, now: int) -> None:
        self._pipeline, self._times = pipeline, count(now + 1)

    async def __call__(self, key: str, action: str, who: Viewer = ANN, **arguments: Any) -> None:
        await self._pipeline.act(key, action, who, now=next(self._times), **arguments)


async def _investigated(pipeline: Pipeline, now: int) -> None:
    """INC-1: everything that is done about a prediction; what was changed before; a problem behind it."""
    act = _Acts(pipeline, now)
    for minutes, summary in ((90, "release 2026.11.3"), (25, "nightly dump moved to " + LONG)):
        event = ChangeEvent(
            "storage", now - minutes * MINUTE, summary, "deploy", "https://ci.example/1", dedup_key=summary
        )
        await pipeline.changes.add(event)
    opened = Problem(
        "", 0, "Dumps are never removed", now, "ann", service="storage", state="known-error",
        cause="The timer of the cleaning job is off", workaround="Remove /data/backup/*.old by hand",
    )  # fmt: skip
    problem = await pipeline.problems.open(opened)
    await pipeline.problems.open(Problem("", 0, HOSTILE + LONG, now, HOSTILE, service=LONG, cause="?" * 400))
    await act("INC-1", "hypothesis", text="the nightly dump writes to the wrong volume")
    await act("INC-1", "hypothesis", text=LONG)
    await act("INC-1", "settle", number=1, holds=True, text="lsof shows it")
    await act("INC-1", "run", name="grow", confirmed=True)
    await act("INC-1", "answered-action", SYSTEM, name="grow", ok=True, said="202 Accepted")
    await act("INC-1", "link", to="INC-3", how="causes")
    await act("INC-1", "link", to=problem.key, how="related")


async def _told(pipeline: Pipeline, now: int) -> None:
    """INC-3 is public, with a draft that waits."""
    act = _Acts(pipeline, now)
    await act("INC-3", "publish", status="investigating", title="Orders fail", body="We look into it.\nPlease wait.")
    await act("INC-3", "draft", status="identified", body="We know why, and work on it.")
    await act("INC-5", "publish", status="investigating", title=HOSTILE + LONG, body=HOSTILE + LONG)


async def _reported(pipeline: Pipeline, now: int) -> None:
    """INC-8: a person's words, a talk, questions, a call."""
    act = _Acts(pipeline, now)
    told = "Nothing can be bought.\nThe page stays white. " + LONG
    report = Report(
        told, now, Reporter("Kim " + "Kimberley" * 12, "kim@example.org"), service="shop", title="White page"
    )
    key = (await pipeline.report(report)).key
    await act(key, "ack")
    await act(key, "prioritise", priority="P1", reason="nobody can buy")
    await act(key, "reply", text="Thank you, we look.\nWe come back to you.")
    await act(key, "ask", asked=["Since when is it so?", "Which browser? " + LONG])
    await act(key, "bridge", link="https://meet.example.org/inc", dial_in="+49 30 123456, PIN 42", attendees=["ben"])


async def _silenced(pipeline: Pipeline, now: int) -> None:
    """INC-4 is muted; one silence has ended, one mutes far too much."""
    await pipeline.silence(
        [
            Silence("s1", (("service", "=", "mailer"),), now, now + 4 * HOUR, now, "ann", "new queue is rolled out"),
            Silence("s2", (("service", "=~", ".+"),), now + HOUR, now + 2 * HOUR, now, "ben", ""),
            Silence("s3", (("instance", "=", LONG), ("x", "!=", HOSTILE)), now - DAY, now - HOUR, now, HOSTILE, LONG),
        ],
        now,
    )  # fmt: skip
