"""Options of the anomaly room. No numpy here: checking a configuration stays quick."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from detector.options import Duration, Options, ms

Category = Literal[
    "availability", "errors", "latency", "traffic", "saturation", "capacity/disk", "capacity/memory", "capacity/cpu",
    "capacity/file-descriptors", "capacity/connections", "capacity/queue", "monitoring", "other",
]  # fmt: skip


class LimitOptions(Options):
    """A limit that names alone do not tell: ``used``, summed ``by`` labels, must not cross ``limit``."""

    used: str
    """Metric that runs towards the limit."""
    limit: str | float
    """Metric that states the limit, or the limit itself."""
    by: tuple[str, ...] | None = None
    """Sum ``used`` over these labels first and look the limit up by them; without it, series by series and the labels
    must be the same."""
    where: dict[str, str] = Field(default_factory=dict)
    """Only series with these label values."""
    falling: bool = False
    """The series runs out downwards (free space); ``limit`` is then a number, the floor."""
    category: Category = "saturation"
    item: tuple[str, ...] = ()
    """Labels that name the resource in the incident; by default instance and mount point, pod, queue, ..."""

    @model_validator(mode="after")
    def _floor(self) -> LimitOptions:
        if self.falling and isinstance(self.limit, str):
            raise ValueError(f"limit of {self.used}: a falling series runs down to a number, not to {self.limit!r}")
        return self


SHIPPED_LIMITS: tuple[LimitOptions, ...] = (
    LimitOptions(used="pg_stat_activity_count", by=("instance", "server"), limit="pg_settings_max_connections",
                 category="capacity/connections"),
    LimitOptions(used="mysql_global_status_threads_connected", by=("instance",),
                 limit="mysql_global_variables_max_connections", category="capacity/connections"),
    LimitOptions(used="redis_connected_clients", by=("instance",), limit="redis_config_maxclients",
                 category="capacity/connections"),
    LimitOptions(used="redis_connected_clients", by=("instance",), limit="redis_maxclients",
                 category="capacity/connections"),
    LimitOptions(used="node_sockstat_TCP_orphan", by=("instance",), limit="node_sockstat_TCP_max_orphans",
                 category="capacity/connections"),
    LimitOptions(used="rabbitmq_process_resident_memory_bytes", by=("instance",),
                 limit="rabbitmq_resident_memory_limit_bytes", category="capacity/memory"),
    LimitOptions(used="go_threads", by=("instance",), limit=10_000, category="saturation"),
)  # fmt: skip


class ForecastOptions(Options):
    """Robust trend to a limit."""

    window: int = Field(120, ge=40, le=2000)
    """Samples of the series that the trend is taken from (30 minutes at 15 s)."""
    least: int = Field(40, ge=20, le=2000)
    """Samples from which it speaks, with a wider interval."""
    horizon: Duration = ms("24h")
    """Nothing further away than this is a symptom."""
    pairs: bool = True
    """Find limits by the names of metrics (``x_used`` beside ``x_max``, ``*_avail_bytes`` against 0)."""
    limits: tuple[LimitOptions, ...] = SHIPPED_LIMITS
    more_limits: tuple[LimitOptions, ...] = ()
    """Limits of your own beside those shipped."""
    latency_objective: float | None = Field(0.5, gt=0)
    """Seconds that a service's slow answers (99th percentile of ``*_duration_seconds`` histograms) must stay under."""


class SilenceOptions(Options):
    after: Duration = ms("5m")
    """A source from which nothing arrived for so long is a symptom of category ``monitoring``."""


class AnomalyOptions(Options):
    """Models over all series. None of them needs a setting to work."""

    interval: Duration = ms("15s")
    """How often forecasts and groups are evaluated, in event time."""
    forecast: ForecastOptions = ForecastOptions()
    silence: SilenceOptions = SilenceOptions()
    groups: bool = True
    """Corroborate anomalies inside a service. A single series' anomaly never opens anything."""
    group_model: bool = True
    """One multivariate model on each service's golden signals (loads river when a service has any)."""
    export_floor: float = Field(3.0, ge=0)
    """Scores from here on are in ``detector_anomaly_score``."""
    export_limit: int = Field(1000, ge=0)
    ignore: tuple[str, ...] = ()
    """Metrics (whole names) that no model looks at."""
