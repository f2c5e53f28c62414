"""Problems for people: what is behind incidents, and what helps meanwhile."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from detector.nouns import Problem as ProblemRecord
from detector.web.api import models
from detector.web.api.problems import change, known
from detector.web.auth import VIEWER
from detector.web.body import checked, form
from detector.web.deps import Deps
from detector.web.pages.layout import Layout
from detector.web.problems import Problem


def routes(deps: Deps, layout: Layout) -> list[web.RouteDef]:
    async def draw(request: web.Request, trouble: Problem | None = None) -> web.Response:
        items = await deps.actions.problems.all()
        names = sorted({fact.name for fact in deps.services()})
        return await layout.render(
            request, "problems.html", layout.here, now=deps.clock.now(), items=items, services=names, trouble=trouble,
            code=trouble.status if trouble else 200,
        )  # fmt: skip

    async def show(request: web.Request) -> web.Response:
        return await draw(request)

    async def add(request: web.Request) -> web.Response:
        fields = await form(request, deps.options.limits.body)
        given: dict[str, Any] = {k: v for k, v in fields.items() if k in models.OpenProblem.model_fields and v.strip()}
        try:
            body = checked(models.OpenProblem, given)
        except Problem as problem:
            return await draw(request, problem)
        made = ProblemRecord(
            "", 0, body.title, deps.clock.now(), request[VIEWER].name, service=body.service or "", cause=body.cause,
            workaround=body.workaround,
        )  # fmt: skip
        await deps.actions.problems.open(made)
        raise web.HTTPSeeOther("/problems")

    async def edit(request: web.Request) -> web.Response:
        fields = await form(request, deps.options.limits.body)
        before = await known(deps, request.match_info["key"])
        given: dict[str, Any] = {k: v for k, v in fields.items() if k in models.ChangeProblem.model_fields}
        try:
            body = checked(models.ChangeProblem, given)
            changed = body.model_dump(exclude_unset=True, exclude={"version"})
            await change(deps, before, body.version, request[VIEWER].name, changed)
        except Problem as problem:
            return await draw(request, problem)
        raise web.HTTPSeeOther(f"/problems#{before.key}")

    return [web.get("/problems", show), web.post("/problems", add), web.post("/problems/{key}", edit)]
