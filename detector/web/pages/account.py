"""Logging in and out, the own sessions and tokens, the audit log: pages that work without script."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from detector.tickets.people import Session
from detector.web.api.people import audit_page, revoke
from detector.web.auth import VIEWER
from detector.web.body import form
from detector.web.deps import Deps
from detector.web.guard import Guard
from detector.web.pages.layout import Layout
from detector.web.problems import Problem
from detector.web.rights import MEANING, at_least
from detector.web.sessions import local

_FORM_BYTES = 16 * 1024
_RECORDS = 100
AUDITED = {
    "login": "logged in", "login-failed": "a login failed", "logout": "logged out", "session-ended": "ended a session",
    "token-made": "made a token", "token-revoked": "revoked a token", "refused": "was refused",
    "reload": "reloaded the configuration",
}  # fmt: skip


def routes(deps: Deps, layout: Layout, guard: Guard) -> list[web.RouteDef]:
    async def ask(request: web.Request, name: str = "", trouble: Problem | None = None) -> web.Response:
        back = local(request.query.get("next", "/"))
        answer = await layout.render(
            request, "login.html", layout.here, code=trouble.status if trouble else 200, name=name, next=back,
            trouble=trouble, lost="lost" in request.query and trouble is None,
        )  # fmt: skip
        answer.headers.update(trouble.headers if trouble else {})
        return answer

    async def login_page(request: web.Request) -> web.Response:
        if not deps.access.users:
            raise web.HTTPSeeOther("/")
        return await ask(request)

    async def login(request: web.Request) -> web.Response:
        if not deps.access.users:
            raise web.HTTPSeeOther("/")
        fields = await form(request, _FORM_BYTES)
        name, password = fields.get("name", "").strip(), fields.get("password", "")
        try:
            right = await guard.right(request, name, password)
        except Problem as problem:
            return await ask(request, name, problem)
        if not right:
            # A browser asks with a window of its own where it is offered Basic.
            wrong = Problem(401, "The name or the password is wrong.", headers={"WWW-Authenticate": "Bearer"})
            return await ask(request, name, wrong)
        answer = web.HTTPSeeOther(local(request.query.get("next", "/")))
        response = web.Response(status=303, headers={"Location": answer.headers["Location"]})
        await guard.sessions.begin(request, name, response)
        await deps.people.audit(name, "login", name, {"address": request.remote or ""})
        return response

    async def logout(request: web.Request) -> web.Response:
        person = request[VIEWER]
        response = web.Response(status=303, headers={"Location": "/login" if deps.access.users else "/"})
        if person.way == "session":
            await deps.people.end(person.login)
            await deps.people.audit(person.name, "logout", person.name)
        guard.sessions.forget(request, response)
        return response

    async def account(request: web.Request) -> web.Response:
        person, now = request[VIEWER], deps.clock.now()
        admin, known = at_least(person, "admin"), deps.access.person(person.name) is not None
        own = await _alive(deps, guard, person.name, now) if known else []
        others = [s for s in await _alive(deps, guard, None, now) if s.who != person.name] if admin else []
        tokens = [t for t in await deps.people.tokens(None if admin else person.name) if t.alive(now)]
        return await layout.render(
            request, "account.html", layout.here, now=now, own=own, others=others, tokens=tokens,
            meaning=MEANING[person.role], audits=at_least(person, "manager"),
        )  # fmt: skip

    async def end_session(request: web.Request) -> web.Response:
        person = request[VIEWER]
        whose = None if at_least(person, "admin") else person.name
        ended = await deps.people.end(request.match_info["id"], whose)
        if ended is None:
            raise Problem(404, "There is no such session of yours.")
        await deps.people.audit(person.name, "session-ended", ended.who, {"session": ended.id})
        raise web.HTTPSeeOther("/account")

    async def end_token(request: web.Request) -> web.Response:
        await revoke(deps, request[VIEWER], request.match_info["id"])
        raise web.HTTPSeeOther("/account")

    async def audit(request: web.Request) -> web.Response:
        found, following = await audit_page(deps, request.query.get("cursor", ""), _RECORDS)
        rows = [
            (record, AUDITED.get(record.what, record.what.replace("-", " ")), _said(record.data)) for record in found
        ]
        return await layout.render(
            request, "audit.html", layout.here, now=deps.clock.now(), rows=rows, following=following
        )

    return [
        web.get("/login", login_page),
        web.post("/login", login),
        web.post("/logout", logout),
        web.get("/account", account),
        web.post("/account/sessions/{id}/end", end_session),
        web.post("/account/tokens/{id}/revoke", end_token),
        web.get("/audit", audit),
    ]


async def _alive(deps: Deps, guard: Guard, who: str | None, now: int) -> list[Session]:
    return [session for session in await deps.people.sessions(who) if guard.sessions.alive(session, now)]


def _said(data: Any) -> str:
    """What is known beside who, what and to what, in one line."""
    shown = ((name, ", ".join(map(str, value)) if isinstance(value, list) else value) for name, value in data.items())
    return "; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in shown if value not in ("", None))
