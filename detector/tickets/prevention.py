"""A response that prevents: what could be done about a prediction, what was done, whether the forecast turned. Pure.

A runbook carries steps for people and actions: an HTTP call that is written down word for word in the configuration,
never a shell. An action is proposed on a predicted incident and run at one confirmed press; what the forecast said
before is frozen, so that what followed can be held against it.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from detector.nouns import ActionAnswered, ActionRun, Change, Impact, PreventionDeclined, PreventionDone, Ticket, Tier
from detector.options import Duration, Options, ms
from detector.tickets.allowed import NotAllowed, alive, cut_text

Effect = Literal["prevented", "self-recovered", "not helped", "open"]
PLACES = ("key", "service", "category", "priority", "item")
"""What an action's body may name: facts of the ticket, never foreign text as a whole."""
ROLES = ("viewer", "agent", "manager", "admin")
_TURNED = 1.5
"""A forecast has turned when the time that is left is half as long again as it was, or it reaches the limit no more."""


def _template(text: str) -> str:
    """A body with ``$key``, ``$service``, ``$category``, ``$priority``, ``$item``; other names are refused."""
    named = string.Template(text)
    if not named.is_valid():
        raise ValueError("a lone $: write $$ for the sign itself")
    if unknown := sorted(set(named.get_identifiers()) - set(PLACES)):
        raise ValueError(f"${unknown[0]} is not known; there are: {', '.join('$' + name for name in PLACES)}")
    return text


def _url(text: str) -> str:
    if not text.startswith(("https://", "http://")) or any(ord(c) <= 32 for c in text):
        raise ValueError("an address such as https://deploy.example.org/hooks/grow-disk")
    return text


class Action(Options):
    """One HTTP call that may be run for a prediction."""

    name: str = Field(min_length=1, max_length=100)
    says: str = Field(min_length=1, max_length=500)
    """What it will do, in a sentence: shown before it is run."""
    url: Annotated[str, AfterValidator(_url)]
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    body: Annotated[str, AfterValidator(_template)] = '{"incident": "$key", "service": "$service"}'
    headers_file: str | None = None
    """A file with headers, a ``Name: value`` a line; secrets belong there."""
    tiers: tuple[Tier, ...] = ("L1", "L2", "L3")
    """Of tickets that are with these tiers."""
    approve: Literal["agent", "manager", "admin"] = "agent"
    """The least role that may run it."""
    timeout: Duration = Field(ms("30s"), ge=100, le=600_000)
    every: Duration = Field(ms("10m"), ge=0)
    """Not more often than that, over all tickets."""


class Runbook(Options):
    """What to do about some predictions: for these categories and services, without either for all."""

    name: str = Field(min_length=1, max_length=100)
    categories: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    link: str = ""
    steps: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()

    def fits(self, ticket: Ticket) -> bool:
        """Whether it is about this ticket; a category covers those below it."""
        own = ticket.category or ""
        about = not self.categories or any(own == c or own.startswith(c + "/") for c in self.categories)
        return about and (not self.services or ticket.service in self.services)


