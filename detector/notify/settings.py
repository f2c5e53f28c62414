"""The room's part of the configuration."""

from __future__ import annotations

from pydantic import Field, field_validator

from detector.notify.channels import AnyChannelOptions
from detector.notify.heartbeat import HeartbeatOptions
from detector.options import Options


class NotifyOptions(Options):
    """Who is told, and how; and who watches the watcher."""

    channels: tuple[AnyChannelOptions, ...] = Field(default=(), description="The ways to reach people.")
    heartbeat: HeartbeatOptions | None = Field(default=None, description="A dead man's switch for the detector itself.")

    @field_validator("channels")
    @classmethod
    def _unique(cls, channels: tuple[AnyChannelOptions, ...]) -> tuple[AnyChannelOptions, ...]:
        names = [channel.name for channel in channels]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two channels have the name {', '.join(twice)}: their messages could not be told apart")
        return channels
