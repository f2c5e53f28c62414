"""A week of ordinary load is not worth a single incident."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ordinary import Week, replay
from detector.series.labels import Index


def test_the_generated_week_is_what_it_says() -> None:
    """Same seed, same samples; every target at a moment of its own; and there is load to be ordinary about."""
    one, two = (Week(0.5, 3).recording(Index()) for _ in range(2))
    batches, others = list(one.batches(3_600_000)), list(two.batches(3_600_000))
    assert one.series > 200
    for batch, other in zip(batches, others, strict=True):
        np.testing.assert_array_equal(batch.value, other.value)
        np.testing.assert_array_equal(batch.at, other.at)
    assert len({int(at) % 15_000 for at in batches[0].at.tolist()}) > 5


@pytest.mark.slow
def test_a_generated_week_of_ordinary_load_opens_no_incident() -> None:
    assert [found["title"] for found in replay(7, 1).incidents] == []
