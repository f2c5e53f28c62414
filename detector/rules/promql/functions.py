"""Which functions this engine has; what is not here is refused when a rule is loaded, by name."""

from __future__ import annotations

from detector.rules.promql import instant, over_time

ENGINE = frozenset({"absent", "absent_over_time", "histogram_quantile", "pi", "scalar", "time", "timestamp", "vector"})
"""Those that need more than the values of their arguments, evaluated by the engine itself."""

SUPPORTED = frozenset(instant.FUNCTIONS) | frozenset(over_time.FUNCTIONS) | ENGINE
