"""Sessions, tokens and the audit log, once on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from detector.clock import ManualClock
from detector.tickets.database import address
from detector.tickets.desk import Desk
from detector.tickets.people import MOST_SESSIONS, People, Session
from tests.rows import DAY, HOUR, MINUTE, NOW


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def people(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[People]:
    url = address(tmp_path / "desk.db")
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
    desk = await Desk.open(url)
    yield People(desk, ManualClock(NOW))
    await desk.close()


def session(hash: str = "a" * 64, who: str = "ann", at: int = NOW) -> Session:
    return Session(hash, who, at, at, at + DAY, "mark", "a browser\0", "::1")


async def test_a_session_is_found_by_its_hash_alone(people: People) -> None:
    await people.begin(session())
    found = await people.session("a" * 64)
    assert found == session()
    assert await people.session("a" * 63) is None
    await people.seen("a" * 64, NOW + HOUR)
    await people.seen("a" * 64, NOW)
    assert [s.last_at for s in await people.sessions("ann")] == [NOW + HOUR], "use never goes back"
    assert await people.sessions("ben") == []


async def test_only_its_owner_ends_it_or_who_may_end_all(people: People) -> None:
    await people.begin(session())
    await people.begin(session("b" * 64, "ben"))
    assert await people.end("a" * 16, "ben") is None
    assert await people.end("%", None) is None
    assert await people.end("a" * 16, "ann") == session()
    ended = await people.end("b" * 16)
    assert ended is not None
    assert (ended.who, await people.sessions()) == ("ben", [])


async def test_what_is_over_makes_room_and_so_does_what_was_not_used_longest(people: People) -> None:
    await people.begin(session("f" * 64, "old", NOW - 2 * DAY))
    for number in range(MOST_SESSIONS + 3):
        await people.begin(session(f"{number:064d}", at=NOW + number))
    kept = await people.sessions()
    assert len(kept) == MOST_SESSIONS
    assert [s.created_at for s in kept][-1] == NOW + 3
    assert "old" not in {s.who for s in kept}


async def test_tokens_are_kept_after_their_end(people: People) -> None:
    made = await people.make("c" * 64, "deploys\0", "ann", ("read", "act"), NOW, NOW + DAY)
    found = await people.token("c" * 64)
    assert found == replace(made, name="deploys\ufffd")
    assert made.alive(NOW + DAY - 1)
    assert not made.alive(NOW + DAY)
    assert await people.revoke(made.id, NOW, "ben") is None
    ended = await people.revoke(made.id, NOW + 1, "ann")
    assert ended is not None
    assert (ended.revoked_at, ended.alive(NOW + 2)) == (NOW + 1, False)
    assert await people.revoke(made.id, NOW + 9) == ended
    assert await people.tokens() == await people.tokens("ann") == [ended]


async def test_the_audit_log_only_grows(people: People) -> None:
    for number in range(5):
        await people.audit("ann", "token-made", f"token {number}\0", {"name": "\ud800", "n": number})
    for _ in range(3):
        await people.audit("vic", "refused", "GET /audit", every=MINUTE)
    found = await people.audited(most=3)
    assert [(r.who, r.what, r.target) for r in found] == [
        ("vic", "refused", "GET /audit"),
        ("ann", "token-made", "token 4\ufffd"),
        ("ann", "token-made", "token 3\ufffd"),
    ]
    assert found[1].data["n"] == 4
    assert [r.target for r in await people.audited(found[-1].id)] == [f"token {n}\ufffd" for n in (2, 1, 0)]
    writers = [name for name in dir(people) if "audit" in name]
    assert writers == ["audit", "audited"]
