"""Tokens and the audit log as JSON."""

from __future__ import annotations

import secrets
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from detector.clock import rfc3339
from detector.tickets.people import Record, Token, TooManyTokens
from detector.web.api.incidents import MOST, limit
from detector.web.api.models import Time
from detector.web.auth import VIEWER
from detector.web.body import Body, Line, json_body
from detector.web.deps import Deps
from detector.web.guard import TOKEN_PREFIX
from detector.web.openapi import Parameter, operation
from detector.web.problems import Problem
from detector.web.rights import SCOPES, Person, Scope, at_least
from detector.web.sessions import digest
from detector.words import DAY, in_calendar, plain

DAYS, MOST_DAYS = 90, 365
_ID_DIGITS = 12


class TokenBody(Body):
    """A token to be made."""

    name: Line = Field(description="What it is for.")
    scopes: list[Scope] = Field(["read"], min_length=1, max_length=4, description="act includes read, admin all.")
    days: int = Field(DAYS, ge=1, le=MOST_DAYS, description="How long it lasts.")


class TokenModel(BaseModel):
    id: int
    name: str
    who: str = Field(description="As whom it acts, with no more rights than theirs.")
    scopes: list[Scope]
    created_at: Time
    expires_at: Time
    revoked_at: Time | None


class NewToken(TokenModel):
    token: str = Field(description="The token itself; it is shown this once.")


class Tokens(BaseModel):
    items: list[TokenModel]


class AuditEntry(BaseModel):
    id: int
    at: Time
    who: str
    what: str
    target: str
    data: dict[str, Any]


class AuditPage(BaseModel):
    items: list[AuditEntry]
    next: str | None


_ID = Parameter("id", "The token's number.", {"type": "integer", "minimum": 1}, "path")
_PAGE = (
    Parameter("limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": MOST, "default": 50}),
    Parameter("cursor", "Where the last page ended: its `next`.", {"type": "string"}),
)


def token_json(token: Token) -> dict[str, Any]:
    return {
        "id": token.id, "name": token.name, "who": token.who, "scopes": list(token.scopes),
        "created_at": _time(token.created_at), "expires_at": _time(token.expires_at),
        "revoked_at": _time(token.revoked_at) if token.revoked_at is not None else None,
    }  # fmt: skip


def record_json(record: Record) -> dict[str, Any]:
    return {
        "id": record.id, "at": _time(record.at), "who": record.who, "what": record.what, "target": record.target,
        "data": dict(record.data),
    }  # fmt: skip


def _time(at: int) -> str:
    return rfc3339(in_calendar(at))


async def make(deps: Deps, person: Person, name: str, scopes: list[Scope], days: int) -> tuple[Token, str]:
    """A new token of ``person``, and its text. One that is made with a token lasts no longer than that."""
    if not deps.access.users or deps.access.person(person.name) is None:
        raise Problem(409, "Nobody is asked for a name here, so a token has no owner: configure web.users first.")
    now, text = deps.clock.now(), TOKEN_PREFIX + secrets.token_urlsafe(32)
    expires_at = min(now + days * DAY, person.expires_at or now + days * DAY)
    ordered = [scope for scope in SCOPES if scope in scopes]
    try:
        token = await deps.people.make(digest(text), name, person.name, ordered, now, expires_at)
    except TooManyTokens as error:
        raise Problem(409, f"{error}.") from None
    data = {"name": name, "scopes": ordered, "expires_at": _time(expires_at)}
    await deps.people.audit(person.name, "token-made", f"token {token.id}", data)
    return token, text


async def revoke(deps: Deps, person: Person, id: str) -> Token:
    """End a token, the own or as an admin anybody's; 404 for another's, as for one that is not there."""
    known = id.isascii() and id.isdigit() and len(id) <= _ID_DIGITS
    whose = None if at_least(person, "admin") else person.name
    token = await deps.people.revoke(int(id), deps.clock.now(), whose) if known else None
    if token is None:
        raise Problem(404, f"There is no token {plain(id, 40)} of yours.")
    await deps.people.audit(person.name, "token-revoked", f"token {token.id}", {"name": token.name, "who": token.who})
    return token


def before(cursor: str) -> int | None:
    """The record that a page of the audit log begins after; 400 for what is no cursor of ours."""
    if not cursor:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _ID_DIGITS):
        raise Problem(400, "cursor: the cursor is not one that this API gave.")
    return int(cursor)


async def audit_page(deps: Deps, cursor: str, most: int) -> tuple[list[Record], str | None]:
    """Records, newest first, and the cursor of what follows."""
    found = await deps.people.audited(before(cursor), most + 1)
    return found[:most], str(found[most - 1].id) if len(found) > most else None


def routes(deps: Deps) -> list[web.RouteDef]:
    """The routes, each with its description."""

    @operation("Own tokens; an admin sees everybody's", Tokens, tag="people")
    async def list_tokens(request: web.Request) -> web.Response:
        person = request[VIEWER]
        whose = None if at_least(person, "admin") else person.name
        return web.json_response({"items": [token_json(token) for token in await deps.people.tokens(whose)]})

    @operation(
        "A new token, shown this once", NewToken, body=TokenBody, errors=(408, 409, 413, 415, 422), tag="people",
        status=201,
    )  # fmt: skip
    async def make_token(request: web.Request) -> web.Response:
        body = await json_body(request, TokenBody, deps.options.limits.body)
        token, text = await make(deps, request[VIEWER], body.name, body.scopes, body.days)
        return web.json_response(token_json(token) | {"token": text}, status=201)

    @operation("The token opens nothing any more", TokenModel, parameters=(_ID,), errors=(404,), tag="people")
    async def revoke_token(request: web.Request) -> web.Response:
        return web.json_response(token_json(await revoke(deps, request[VIEWER], request.match_info["id"])))

    @operation("Who did what beside the tickets, newest first", AuditPage, parameters=_PAGE, tag="people")
    async def show_audit(request: web.Request) -> web.Response:
        most = limit(request.query.get("limit", ""))
        found, following = await audit_page(deps, request.query.get("cursor", ""), most)
        return web.json_response({"items": [record_json(record) for record in found], "next": following})

    return [
        web.get("/api/tokens", list_tokens),
        web.post("/api/tokens", make_token),
        web.delete("/api/tokens/{id}", revoke_token),
        web.get("/api/audit", show_audit),
    ]
