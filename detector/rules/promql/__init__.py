"""PromQL with Prometheus 3.x semantics over the store: ``parse``, then ``Engine.instant`` or ``Engine.range``."""
