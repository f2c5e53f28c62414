"""Request bodies, read under a limit of bytes and time, and made into values; every mistake is a :class:`Problem`."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, TypeVar
from urllib.parse import parse_qs

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from detector.web.problems import Problem
from detector.words import plain

M = TypeVar("M", bound=BaseModel)
_PATIENCE_S = 20
_FIELDS = 100
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _clean(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("holds control characters")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("is not valid Unicode")
    return text


Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\r\n]*$"),
    AfterValidator(_clean),
]
"""One line of text from a person: a name, a key."""

Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=10_000), AfterValidator(_clean)]
"""Any number of lines of text from a person."""


class Body(BaseModel):
    """Base of what is sent to the API: unknown fields are mistakes, nothing is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


async def read(request: web.Request, limit: int) -> bytes:
    """The body, at most ``limit`` bytes after any decompression; 413 beyond, 408 when it does not come, 400 when it is
    broken."""
    if request.content_length is not None and request.content_length > limit:
        raise Problem(413, f"The body has {request.content_length:,} bytes; at most {limit:,} are read.")
    body = bytearray()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise Problem(413, f"The body is larger than {limit:,} bytes.")
    except TimeoutError:
        raise Problem(408, f"The body did not arrive within {_PATIENCE_S} s.") from None
    except (RequestPayloadError, HttpProcessingError, ValueError) as error:
        raise Problem(400, f"The body cannot be read: {plain(str(error), 200)}", close=True) from None
    return bytes(body)


async def json_body(request: web.Request, model: type[M], limit: int) -> M:
    """The body as ``model``. Nothing at all counts as ``{}``."""
    raw = await read(request, limit)
    if not raw.strip():
        return validated(model, "{}")
    if request.content_type != "application/json":
        raise Problem(415, f"Content-Type is {request.content_type}; send application/json.")
    return validated(model, raw)


def validated(model: type[M], raw: bytes | str) -> M:
    """JSON text as ``model``: 400 where it is not JSON, 422 with every mistake where it is not what is asked for."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise _problem(error) from None


async def form(request: web.Request, limit: int) -> dict[str, str]:
    """The fields of a form from a page, the last value of each."""
    raw = await read(request, limit)
    if request.content_type not in ("application/x-www-form-urlencoded", "application/octet-stream"):
        raise Problem(415, f"Content-Type is {request.content_type}; send application/x-www-form-urlencoded.")
    return {name: values[-1] for name, values in fields(raw).items()}


def fields(raw: bytes) -> dict[str, list[str]]:
    """A urlencoded body; 400 when it is not one."""
    try:
        return parse_qs(
            raw.decode("utf-8"), keep_blank_values=True, strict_parsing=False, errors="strict", max_num_fields=_FIELDS
        )
    except ValueError as error:
        raise Problem(400, f"The form cannot be read: {error}") from None


def checked(model: type[M], values: dict[str, str | None]) -> M:
    """Form fields as ``model``; 422 as for JSON."""
    try:
        return model.model_validate(values, strict=False)
    except ValidationError as error:
        raise _problem(error) from None


def _problem(error: ValidationError) -> Problem:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        return Problem(400, details[0]["msg"].replace("Invalid JSON:", "The body is not JSON:"))
    errors = [
        {
            "pointer": "#/" + "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in detail["loc"]),
            "detail": detail["msg"].removeprefix("Value error, "),
        }
        for detail in details[:20]
    ]
    first = errors[0]
    return Problem(422, f"{first['pointer'][2:] or 'the body'}: {first['detail']}", errors=_printable(errors))


def _printable(errors: list[dict[str, str]]) -> list[dict[str, str]]:
    """Field names are the sender's: cut, and without what UTF-8 cannot hold."""
    return [{k: v[:300].encode("utf-8", "replace").decode() for k, v in error.items()} for error in errors]
