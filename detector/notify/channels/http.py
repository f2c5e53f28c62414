"""One request to somebody else's server: bounded in time and bytes, redirects not followed, failures in our words."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from detector.notify.channels.channel import Refused, Unavailable

Session = aiohttp.ClientSession
"""For those outside this package, which is the only place of the room that knows the client."""

_ANSWER_BYTES = 64 * 1024
_LONGEST_WAIT = 86_400


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    retry_after: int | None
    """ms, from Retry-After in seconds; a date there is ignored (the schedule decides)."""


async def request(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    timeout: int,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send and read at most 64 KiB of the answer within ``timeout`` ms; raises Unavailable when there is none.

    Redirects come back as what they are: who may redirect us chooses where our facts go, into our own network too.
    """
    try:
        async with session.request(
            method,
            url,
            data=body,
            headers={"Accept-Encoding": "identity", "User-Agent": "proactive-detector", **(headers or {})},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout / 1000),
        ) as response:
            answer = await _read(response)
            return Answer(response.status, answer, _seconds(response.headers.get("Retry-After", "")))
    except TimeoutError:
        raise Unavailable("timeout", f"no answer within {timeout / 1000:g} s") from None
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
        raise Unavailable("tls", type(error).__name__) from None
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        raise Refused("invalid", "the address is not one that can be called") from None
    except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError) as error:
        # The class says enough; the message may hold the address, and addresses of webhooks are secrets.
        raise Unavailable("unreachable", type(error).__name__) from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The first 64 KiB, whatever more there is."""
    parts = bytearray()
    while len(parts) < _ANSWER_BYTES:
        part = await response.content.read(_ANSWER_BYTES - len(parts))
        if not part:
            break
        parts += part
    return bytes(parts)


def _seconds(text: str) -> int | None:
    return min(int(text), _LONGEST_WAIT) * 1000 if text.isascii() and text.isdigit() and len(text) < 12 else None


def judge(answer: Answer) -> None:
    """Return when the answer is a success; else raise what its status means for another attempt."""
    status = answer.status
    if 200 <= status < 300:
        return
    detail = f"answered {status}"
    if status in (408, 425) or status >= 500:
        raise Unavailable("server-error", detail, answer.retry_after)
    if status == 429:
        raise Unavailable("rate-limited", detail, answer.retry_after)
    if 300 <= status < 400:
        raise Refused("redirected", f"{detail}: give the address it redirects to")
    if status in (401, 403):
        raise Refused("unauthorized", detail)
    if status == 410:
        raise Refused("gone", detail)
    raise Refused("too-large" if status == 413 else "rejected", detail)
