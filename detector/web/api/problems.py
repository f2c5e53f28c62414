"""Problems and known errors as JSON."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from detector.clock import rfc3339
from detector.nouns import Problem as ProblemRecord
from detector.tickets.acts import NotAllowed
from detector.tickets.desk import Conflict
from detector.tickets.relations import changed_problem
from detector.web.api import models
from detector.web.auth import VIEWER
from detector.web.body import json_body
from detector.web.deps import Deps
from detector.web.openapi import Parameter, operation
from detector.web.problems import Problem
from detector.words import in_calendar, plain

_KEY = Parameter("key", "Such as PRB-7.", {"type": "string"}, "path")


def problem_json(problem: ProblemRecord) -> dict[str, Any]:
    changed = problem.changed_at
    return {
        "key": problem.key, "version": problem.version, "title": problem.title, "state": problem.state,
        "service": problem.service, "category": problem.category, "cause": problem.cause,
        "workaround": problem.workaround, "opened_at": rfc3339(in_calendar(problem.opened_at)),
        "opened_by": problem.opened_by, "changed_by": problem.changed_by,
        "changed_at": rfc3339(in_calendar(changed)) if changed is not None else None,
    }  # fmt: skip


async def known(deps: Deps, key: str) -> ProblemRecord:
    found = await deps.actions.problems.one(key)
    if found is None:
        raise Problem(404, f"There is no problem {plain(key, 40)}.")
    return found


def routes(deps: Deps) -> list[web.RouteDef]:
    @operation("Problems and known errors, closed ones last", models.ProblemPage)
    async def list_problems(request: web.Request) -> web.Response:
        return web.json_response({"items": [problem_json(one) for one in await deps.actions.problems.all()]})

    @operation("One problem", models.ProblemModel, parameters=(_KEY,), errors=(404,))
    async def show_problem(request: web.Request) -> web.Response:
        return web.json_response(problem_json(await known(deps, request.match_info["key"])))

    @operation("What is behind incidents", models.ProblemModel, body=models.OpenProblem, status=201,
               errors=(408, 413, 415, 422))  # fmt: skip
    async def open_problem(request: web.Request) -> web.Response:
        body = await json_body(request, models.OpenProblem, deps.options.limits.body)
        problem = ProblemRecord(
            "", 0, body.title, deps.clock.now(), request[VIEWER].name, service=body.service or "",
            category=body.category or "", cause=body.cause, workaround=body.workaround,
        )  # fmt: skip
        made = await deps.actions.problems.open(problem)
        return web.json_response(problem_json(made), status=201, headers={"Location": f"/api/problems/{made.key}"})

    @operation("Change it: its cause, its work-around, its state", models.ProblemModel, body=models.ChangeProblem,
               parameters=(_KEY,), errors=(404, 408, 409, 413, 415, 422))  # fmt: skip
    async def change_problem(request: web.Request) -> web.Response:
        body = await json_body(request, models.ChangeProblem, deps.options.limits.body)
        before = await known(deps, request.match_info["key"])
        given = body.model_dump(exclude_unset=True, exclude={"version"})
        return web.json_response(problem_json(await change(deps, before, body.version, request[VIEWER].name, given)))

    return [
        web.get("/api/problems", list_problems),
        web.post("/api/problems", open_problem),
        web.get("/api/problems/{key}", show_problem),
        web.post("/api/problems/{key}", change_problem),
    ]


async def change(deps: Deps, before: ProblemRecord, version: int, who: str, given: dict[str, Any]) -> ProblemRecord:
    """409 where somebody changed it since it was read, or where it cannot be so."""
    try:
        if before.version != version:
            raise Conflict(before.key)
        return await deps.actions.problems.change(before, changed_problem(before, who, deps.clock.now(), **given))
    except NotAllowed as error:
        raise Problem(409, f"{error}.") from None
    except Conflict:
        raise Problem(409, f"{before.key} was changed by somebody else since it was read; look again.") from None
