"""Against the browser's confusions: which Host may be addressed (DNS rebinding), which page may change things
(cross-site forgery), what a page may load (Content-Security-Policy).

The same-origin rule is the one of Go's ``net/http.CrossOriginProtection``: a browser says where a changing request
comes from (``Sec-Fetch-Site``, older ones ``Origin``); what says neither is no browser and was led by no page.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from detector.web.options import WebOptions, is_loopback, is_wildcard
from detector.web.problems import Problem
from detector.words import plain

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


async def harden(response_headers: Mapping[str, str], response: web.StreamResponse) -> None:
    """Headers that every answer carries; a handler's own word stands, the configured ones stand over all."""
    response.headers.setdefault("Content-Security-Policy", CSP)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.update(response_headers)
    response.headers.pop("Server", None)


def middleware(options: WebOptions) -> Middleware:
    """421 for a Host that is not ours, 403 for a changing request that another site's page sent."""
    listening, _ = options.address
    external = urlsplit(options.external_url).hostname if options.external_url else None
    names = frozenset({*options.hosts, *([external.lower()] if external else []), *([listening] if listening else [])})
    every_address = is_wildcard(listening)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = _host(request)
        if host is not None and not _is_ours(host, names, every_address):
            name = plain(host, 100)
            raise Problem(421, f"This detector is not called {name!r}; add the name to web.hosts to serve it.")
        if request.method not in SAFE:
            _same_origin(request, options.external_url)
        return await handler(request)

    return check


def _host(request: web.Request) -> str | None:
    """The name in the Host header without its port, lower case; None for HTTP/1.0, which has none."""
    given = request.headers.getall("Host", [])
    if not given and request.version < (1, 1):
        return None
    if len(given) != 1:
        raise Problem(400, "Send one Host header.")
    try:
        host = urlsplit(f"//{given[0]}").hostname
    except ValueError:
        host = None
    if not host:
        raise Problem(400, "The Host header cannot be read.")
    return host.rstrip(".")


def _is_ours(host: str, names: frozenset[str], every_address: bool) -> bool:
    if host in names or is_loopback(host):
        return True
    if not every_address:
        return False
    # Rebinding needs a name: somebody who writes an address means this machine.
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _same_origin(request: web.Request, external_url: str | None) -> None:
    site = request.headers.get("Sec-Fetch-Site")
    if site in ("same-origin", "none"):
        return
    origin = request.headers.get("Origin")
    if site is None:
        if origin is None:
            return
        if origin == external_url or _netloc(origin) == request.headers.get("Host", "").lower():
            return
    told = f" ({plain(origin, 100)})" if origin else ""
    raise Problem(403, f"A page of another site{told} may not change anything here.")


def _netloc(origin: str) -> str | None:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") else None