class ResponseOptions(Options):
    """Runbooks, and the switch that stops every action at once."""

    runbooks: tuple[Runbook, ...] = ()
    actions: bool = True
    """false: no action can be run any more; steps stay."""

    @model_validator(mode="after")
    def _names(self) -> ResponseOptions:
        names = [action.name for book in self.runbooks for action in book.actions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two actions have the name {', '.join(twice)}")
        return self

    def action(self, name: str) -> Action | None:
        return next((a for book in self.runbooks for a in book.actions if a.name == name), None)


def runbook(ticket: Ticket, options: ResponseOptions) -> Runbook | None:
    """The first that is about it."""
    return next((book for book in options.runbooks if book.fits(ticket)), None)


def proposed(ticket: Ticket, options: ResponseOptions) -> Sequence[Action]:
    """The actions that are offered for a prediction, in the order of its runbook."""
    book = runbook(ticket, options)
    if book is None or not options.actions or ticket.phase != "predicted":
        return ()
    done = {run.name for run in ticket.actions if run.result == "succeeded"}
    return tuple(a for a in book.actions if a.name not in done and (ticket.tier is None or ticket.tier in a.tiers))


def filled(action: Action, ticket: Ticket) -> str:
    """The body as it will be sent: facts are put in as JSON puts text, so that no name can break out of its quotes."""
    item = next((s.item for s in ticket.symptoms if s.active and s.item), "")
    values = {"key": ticket.key, "service": ticket.service, "category": ticket.category or "",
              "priority": ticket.priority or "", "item": item}  # fmt: skip
    return string.Template(action.body).substitute({name: _quoted(text) for name, text in values.items()})


def _quoted(text: str) -> str:
    return json.dumps(text)[1:-1]


# --- acts -------------------------------------------------------------------------------------------------------------


def run(
    ticket: Ticket, who: str, now: int, name: str = "", confirmed: bool = False, *, options: ResponseOptions,
    last_run: Mapping[str, int] | None = None, role: str = "admin",
) -> list[Change]:  # fmt: skip
    """Run a proposed action, at one confirmed press. The call itself follows the commit of this fact."""
    alive(ticket, "acted on")
    if not options.actions:
        raise NotAllowed("actions are switched off in the configuration (tickets.response.actions)")
    offered = {action.name: action for action in proposed(ticket, options)}
    if name not in offered:
        raise NotAllowed(f"{name!r} is not offered for {ticket.key}; there are: {', '.join(offered) or 'none'}")
    if any(one.result == "running" for one in ticket.actions):
        raise NotAllowed(f"an action runs already for {ticket.key}: wait for its answer")
    action = offered[name]
    if ROLES.index(role) < ROLES.index(action.approve):
        raise NotAllowed(f"{name} is run by somebody with the role {action.approve}; {who} has the role {role}")
    before = (last_run or {}).get(name)
    if before is not None and now < before + action.every:
        wait = (before + action.every - now + 59_999) // 60_000
        raise NotAllowed(f"{name} was run less than {action.every // 60_000} min ago: again in {wait} min")
    if not confirmed:
        raise NotAllowed(f"confirm that it shall be run: {action.says}")
    body = filled(action, ticket)
    return [ActionRun(ticket.key, now, who, name=name, says=action.says, body=body, before=ticket.impact)]


def answered(ticket: Ticket, who: str, now: int, name: str = "", ok: bool = False, said: str = "") -> list[Change]:
    """What came back, or that nothing did; for the one who made the call."""
    if not any(one.name == name and one.result == "running" for one in ticket.actions):
        return []
    return [ActionAnswered(ticket.key, now, who, name=name, ok=ok, said=said[:2000])]


def prevent(ticket: Ticket, who: str, now: int, text: str = "") -> list[Change]:
    """A person did what was to be done."""
    alive(ticket, "acted on")
    if not text.strip():
        raise NotAllowed("say what was done")
    return [PreventionDone(ticket.key, now, who, text=cut_text(text), before=ticket.impact)]


def decline(ticket: Ticket, who: str, now: int, text: str = "") -> list[Change]:
    """The proposed action is not taken, with the reason."""
    alive(ticket, "acted on")
    if not text.strip():
        raise NotAllowed("say why it is not done")
    return [PreventionDeclined(ticket.key, now, who, text=cut_text(text))]


# --- what it did ------------------------------------------------------------------------------------------------------


def turned(before: Impact | None, after: Impact | None, at: int, now: int) -> bool:
    """Whether the forecast is better than it was at ``at``, as far as that can be said at ``now``."""
    if before is None:
        return False
    if after is None:
        return True
    return after.likely - now > _TURNED * max(0, before.likely - at)


def effect(ticket: Ticket, now: int) -> Effect:
    """What became of a prediction: ``open`` while that cannot be said."""
    if ticket.disrupted_at is not None:
        return "not helped"
    quiet = ticket.quiet_since is not None or ticket.state in ("resolved", "closed")
    at = ticket.prevented_at
    if at is None:
        return "self-recovered" if quiet else "open"
    better = quiet or turned(ticket.prevention_before, ticket.impact, at, now)
    return "prevented" if better else "open"
