"""Against guessing: after some wrong passwords the next one waits, twice as long each time. In memory, bounded."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from detector.words import HOUR, MINUTE, SECOND

_KEPT = 10_000
_FORGOTTEN = HOUR


@dataclass(slots=True)
class Throttle:
    """Counts tries by a name. ``free``: how many cost nothing; ``most``: the longest wait, ms.

    A try is counted before its password is checked: many at once do not slip through together.
    """

    free: int
    most: int
    _tries: OrderedDict[str, tuple[int, int]] = field(default_factory=OrderedDict)
    """How many, and when (ms) the last one was; the longest ago first."""

    def wait(self, name: str, now: int) -> int:
        """How long (ms) ``name`` has to wait for its next try; 0: none."""
        count, last = self._tries.get(name, (0, 0))
        if count < self.free or now - last >= _FORGOTTEN:
            return 0
        return max(0, last + min(SECOND << min(count - self.free, 30), self.most) - now)

    def take(self, name: str, now: int) -> None:
        """A try begins."""
        count, last = self._tries.pop(name, (0, 0))
        self._tries[name] = (1 if now - last >= _FORGOTTEN else count + 1, now)
        while len(self._tries) > _KEPT:
            self._tries.popitem(last=False)

    def clear(self, name: str) -> None:
        """The password was right: what was wrong before is forgotten."""
        self._tries.pop(name, None)

    def give_back(self, name: str) -> None:
        """This one try was right; what others tried stays counted."""
        if (known := self._tries.get(name)) is not None:
            self._tries[name] = (max(0, known[0] - 1), known[1])


@dataclass(slots=True)
class Guesses:
    """Who guesses at passwords, by name and by address.

    Where somebody has come in from before, they are counted by themselves: who guesses at a name from elsewhere keeps
    nobody out who is known.
    """

    _names: Throttle = field(default_factory=lambda: Throttle(free=5, most=15 * MINUTE))
    _addresses: Throttle = field(default_factory=lambda: Throttle(free=30, most=5 * MINUTE))
    """More patient: behind a proxy everybody has one address."""
    _known: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def _counts(self, name: str, address: str) -> list[tuple[Throttle, str]]:
        pair = _pair(name, address)
        return [(self._names, pair)] if pair in self._known else [(self._names, name), (self._addresses, address)]

    def wait(self, name: str, address: str, now: int) -> int:
        """How long (ms) the next try has to wait; 0: none."""
        return max(throttle.wait(key, now) for throttle, key in self._counts(name, address))

    def take(self, name: str, address: str, now: int) -> None:
        """A try begins."""
        for throttle, key in self._counts(name, address):
            throttle.take(key, now)

    def right(self, name: str, address: str) -> None:
        """It was the right password."""
        for throttle, key in self._counts(name, address):
            if throttle is self._addresses:
                throttle.give_back(key)
            else:
                throttle.clear(key)
        self._known[_pair(name, address)] = None
        self._known.move_to_end(_pair(name, address))
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)


def _pair(name: str, address: str) -> str:
    return f"{address}\0{name}"
