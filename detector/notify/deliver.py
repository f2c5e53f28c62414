"""The deliverer: one isolated worker per channel takes what the outbox owes it to its channel.

claim -> word -> hand over, with a time limit -> settle. At least once: between handing over and settling a crash
repeats the message under the same idempotency key. A channel that is slow, dead or defective delays no other one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Any

from prometheus_client import Counter

from detector.clock import Clock
from detector.notify.channels import REASONS, Channel, DeliveryError, Receipt, Unavailable, Writes
from detector.notify.messages import Attachment, Message, render, trial_message
from detector.notify.outbox import Outbox
from detector.notify.retry import after
from detector.nouns import Dead, Notification, Outcome, Retry, Sent, Ticket
from detector.telemetry import Telemetry

log = logging.getLogger(__name__)

Illustrate = Callable[[Ticket, int], Awaitable[Attachment | None]]
"""A picture of a ticket's evidence seen at a time (ms), or None. It may fail and be slow: messages go without it
then."""

_PICTURE_MS = 5_000
_SLACK_MS = 30_000
_OUTBOX_RETRY_MS = 5_000
_PICTURED = ("opened", "worse", "changed")


class Deliverer:
    """``external_url`` and ``zone`` are the configured ones; ``sent`` is told of each delivery (for latency
    metrics); ``sign`` makes the path that opens tickets (their keys) to a person, from now (ms) on."""

    def __init__(
        self,
        outbox: Outbox,
        channels: Iterable[Channel],
        clock: Clock,
        telemetry: Telemetry,
        external_url: str,
        zone: tzinfo,
        illustrate: Illustrate | None = None,
        sent: Callable[[Notification, int], None] | None = None,
        sign: Callable[[Sequence[str], str, int], str] | None = None,
    ) -> None:
        self._outbox = outbox
        self._channels = {channel.name: channel for channel in channels}
        self._clock = clock
        self._telemetry = telemetry
        self._failures = Counter(
            "detector_notification_failures", "Failed deliveries.", ["channel", "reason"], registry=telemetry.registry
        )
        self._external_url = external_url
        self._zone = zone
        self._illustrate = illustrate
        self._sent = sent
        self._sign = sign
        self._failing: dict[str, tuple[int, str]] = {}
        self._wakes: dict[str, asyncio.Event] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._running = False
        self._draining = False
        self._stopped = asyncio.Event()

    @property
    def channels(self) -> Mapping[str, Channel]:
        return dict(self._channels)

    @property
    def failing(self) -> Mapping[str, tuple[int, str]]:
        """Channels whose last delivery failed: since when (ms), and the reason of the last failure."""
        return dict(self._failing)

    # --- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until cancelled or drained; then the channels are closed."""
        self._running = True
        try:
            for channel in self._channels.values():
                self._start(channel)
            await self._stopped.wait()
        finally:
            self._running = False
            await self._end(list(self._workers))
            await _close(self._channels.values())

    async def drain(self, deadline: int) -> int:
        """Send what is due now, until nothing is or ``deadline`` (ms) has come; then stop. Returns how many channels
        were cut off in the middle: their messages come again under the same idempotency key."""
        self._draining = True
        self.wake()
        workers = set(self._workers.values())
        limit = asyncio.ensure_future(self._clock.sleep_until(deadline))
        try:
            while workers and not limit.done():
                done, _ = await asyncio.wait({*workers, limit}, return_when=asyncio.FIRST_COMPLETED)
                workers -= done
        finally:
            limit.cancel()
            self._stopped.set()
        return len(workers)

    def wake(self, channels: Iterable[str] | None = None) -> None:
        """Something was committed: look at once (for ``channels``, or all)."""
        for name in self._wakes if channels is None else channels:
            if name in self._wakes:
                self._wakes[name].set()

    async def replace(self, channels: Iterable[Channel], external_url: str, zone: tzinfo) -> None:
        """After a reload: a channel that is the very same object keeps its worker, others are ended and started. Cannot
        fail; what a replaced channel was in the middle of comes again when its lease has ended."""
        self._external_url, self._zone = external_url, zone
        new = {channel.name: channel for channel in channels}
        gone = [name for name, channel in self._channels.items() if new.get(name) is not channel]
        old, self._channels = self._channels, new
        await self._end(gone)
        self._failing = {name: state for name, state in self._failing.items() if name not in gone}
        await _close(old[name] for name in gone)
        for name, channel in new.items():
            if self._running and name not in self._workers:
                self._start(channel)

    async def send_test(self, name: str, path: str = "") -> Receipt:
        """Send a message that says it is a test, past the outbox, with the address at which a person says that it
        arrived; raises what the channel raises, LookupError for a
        name that is not a channel."""
        channel = self._channels.get(name)
        if channel is None:
            raise LookupError(f"no channel {name!r}; there are {', '.join(sorted(self._channels)) or 'none'}")
        act = self._external_url.rstrip("/") + path if path else ""
        message = trial_message(name, self._clock.now(), self._external_url, act)
        receipt = await self._hand_over(channel, message)
        self._count(name, "sent")
        return receipt

    def _start(self, channel: Channel) -> None:
        self._wakes[channel.name] = asyncio.Event()
        self._workers[channel.name] = asyncio.create_task(self._work(channel), name=f"channel-{channel.name}")

    async def _end(self, names: list[str]) -> None:
        tasks = [self._workers.pop(name) for name in names if name in self._workers]
        for name in names:
            self._wakes.pop(name, None)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- one channel ------------------------------------------------------------------------------------------------

    async def _work(self, channel: Channel) -> None:
        """One channel's worker: what fails in it backs off and is counted, it never ends the others."""
        wake = self._wakes[channel.name]
        while True:
            wake.clear()
            try:
                due = await self._step(channel)
            except Exception:
                # The outbox could not be read or written (a full disk, a database that restarts), or a defect of ours.
                log.exception("channel %s: the outbox failed; trying again in 5 s", channel.name)
                self._failures.labels(channel.name, "crashed").inc()
                due = self._clock.now() + _OUTBOX_RETRY_MS
            if self._workers.get(channel.name) is not asyncio.current_task():
                return  # somebody's wait_for kept the cancellation to itself, as Python 3.11's does
            if self._draining and (due is None or due > self._clock.now()):
                return
            await self._rest(wake, due)

    async def _step(self, channel: Channel) -> int | None:
        """Deliver one message, if one is due; returns when (ms) to look again, None: when woken."""
        now = self._clock.now()
        lease = _longest(channel) + _PICTURE_MS + _SLACK_MS
        notification = await self._outbox.claim(channel.name, now, lease, together=channel.limits.together)
        if notification is None:
            return await self._outbox.next_due(channel.name)
        outcome = await self._attempt(channel, notification)
        await self._outbox.settle(notification.id, outcome, self._clock.now())
        return now

    async def _rest(self, wake: asyncio.Event, due: int | None) -> None:
        if wake.is_set() or (due is not None and due <= self._clock.now()):
            # Let others run between two messages of one channel, the canceller among them.
            await asyncio.sleep(0)
            return
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(wake.wait())]
        if due is not None:
            waits.append(asyncio.ensure_future(self._clock.sleep_until(due)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _attempt(self, channel: Channel, notification: Notification) -> Outcome:
        try:
            message = await self._word(channel, notification)
            receipt = await self._hand_over(channel, message)
        except DeliveryError as failure:
            return self._failed(channel, notification, failure)
        except Exception:
            log.exception("channel %s: %s: a defect", channel.name, notification.idempotency_key)
            return self._failed(channel, notification, Unavailable("crashed"))
        self._count(channel.name, "sent", notification)
        self._failing.pop(channel.name, None)
        now = self._clock.now()
        self._telemetry.notification_latency.observe(max(0, now - notification.created_at) / 1000)
        if self._sent is not None:
            self._sent(notification, now)
        return Sent(receipt.id[:255])

    async def _word(self, channel: Channel, notification: Notification) -> Message:
        if isinstance(channel, Writes):
            return await channel.word(notification)
        now = self._clock.now()
        act = ""
        if notification.recipient and notification.memo is None and self._sign is not None:
            keys = [ticket.key for ticket in (notification.ticket, *notification.also)]
            act = self._external_url.rstrip("/") + self._sign(keys, notification.recipient, now)
        message = render(notification, now, self._external_url, self._zone, act)
        if notification.also:
            return message
        wanted = channel.limits.pictures and notification.event in _PICTURED and not notification.ticket.restricted
        if self._illustrate is None or not wanted:
            return message
        try:
            picture = await asyncio.wait_for(self._illustrate(notification.ticket, now), _PICTURE_MS / 1000)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a picture, it never holds up a page
            log.warning("channel %s: no chart for %s: %s", channel.name, notification.ticket.key, type(error).__name__)
            return message
        return message if picture is None else replace(message, attachments=(picture,))

    async def _hand_over(self, channel: Channel, message: Message) -> Receipt:
        """Within the channel's own time, with a guard for a channel that does not keep it."""
        try:
            return await asyncio.wait_for(channel.deliver(message), _longest(channel) / 1000)
        except TimeoutError:
            raise Unavailable("timeout", "the channel did not come back") from None

    def _failed(self, channel: Channel, notification: Notification, failure: DeliveryError) -> Outcome:
        if isinstance(failure, Unavailable):
            outcome = after(
                failure, notification.attempts, notification.idempotency_key, channel.schedule, self._clock.now()
            )
        else:
            outcome = Dead(failure.reason)
        self._failures.labels(channel.name, failure.reason if failure.reason in REASONS else "crashed").inc()
        if not failure.theirs:
            since, _ = self._failing.get(channel.name, (self._clock.now(), ""))
            self._failing[channel.name] = (since, failure.reason)
        if isinstance(outcome, Retry):
            self._count(channel.name, "retried", notification)
            level, then = logging.WARNING, f"again in {(outcome.at - self._clock.now()) // 1000} s"
        else:
            self._count(channel.name, "dead", notification)
            level, then = logging.ERROR, "given up"
        log.log(level, "channel %s: %s: %s; %s", channel.name, notification.idempotency_key, failure, then)
        return outcome

    def _count(self, channel: str, result: str, notification: Notification | None = None) -> None:
        if notification is not None and notification.ticket.restricted:
            return  # no figure tells that it exists
        self._telemetry.notifications.labels(channel, result).inc()


async def _close(channels: Iterable[Channel]) -> None:
    """One that fails to close does not keep the others open."""
    for channel in channels:
        try:
            await channel.close()
        except Exception:
            log.exception("channel %s: closing failed", channel.name)


def _longest(channel: Channel) -> int:
    """ms that a delivery may take: the whole message and then the brief one, each within the channel's time."""
    return 2 * channel.timeout + 1000
