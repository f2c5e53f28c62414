"""Errors as RFC 9457 problem documents; for a person's browser the same as a page; for Prometheus's API in its shape.

Handlers raise :class:`Problem` (or aiohttp's own HTTP errors); :func:`middleware` makes the answer. What nobody
expected is logged with its traceback and answered 500 without a word of it.
"""

from __future__ import annotations

import http
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from detector.mailbox import Overloaded
from detector.pipeline import Busy, NoSuchTicket
from detector.tickets.database import StorageError
from detector.words import plain

log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
_PROMETHEUS_TYPES = {404: "not_found", 422: "execution", 503: "unavailable"}


class Problem(Exception):
    """An answer that is an error: ``title`` names it, ``detail`` names thing, place and remedy.

    ``errors`` are single mistakes, each ``{"pointer": "#/field", "detail": "..."}``.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        title: str = "",
        errors: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title or phrase(status)
        self.detail = plain(detail, 2000)
        self.errors = errors or []
        self.headers = dict(headers or {})
        self.close = close or status in (408, 413)
        """Whether the connection ends here: where the next request begins is not known."""

    def document(self) -> dict[str, Any]:
        """The RFC 9457 members; ``about:blank`` says that the status tells the kind."""
        document: dict[str, Any] = {
            "type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail,
        }  # fmt: skip
        return document | ({"errors": self.errors} if self.errors else {})


def phrase(status: int) -> str:
    """The standard's words for ``status``."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def middleware(page: Callable[[web.Request, Problem], web.Response]) -> Middleware:
    """Answer every error of what lies within; ``page`` renders one for people."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Problem as problem:
            return respond(request, problem, page)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return respond(request, _of_aiohttp(request, error), page)
        except NoSuchTicket as error:
            return respond(request, Problem(404, str(error) or "There is no such incident."), page)
        except (Overloaded, Busy) as error:
            retry = str(max(1, error.retry_after))
            busy = Problem(503, "Too much is waiting to be taken in; try again.", headers={"Retry-After": retry})
            return respond(request, busy, page)
        except StorageError as error:
            full = Problem(503, f"The database cannot be used right now: {error}", headers={"Retry-After": "5"})
            return respond(request, full, page)
        except TimeoutError:
            return respond(request, Problem(503, "It took too long; try again.", headers={"Retry-After": "5"}), page)
        except Exception:  # the last line of defence: logged with its traceback, answered without it
            log.exception("%s %s failed", request.method, request.rel_url.path)
            return respond(request, Problem(500, "This is a fault of the detector; its log has the details."), page)

    return answer


def respond(
    request: web.Request, problem: Problem, page: Callable[[web.Request, Problem], web.Response]
) -> web.Response:
    """``problem`` in the shape that whoever asks understands."""
    path = request.rel_url.raw_path
    if path.startswith("/api/v1/") and path != "/api/v1/write":
        kind = _PROMETHEUS_TYPES.get(problem.status, "internal" if problem.status >= 500 else "bad_data")
        body: dict[str, Any] = {"status": "error", "errorType": kind, "error": problem.detail}
        response = web.json_response(body, status=problem.status)
    elif wants_page(request):
        response = page(request, problem)
    else:
        text = json.dumps(problem.document())
        response = web.Response(text=text, status=problem.status, content_type=PROBLEM_JSON)
    response.headers.update(problem.headers)
    if problem.close:
        response.force_close()
    return response


def wants_page(request: web.Request) -> bool:
    """Whether a person's browser asks: it names HTML, and what it asks for is no interface of programs."""
    path = request.rel_url.raw_path
    return "text/html" in request.headers.get("Accept", "") and not path.startswith(("/api/", "/-/", "/metrics"))


def _of_aiohttp(request: web.Request, error: web.HTTPException) -> Problem:
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    if error.status == 404:
        return Problem(404, f"Nothing is at {plain(request.rel_url.path, 200)}.")
    if error.status == 405:
        allowed = headers.get("Allow", "nothing")
        return Problem(405, f"{request.method} is not possible here; possible: {allowed}.", headers=headers)
    if error.status == 413:
        return Problem(413, "The body is larger than this takes.")
    return Problem(error.status, error.text or error.reason, headers=headers)
