"""For everybody: asking to be told what the status page says, confirming it, and ending it. Without a script.

Links in mails are fetched by scanners: only a press of the button (POST) confirms or ends. An answer never tells
whether an address is subscribed.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from aiohttp import web
from pydantic import Field

from detector.notify.channels.hooks import LONGEST, Hosts
from detector.tickets.subscribers import Full, Kind, Subscriber
from detector.web.body import Body, checked, fields, json_body, read
from detector.web.deps import Deps
from detector.web.links import CONFIRM, PUBLIC, UNSUBSCRIBE
from detector.web.often import Often, network
from detector.web.pages.layout import Layout
from detector.web.pages.status import StatusPage
from detector.web.problems import Problem, wants_page
from detector.words import mailbox, plain

_MOST_MAIL = 254
"""RFC 5321: what a path holds."""
_TOKEN = 64
ASKED = {
    "email": "If the address is right, a letter is on its way to it. Press what is in it within two days.",
    "webhook": "If the address is right, it is called now, with a link that confirms it within two days.",
}  # fmt: skip
CONFIRMED = "You are told from now on."
ENDED = "It has ended: you are told no more."


class Wanted(Body):
    """Who wants to be told, and of what; no components: of all."""

    kind: Literal["email", "webhook"] = "email"
    address: str = Field(min_length=1, max_length=LONGEST)
    components: list[str] = Field([], max_length=200)


def routes(deps: Deps, layout: Layout, page: StatusPage) -> list[web.RouteDef]:
    subscribing = _Subscribing(deps, layout, page)
    return [
        web.post(f"{PUBLIC}/subscribe", subscribing.ask),
        web.get(CONFIRM + "{token}", subscribing.show_confirm),
        web.post(CONFIRM + "{token}", subscribing.confirm),
        web.get(UNSUBSCRIBE + "{token}", subscribing.show_end),
        web.post(UNSUBSCRIBE + "{token}", subscribing.end),
    ]


class _Subscribing:
    def __init__(self, deps: Deps, layout: Layout, page: StatusPage) -> None:
        self._deps = deps
        self._layout = layout
        self._page = page
        self._addresses = Often(3)
        self._askers = Often(30)  # patient: behind a proxy everybody has one address

    async def ask(self, request: web.Request) -> web.Response:
        facts, given = await self._page.facts(), Wanted.model_construct(kind="email", address="", components=[])
        try:
            given = await self._wanted(request)
            kind, address = self._address(given)
            components = _known(given, [component.name for component in facts.components])
            await self._take(request, kind, address, components)
        except Problem as problem:
            if not wants_page(request):
                raise
            shown: dict[str, Any] = {"facts": facts, "given": given, "kinds": self._deps.desk.subscribed}
            response = await self._draw(request, "trouble", problem.status, trouble=problem.detail, **shown)
            response.headers.update(problem.headers)
            return response
        return await self._answer(request, "asked", ASKED[kind], 202)

    async def _wanted(self, request: web.Request) -> Wanted:
        limit = self._deps.options.limits.body
        if request.content_type == "application/json":
            return await json_body(request, Wanted, limit)
        if request.content_type not in ("application/x-www-form-urlencoded", "application/octet-stream"):
            raise Problem(415, f"Content-Type is {request.content_type}; send a form, or application/json.")
        form = fields(await read(request, limit))
        given: dict[str, Any] = {name: form[name][-1] for name in ("kind", "address") if name in form}
        return checked(Wanted, given | {"components": form.get("component", [])})

    def _address(self, wanted: Wanted) -> tuple[Kind, str]:
        """What can be told at all, and is a place that may be told; 422 with the remedy."""
        if wanted.kind not in self._deps.desk.subscribed:
            raise Problem(422, "Nobody is told by mail here." if wanted.kind == "email" else "No webhooks are called.")
        text = wanted.address.strip()
        if wanted.kind == "email":
            address = mailbox(text) if len(text) <= _MOST_MAIL else ""
            # Letters that look like others would tell somebody else than who reads them thinks.
            if not address or not address.isascii() or not address.isprintable():
                raise Problem(422, "address: write one mail address such as kim@example.org, in ASCII.")
            local, _, domain = address.rpartition("@")
            return "email", f"{local}@{domain.lower()}"
        try:
            Hosts(self._page.options.allowed_hosts).check(text)
        except ValueError as error:
            raise Problem(422, f"address: {error}.") from None
        return "webhook", text

    async def _take(self, request: web.Request, kind: Kind, address: str, components: list[str]) -> None:
        now, asker, known = self._deps.clock.now(), network(request.remote), address.casefold()
        wait = max(self._askers.wait(asker, now), self._addresses.wait(known, now))
        if wait:
            headers = {"Retry-After": str(-(-wait // 1000))}
            raise Problem(429, "That was asked often within the last hour; try again later.", headers=headers)
        self._askers.done(asker, now)
        self._addresses.done(known, now)
        try:
            await self._deps.subscribers.ask(kind, address, components, now)
        except Full:
            headers = {"Retry-After": "86400"}
            raise Problem(503, "No more subscribers can be taken at the moment.", headers=headers) from None

    async def show_confirm(self, request: web.Request) -> web.Response:
        return await self._draw(request, "confirm", who=await self._found(request))

    async def confirm(self, request: web.Request) -> web.Response:
        await read(request, self._deps.options.limits.body)
        who = await self._deps.subscribers.confirm(_token(request), self._deps.clock.now())
        if who is None:
            raise _nothing()
        return await self._answer(request, "confirmed", CONFIRMED, who=who)

    async def show_end(self, request: web.Request) -> web.Response:
        return await self._draw(request, "end", who=await self._found(request))

    async def end(self, request: web.Request) -> web.Response:
        """RFC 8058: whatever the body says, in whatever format; and once more is as well as once."""
        await read(request, self._deps.options.limits.body)
        await self._deps.subscribers.end(_token(request), self._deps.clock.now())
        return await self._answer(request, "ended", ENDED)

    async def _found(self, request: web.Request) -> Subscriber:
        found = await self._deps.subscribers.of(_token(request), self._deps.clock.now())
        if found is None:
            raise _nothing()
        return found

    async def _answer(
        self, request: web.Request, what: str, said: str, code: int = 200, who: Subscriber | None = None
    ) -> web.Response:
        if wants_page(request):
            return await self._draw(request, what, code, said, who)
        return web.Response(text=json.dumps({"detail": said}), status=code, content_type="application/json")

    async def _draw(
        self, request: web.Request, what: str, code: int = 200, said: str = "", who: Subscriber | None = None,
        **shown: Any,
    ) -> web.Response:  # fmt: skip
        return await self._layout.render(
            request, "subscribe.html", self._layout.here, code=code, what=what, said=said, who=who,
            name=self._page.options.name, **shown,
        )  # fmt: skip


def _known(wanted: Wanted, names: list[str]) -> list[str]:
    if unknown := sorted(set(wanted.components) - set(names)):
        raise Problem(422, f"components: the page has no {plain(unknown[0], 100)!r}.")
    return sorted(set(wanted.components))


def _token(request: web.Request) -> str:
    return request.match_info["token"][:_TOKEN]


def _nothing() -> Problem:
    return Problem(
        404, "This link opens nothing any more. Perhaps a part of it is missing, or it is too old: ask anew."
    )
