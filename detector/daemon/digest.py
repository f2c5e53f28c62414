"""What was held back in quiet hours, told when they end: one message a channel that names every ticket, as it is by
then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo

from detector.clock import rfc3339
from detector.notify.messages import headline
from detector.nouns import SYSTEM, Ticket
from detector.tickets.desk import Desk
from detector.tickets.outbox import Held, Memo, Outbox

LOOK_MS = 60_000
LISTED = 50


class Digest:
    """``zone`` is the one of messages; ``wake`` tells the deliverer that something waits."""

    def __init__(
        self, desk: Desk, outbox: Outbox, zone: Callable[[], tzinfo], wake: Callable[[Sequence[str]], None]
    ) -> None:
        self._desk = desk
        self._outbox = outbox
        self._zone = zone
        self._wake = wake

    async def step(self, now: int) -> int:
        """Tell what is due; returns when (ms) to look again."""
        for channel, held in (await self._outbox.held(now)).items():
            if len(held) == 1:
                await self._outbox.release(held, now)
            else:
                await self._outbox.digest(await self._memo(channel, held, now), held, now)
            self._wake((channel,))
        return now + LOOK_MS

    async def _memo(self, channel: str, held: Sequence[Held], now: int) -> Memo:
        keys = list(dict.fromkeys(one.key for one in held))
        found = [await self._desk.ticket(key, SYSTEM) for key in keys[:LISTED]]
        lines = [self._line(ticket, now) for ticket in found if ticket is not None]
        if len(keys) > LISTED:
            lines.append(f"and {len(keys) - LISTED} more")
        count = f"{len(keys)} incident{'' if len(keys) == 1 else 's'}"
        return Memo(
            f"digest/{channel}/{rfc3339(held[0].until)}", "", (channel,), f"While it was quiet: {count}",
            "\n".join(lines),
        )  # fmt: skip

    def _line(self, ticket: Ticket, now: int) -> str:
        return f"{ticket.key} {headline(ticket, now, self._zone())}"
