"""The product's own metrics, by the names that dashboards rely on.

The registry is handed in: two Apps in one process have two registries.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info


class Telemetry:
    """Every metric that more than one room touches; a room's own are made by the room on ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        r = registry
        self.build_info = Info("detector_build", "Version of the running daemon.", registry=r)
        # ingest
        self.ingested = Counter("detector_samples_ingested", "Samples accepted, by source.", ["source"], registry=r)
        self.rejected = Counter("detector_samples_rejected", "Samples rejected, by reason.", ["reason"], registry=r)
        self.late = Counter("detector_samples_late", "Samples accepted after event time had passed them.", registry=r)
        self.series = Gauge("detector_series", "Active series.", registry=r)
        self.alerts = Counter(
            "detector_alerts_received", "Alerts received, by what became of them.", ["source", "result"], registry=r
        )
        self.alerts_decided = Counter(
            "detector_alerts",
            "Alerts that were decided: received = stored + deduplicated + rejected.",
            ["result"],
            registry=r,
        )
        # arrays
        self.event_time = Gauge(
            "detector_event_time_seconds", "Event time of the last advance, Unix seconds.", registry=r
        )
        self.advance_seconds = Histogram(
            "detector_advance_seconds", "Duration of one advance: models, rules, forecasts.", registry=r
        )
        self.rule_seconds = Histogram(
            "detector_rule_evaluation_seconds", "Duration of a rule group's evaluation.", ["group"], registry=r
        )
        self.rule_firing = Gauge("detector_rule_firing", "Active alerts of a rule.", ["rule"], registry=r)
        self.rule_failures = Counter(
            "detector_rule_evaluation_failures", "Rule evaluations that failed.", ["rule"], registry=r
        )
        self.symptoms = Counter("detector_symptoms", "Symptoms found.", ["detector", "kind"], registry=r)
        self.score = Gauge(
            "detector_anomaly_score",
            "Calibrated anomaly score (-log10 p) of series over the export floor.",
            ["service", "metric", "instance"],
            registry=r,
        )
        # queues
        self.queue_depth = Gauge("detector_queue_depth", "Entries waiting.", ["queue"], registry=r)
        self.queue_capacity = Gauge("detector_queue_capacity", "Entries that fit.", ["queue"], registry=r)
        self.queue_age = Gauge("detector_queue_oldest_seconds", "Age of the oldest entry.", ["queue"], registry=r)
        # desk
        self.opened = Counter(
            "detector_incidents_opened", "Incidents opened.", ["priority", "category", "tier", "source"], registry=r
        )
        self.open = Gauge("detector_incidents_open", "Incidents open.", ["state", "priority", "tier"], registry=r)
        self.lead = Histogram(
            "detector_incident_lead_seconds",
            "From opened to disruption.",
            registry=r,
            buckets=(0, 60, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400),
        )
        self.outcomes = Counter(
            "detector_incident_outcomes", "How incidents ended, by resolution.", ["outcome"], registry=r
        )
        self.clocks = Gauge("detector_sla_clocks", "Clocks of open tickets.", ["clock", "state"], registry=r)
        self.timer_lateness = Histogram(
            "detector_timer_lateness_seconds",
            "How much later than due a clock of the desk was looked at.",
            registry=r,
            buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 3600),
        )
        # notify
        self.notifications = Counter(
            "detector_notifications", "Messages by channel and result.", ["channel", "result"], registry=r
        )
        self.notification_latency = Histogram(
            "detector_notification_latency_seconds", "From the decision to the delivered message.", registry=r
        )
        self.incident_latency = Histogram(
            "detector_incident_latency_seconds",
            "From the start of an evaluation that found a new incident to its message handed to the channel.",
            registry=r,
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30),
        )
        self.detection_latency = Histogram(
            "detector_detection_latency_seconds",
            "From the newest sample of the evidence to the incident on the board.",
            registry=r,
            buckets=(1, 2, 5, 10, 15, 21, 23, 30, 60),
        )
        self.heartbeats = Counter("detector_heartbeats", "Heartbeats by result.", ["result"], registry=r)
