"""Style, script and icon, from memory: only what is in the folder at the start can be asked for."""

from __future__ import annotations

import hashlib
from pathlib import Path

from aiohttp import web

from detector.web.links import PREFIX, PUBLIC
from detector.web.problems import Problem
from detector.words import plain

FOLDER = Path(__file__).resolve().parent.parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def routes() -> list[web.RouteDef]:
    files = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in _TYPES}
    tags = {name: f'"{hashlib.sha256(content).hexdigest()[:20]}"' for name, content in files.items()}

    async def serve(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in files:
            raise Problem(404, f"Nothing is at {plain(request.rel_url.path, 200)}.")
        headers = {"ETag": tags[name], "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == tags[name]:
            return web.Response(status=304, headers=headers)
        kind = _TYPES[Path(name).suffix]
        response = web.Response(body=files[name], content_type=kind, charset="utf-8", headers=headers)
        response.enable_compression()
        return response

    # Pages that ask for no login have the same files beside them.
    return [web.get(place + "static/{name}", serve) for place in ("/", PREFIX, PUBLIC + "/")]
