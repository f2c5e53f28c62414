"""Messages on a terminal, aligned, one after the other: what ``make run`` shows, and a log for whoever wants one."""

from __future__ import annotations

from datetime import tzinfo
from typing import Literal, TextIO

from detector.clock import Clock
from detector.notify.channels.channel import DEFAULT_SCHEDULE, ChannelOptions, Limits, Receipt, Unavailable
from detector.notify.channels.thread import OneThread, wait
from detector.notify.messages import Message
from detector.words import moment


class ConsoleOptions(ChannelOptions):
    """Prints messages to standard output."""

    type: Literal["console"]


class ConsoleChannel:
    """Writes through a thread: a terminal that was stopped (Ctrl-S) or a full pipe stops only this channel.

    ``colour``: whether the first line may be coloured by what it says (amber, red, green); the words say it anyway.
    """

    limits = Limits(body=8192)
    schedule = DEFAULT_SCHEDULE

    def __init__(self, options: ConsoleOptions, stream: TextIO, clock: Clock, zone: tzinfo, colour: bool) -> None:
        self.name = options.name
        self.timeout = options.timeout
        self._stream = stream
        self._clock = clock
        self._zone = zone
        self._colour = colour
        self._thread: OneThread[None] = OneThread(f"channel-{options.name}")

    async def deliver(self, message: Message) -> Receipt:
        text = block(message, self._clock.now(), self._zone, self._colour)
        try:
            await wait(self._thread.submit(lambda: self._write(text)), self.timeout)
        except TimeoutError:
            raise Unavailable("timeout", "the terminal takes nothing") from None
        except (OSError, ValueError) as error:
            raise Unavailable("unreachable", f"cannot write: {type(error).__name__}") from None
        return Receipt()

    def _write(self, text: str) -> None:
        # A terminal that knows no Unicode gets what it can show rather than an exception.
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()

    async def close(self) -> None:
        self._thread.close()


def block(message: Message, now: int, zone: tzinfo, colour: bool) -> str:
    """``11:06:40  page    P1 checkout: ...`` and the rest of the message indented below it."""
    at = moment(now, zone)
    label = f"{at.hour:02d}:{at.minute:02d}:{at.second:02d}  {message.urgency:<6}  "
    first, *rest = message.text.splitlines() or [message.subject]
    if colour:
        paint = "32" if message.over else "31" if " IS " in first else "33" if " WILL " in first else "0"
        first = f"\x1b[1;{paint}m{first}\x1b[0m"
    indent = " " * len(label)
    return "\n".join([label + first, *(indent + line for line in rest)]) + "\n"
