"""A dead man's switch: an address outside is fetched every minute, but only while the detector really works.

When the fetches stop, the watchdog outside (healthchecks.io, an Alertmanager's Watchdog receiver, a cron monitor) tells
somebody that the detector itself is down: the one incident it cannot report.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from detector.clock import Clock, every
from detector.notify.channels.channel import DeliveryError, exactly_one, http_url, secret
from detector.notify.channels.http import Session, judge, request
from detector.options import Duration, Options, ms
from detector.telemetry import Telemetry

log = logging.getLogger(__name__)

Healthy = Callable[[], Awaitable[str | None]]
"""None while samples arrive, evaluations keep up and the database takes writes; else what does not, in a few words."""


class HeartbeatOptions(Options):
    """Where to report, every interval, that the detector works."""

    url: SecretStr | None = Field(default=None, description="http(s) address that is fetched with GET. It is a secret.")
    url_file: Path | None = Field(default=None, description="The same in a file.")
    interval: Duration = Field(default=ms("1m"), ge=1000, description="How often.")
    timeout: Duration = Field(default=ms("10s"), ge=100, description="How long a fetch may take.")

    @model_validator(mode="after")
    def _one_url(self) -> HeartbeatOptions:
        exactly_one("url", self.url, self.url_file)
        if self.url is not None:
            http_url(self.url.get_secret_value())
        return self


class Heartbeat:
    """``run`` until cancelled. ``detector_heartbeats_total{result}``: sent | failed | withheld."""

    def __init__(
        self, options: HeartbeatOptions, healthy: Healthy, session: Session, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._url = http_url(secret("heartbeat", "url", options.url, options.url_file))
        self._options = options
        self._healthy = healthy
        self._session = session
        self._clock = clock
        self._telemetry = telemetry
        self._last = "sent"

    async def run(self) -> None:
        await every(self._clock, self.beat)

    async def beat(self, now: int) -> int:
        """Report once, or withhold it; returns when (ms) the next one is due. A slow fetch does not shift the
        rhythm."""
        result, why = await self._beat()
        self._telemetry.heartbeats.labels(result).inc()
        if result != self._last:
            log.log(logging.INFO if result == "sent" else logging.WARNING, "heartbeat %s%s", result, why)
        self._last = result
        interval = self._options.interval
        late = max(0, self._clock.now() - now)
        return now + interval * (late // interval + 1)

    async def _beat(self) -> tuple[str, str]:
        try:
            wrong = await self._healthy()
        except Exception as error:  # noqa: BLE001 - a check that cannot say "healthy" has said that it is not
            wrong = f"the check itself failed: {type(error).__name__}"
        if wrong is not None:
            return "withheld", f": {wrong}"
        try:
            judge(await request(self._session, "GET", self._url, self._options.timeout))
        except DeliveryError as failure:
            return "failed", f": {failure}"
        return "sent", ""
