"""Mails that are posted over HTTP: raw (message/rfc822), or as a field of a form, as mail providers post them.

Answered 2xx once what became of it is durable. Of a long mail only the beginning is kept, where its text is; what is
longer than any mail is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from detector.ingest.mail import MAIL_BYTES, Taken
from detector.ingest.receive import PATIENCE_S, BadEncoding, TooLarge, Unavailable, damaged, problem, unavailable

MOST_BYTES = 64 * 1024 * 1024
"""Mail servers take at most about 50 MiB; a base64 field may be larger than what it holds."""
_RAW = ("email", "message", "body-mime")
_RECIPIENTS = ("recipient", "to", "envelope")
_FIELDS = 200
_RECIPIENT_BYTES = 16 * 1024


class Inbox(Protocol):
    """Where mails go; raises :class:`Unavailable`."""

    async def take(self, raw: bytes, envelope: Sequence[str] = ()) -> Taken: ...


def routes(inbox: Inbox) -> list[web.RouteDef]:
    async def post(request: web.Request) -> web.StreamResponse:
        """A mail. ``?recipient=`` names whom it was delivered to, where its headers do not."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                found = await _read(request)
            if isinstance(found, web.StreamResponse):
                return found
            raw, recipients = found
            taken = await inbox.take(raw, [*request.query.getall("recipient", [])[:20], *recipients])
        except TimeoutError:
            return unavailable(Unavailable(f"the body did not arrive within {PATIENCE_S} s"), request)
        except Unavailable as error:
            return unavailable(error, request)
        except TooLarge as error:
            answer = problem(413, str(error), request)
            answer.force_close()
            return answer
        except BadEncoding as error:
            return damaged(error, request)
        if taken.result == "rejected":
            return problem(400, taken.reason, request)
        # Not which ticket: a confidential one is nobody's to know.
        result = taken.result if taken.result in ("automatic", "duplicate") else "stored"
        return web.json_response({"result": result})

    return [web.post("/webhooks/mail", post)]


async def _read(request: web.Request) -> tuple[bytes, list[str]] | web.Response:
    """The mail's beginning and further recipients, or what is wrong with the request."""
    declared = request.content_length
    if declared is not None and declared > MOST_BYTES:
        raise TooLarge(f"the body has {declared} bytes; at most {MOST_BYTES} are read")
    try:
        if request.content_type == "multipart/form-data":
            return await _form(request)
        if request.content_type not in ("message/rfc822", "application/octet-stream", "text/plain"):
            return problem(415, "send the raw mail as message/rfc822, or in the field `email` of a form", request)
        raw, _ = await _beginning(request.content.readany, MAIL_BYTES + 1)
    except (web.RequestPayloadError, HttpProcessingError, ValueError, AssertionError) as error:
        raise BadEncoding(f"the body cannot be read: {type(error).__name__}") from None
    return (raw, []) if raw else problem(400, "the body is empty; send the raw mail", request)


async def _form(request: web.Request) -> tuple[bytes, list[str]] | web.Response:
    raw, recipients, size = b"", list[str](), 0
    reader = await request.multipart()
    for _ in range(_FIELDS):
        part = await reader.next()
        if part is None:
            break
        if not isinstance(part, BodyPartReader):
            return problem(400, "a form's field cannot be a form", request)
        is_mail = part.name in _RAW and not raw
        keep = MAIL_BYTES + 1 if is_mail else _RECIPIENT_BYTES if part.name in _RECIPIENTS else 0
        value, size = await _beginning(part.read_chunk, keep, size)
        if is_mail:
            raw = value
        elif keep:
            recipients.append(value.decode("utf-8", "replace"))
    if not raw:
        return problem(400, f"no mail in the form; send it raw in one of the fields {', '.join(_RAW)}", request)
    return raw, recipients


async def _beginning(read: Callable[[], Awaitable[bytes]], keep: int, size: int = 0) -> tuple[bytes, int]:
    """The first ``keep`` bytes; what follows is read and let go, up to the limit of a body, of which ``size`` bytes
    were read before. Also: how many were read by now."""
    kept = bytearray()
    while chunk := await read():
        size += len(chunk)
        if size > MOST_BYTES:
            raise TooLarge(f"the body has more than {MOST_BYTES} bytes")
        kept += chunk[: max(0, keep - len(kept))]
    return bytes(kept), size
