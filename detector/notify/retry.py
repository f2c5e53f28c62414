"""When to try again: pure, so that a restart plans the same as before it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from detector.notify.channels import Unavailable
from detector.nouns import Dead, Outcome, Retry

_JITTER = 0.2
_LONGEST = 86_400_000


def after(failure: Unavailable, attempts: int, identity: str, schedule: Sequence[int], now: int) -> Outcome:
    """What to do after attempt number ``attempts`` (from 0) failed at ``now``: the schedule's wait with up to 20 %
    more, or the receiver's own Retry-After if that is longer; Dead once the schedule is used up.

    The jitter comes from the message's identity, not from chance: many messages spread, and one message is planned the
    same however often it is computed.
    """
    if attempts >= len(schedule):
        return Dead("gave-up")
    digest = hashlib.blake2b(f"{identity}:{attempts}".encode("utf-8", "surrogatepass"), digest_size=4).digest()
    spread = int.from_bytes(digest, "big") / 2**32
    wait = schedule[attempts] * (1 + _JITTER * spread)
    return Retry(now + int(min(max(wait, failure.retry_after or 0), _LONGEST * 1.25)), failure.reason)
