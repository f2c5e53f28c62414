"""From symptoms and alerts to one incident per cause: pure functions of values and ``now`` that return changes."""
