"""Who may do what: one pure table. In: a person, a route or an act on a ticket. Out: nothing, or why not.

A role is a person's; scopes narrow what a token of theirs may do. A changing route that is not in the table needs an
admin: what nobody thought of is closed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from detector.nouns import Tier, Viewer
from detector.web.links import is_open

Role = Literal["viewer", "agent", "manager", "admin"]
Scope = Literal["read", "act", "ingest", "admin"]
Way = Literal["open", "public", "password", "session", "token", "certificate"]
ROLES: tuple[Role, ...] = get_args(Role)
SCOPES: tuple[Scope, ...] = get_args(Scope)
MEANING: Mapping[Role, str] = {
    "viewer": "reads, and reports",
    "agent": "acts on the tickets of the own tiers, writes notes and informs on all",
    "manager": "acts on every ticket, sets priorities by hand, silences, publishes, exports, reads the audit log",
    "admin": "everything: tokens and sessions of others, reload, ingest",
}


@dataclass(frozen=True, slots=True)
class Person(Viewer):
    """Whoever asks, with what they may do."""

    role: Role = "admin"
    tiers: tuple[Tier, ...] = ()
    """Of an agent: whose tickets they act on; empty: all."""
    scopes: frozenset[Scope] | None = None
    """Of a token; None: a person came in, or nobody is asked."""
    way: Way = "open"
    login: str = ""
    """The session's or the token's id."""
    expires_at: int | None = None
    """When (ms) the token ends."""


@dataclass(frozen=True, slots=True)
class Need:
    """The least role, and the scopes of which a token needs one."""

    role: Role
    scopes: frozenset[Scope]


READ = Need("viewer", frozenset({"read", "act", "admin"}))
REPORT = Need("viewer", frozenset({"act", "ingest", "admin"}))
OWN = Need("viewer", frozenset({"admin"}))
"""The own sessions and tokens; those of others are the handler's to refuse."""
KEEP = Need("viewer", frozenset({"act", "admin"}))
"""What is the own and changes nothing for others, such as a view of the board."""
ACT = Need("agent", frozenset({"act", "admin"}))
MANAGE = Need("manager", frozenset({"act", "admin"}))
OVERSEE = Need("manager", frozenset({"read", "act", "admin"}))
ADMIN = Need("admin", frozenset({"admin"}))
INGEST = Need("admin", frozenset({"ingest", "admin"}))

# A name that ends with a slash is a beginning, any other one is the whole route; the longest that fits is meant.
_READS: Mapping[str, Need] = {
    "/audit": OVERSEE, "/api/audit": OVERSEE, "/api/export": OVERSEE, "/api/export/": OVERSEE, "/export/": OVERSEE,
}  # fmt: skip
_CHANGES: Mapping[str, Need] = {
    "/api/v1/query": READ, "/api/v1/query_range": READ, "/api/v1/series": READ, "/api/v1/labels": READ,
    "/report": REPORT, "/api/reports": REPORT,
    "/api/incidents/": ACT, "/incidents/": ACT, "/api/incidents/{key}/prioritise": MANAGE,
    "/bulk": ACT, "/problems": ACT, "/problems/": ACT, "/api/problems": ACT, "/api/problems/": ACT,
    "/views": KEEP, "/views/": KEEP,
    "/oncall/test": ACT, "/api/oncall/test": ACT,
    "/silences": MANAGE, "/silences/": MANAGE, "/api/v2/silences": MANAGE, "/api/v2/silence/": MANAGE,
    "/logout": OWN, "/account/": OWN, "/api/tokens": OWN, "/api/tokens/": OWN,
    "/-/": ADMIN, "/api/channels/": ADMIN,
}  # fmt: skip
_ON_ALL = frozenset({"note", "inform"})
"""What an agent may also do on a ticket that is another tier's."""
_BY_MANAGERS = frozenset({"prioritise", "publish", "silence"})


def public(route: str) -> bool:
    """Whether ``route`` (as it was registered, with its placeholders) asks nobody who they are: signed links, the page
    for everybody, the login itself."""
    return route == "/login" or is_open(route)


def named(method: str, route: str, ingest: Collection[str]) -> Need | None:
    """What the table says of ``route``; None where it says nothing. ``ingest``: the routes that programs send to."""
    table = _READS if method in ("GET", "HEAD") else _CHANGES
    found = max((name for name in table if _fits(route, name)), key=len, default=None)
    if found is not None:
        return table[found]
    return INGEST if route in ingest and table is _CHANGES else None


def need(method: str, route: str, ingest: Collection[str]) -> Need:
    """What a request needs: reading is everybody's who came in, any other change an admin's."""
    return named(method, route, ingest) or (READ if method in ("GET", "HEAD") else ADMIN)


def _fits(route: str, name: str) -> bool:
    return route.startswith(name) if name.endswith("/") else route == name


def refusal(person: Person, needed: Need) -> str | None:
    """Why ``person`` may not, naming what is needed; None where they may."""
    if person.scopes is not None and not person.scopes & needed.scopes:
        ways = " or ".join(scope for scope in SCOPES if scope in needed.scopes)
        has = ", ".join(scope for scope in SCOPES if scope in person.scopes)
        return f"This needs a token with the scope {ways}; this one has {has}."
    return _below(person, needed.role)


def act_refusal(person: Person, action: str, tier: Tier | None) -> str | None:
    """Why ``person`` may not do ``action`` on a ticket of ``tier`` (None: of no tier yet); None where they may."""
    if reason := _below(person, "manager" if action in _BY_MANAGERS else "agent"):
        return reason
    if person.role != "agent" or action in _ON_ALL or not person.tiers or tier is None or tier in person.tiers:
        return None
    own = " and ".join(person.tiers)
    return (
        f"It is with {tier}, and {person.name} has the role agent of {own}: write a note, or ask {tier} or a manager."
    )


def at_least(person: Person, role: Role) -> bool:
    return ROLES.index(person.role) >= ROLES.index(role)


def _below(person: Person, role: Role) -> str | None:
    return None if at_least(person, role) else f"This needs the role {role}; {person.name} has the role {person.role}."
