"""People of every role, for tests of who may do what; the password of each is the name with ``-pass``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import encode_basic_auth

from detector.ingest import receive
from detector.tickets.database import address
from detector.tickets.people import People
from detector.web.options import WebOptions
from tests.web.house import House, hashed, house
from tests.web.test_openapi import Reports

ROLES: dict[str, dict[str, Any]] = {
    "vic": {"role": "viewer"},
    "ann": {"role": "agent", "tiers": ["L1"]},
    "leo": {"role": "agent", "tiers": ["L2", "L3"]},
    "max": {"role": "manager"},
    "ada": {"role": "admin"},
}
SHM = "/dev/shm"
HASHES = {name: hashed(f"{name}-pass") for name in ROLES}


def options(*names: str, **more: Any) -> WebOptions:
    users = [{"name": name, "password_hash": HASHES[name], **ROLES[name]} for name in names or ROLES]
    return WebOptions.model_validate({"users": users, **more})


def as_(name: str) -> dict[str, str]:
    """The headers of a program that has the password of ``name``."""
    return {"Authorization": encode_basic_auth(name, f"{name}-pass")}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def staffed(made: WebOptions | None = None, **changed: Any) -> AsyncIterator[House]:
    """A house with everybody, and with the routes of ingest. Its database is a file: in memory there is one connection,
    on which the readers of a page's parts end each other's transactions."""
    intake = Reports()
    with TemporaryDirectory(dir=SHM if Path(SHM).is_dir() else None) as folder:
        url = address(Path(folder) / "desk.db")
        async with house(made or options(), url=url, ingest=receive.routes(intake), **changed) as home:
            intake.pipeline = home.pipeline
            yield home


async def log_in(home: House, name: str, path: str = "/login", **headers: str) -> Any:
    """Send the login form; the answer. The client keeps the cookie."""
    fields = {"name": name, "password": f"{name}-pass"}
    return await home.client.post(path, data=fields, headers=headers, allow_redirects=False)


async def audited(home: House) -> list[tuple[str, str, str]]:
    """Who, what and to what, newest first."""
    found = await People(home.pipeline.desk, home.clock).audited()
    return [(record.who, record.what, record.target) for record in found]
