"""A source that falls silent is itself a symptom: nothing else would say so, since nothing arrives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from detector.nouns import Symptom
from detector.series.identity import symptom_id
from detector.words import plain, span

GIVES_UP = 7 * 86_400_000
"""ms after which a source counts as taken away for good."""


def silences(
    arrivals: Mapping[str, int], told: Mapping[str, Symptom], upto: int, after: int
) -> dict[str, Symptom]:  # fmt: skip
    """Symptoms by source at ``upto`` that are new or over.

    ``arrivals``: when each source was last heard of (ms); ``told``: the active symptom of each that has one. A source
    that was taken out of ``arrivals`` is over too. Pure: the caller keeps ``told``.
    """
    out: dict[str, Symptom] = {}
    for source, last in sorted(arrivals.items()):
        quiet = upto - last
        known = told.get(source)
        if known is None and after <= quiet < GIVES_UP:
            out[source] = _silent(source, last, upto, after)
        elif known is not None and (quiet < after or quiet >= GIVES_UP):
            out[source] = replace(known, active=False, last_at=upto)
    for source in sorted(set(told) - set(arrivals)):
        out[source] = replace(told[source], active=False, last_at=upto)
    return out


def _silent(source: str, last: int, upto: int, after: int) -> Symptom:
    name = plain(source, 120)
    labels = {"source": source}
    return Symptom(
        id=symptom_id("silence", labels, last), detector="silence", kind="absence", name="SourceSilent",
        service=source, labels=labels, metric="", score=0.0, value=None, lower=None, upper=None,
        first_at=last + after, last_at=upto, active=True, category="monitoring",
        summary=f"Nothing has arrived from {name} for {span(upto - last)}: what it watches cannot be seen",
    )  # fmt: skip
