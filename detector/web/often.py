"""How often somebody may do something within an hour: in memory, bounded, and the same for whoever asks."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from detector.words import HOUR

_KEPT = 10_000


@dataclass(slots=True)
class Often:
    """``most`` within an hour, by name."""

    most: int
    _times: OrderedDict[str, deque[int]] = field(default_factory=OrderedDict)
    """When (ms) it was done, the oldest first; the name that it was done for longest ago first."""

    def wait(self, name: str, now: int) -> int:
        """How long (ms) until it may be done again; 0: now."""
        times = self._times.get(name)
        return 0 if times is None or len(times) < self.most else max(0, times[0] + HOUR - now)

    def done(self, name: str, now: int) -> None:
        times = self._times.pop(name, None) or deque(maxlen=self.most)
        times.append(now)
        self._times[name] = times
        while len(self._times) > _KEPT:
            self._times.popitem(last=False)


def network(address: str | None) -> str:
    """Whom an address belongs to: IPv6 is handed out in networks of 64 bits."""
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or ""
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))
