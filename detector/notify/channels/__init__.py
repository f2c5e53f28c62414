"""The ways to reach people, one file each: options, limits, protocol. A new one is a file and two lines here.

Every channel passes the contract battery of ``tests/contract/test_channels.py``.
"""

from __future__ import annotations

import os
import sys
from datetime import tzinfo
from typing import Annotated, TextIO

import aiohttp
from pydantic import Field

from detector.clock import Clock
from detector.notify.channels.apprise_channel import AppriseChannel, AppriseOptions
from detector.notify.channels.channel import (
    REASONS,
    Channel,
    ChannelOptions,
    DeliveryError,
    HttpUrl,
    Limits,
    Reason,
    Receipt,
    Refused,
    Unavailable,
    Writes,
)
from detector.notify.channels.console import ConsoleChannel, ConsoleOptions
from detector.notify.channels.gateway import GatewayChannel, GatewayOptions
from detector.notify.channels.pagerduty import PagerDutyChannel, PagerDutyOptions
from detector.notify.channels.webhook import WebhookChannel, WebhookOptions

__all__ = [
    "REASONS", "AnyChannelOptions", "Channel", "ChannelOptions", "DeliveryError", "HttpUrl", "Limits", "Reason",
    "Receipt", "Refused", "Unavailable", "Writes", "build", "rings",
]  # fmt: skip

AnyChannelOptions = Annotated[
    ConsoleOptions | WebhookOptions | PagerDutyOptions | AppriseOptions | GatewayOptions, Field(discriminator="type")
]
"""One entry of ``channels:`` in the configuration."""


def build(
    options: AnyChannelOptions, session: aiohttp.ClientSession, clock: Clock, zone: tzinfo, stream: TextIO | None = None
) -> Channel:
    """The channel that ``options`` describe; ValueError names channel, key and remedy (a secret's file that cannot be
    read, an address that apprise does not know). apprise makes it slow once (a second): call it in a thread.

    ``stream``: where ``console`` prints; standard output by default.
    """
    match options:
        case ConsoleOptions():
            out = stream if stream is not None else sys.stdout
            return ConsoleChannel(options, out, clock, zone, out.isatty() and not os.environ.get("NO_COLOR"))
        case WebhookOptions():
            return WebhookChannel(options, session, clock)
        case PagerDutyOptions():
            return PagerDutyChannel(options, session)
        case AppriseOptions():
            return AppriseChannel(options)
        case GatewayOptions():
            return GatewayChannel(options, session)


def rings(options: AnyChannelOptions) -> bool:
    """Whether the channel can only ring, and tells nobody anything quietly."""
    return isinstance(options, GatewayOptions) and options.kind == "voice"
