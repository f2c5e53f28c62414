"""Expositions: what a scraped target answered, into a batch with what a scrape says about itself.

A target's series are remembered by their exact text, so relabelling runs once per series. A series that was there at
the last scrape and is not now gets a stale marker; so do all of them when the scrape fails or the target goes away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from detector.ingest.decode import Decoded, Rejected, exposition_text, lines
from detector.ingest.decode.cache import TextCache
from detector.ingest.decode.labelling import DROPPED, REASONS, SERIES_LIMIT, BadLabels, checked, metric_of, target_of
from detector.nouns import Batch, Ids, LabelSet, Times, Values
from detector.series.blocks import STALE_BITS
from detector.series.labels import Index
from detector.series.limits import Limits

SOURCE = "scrape"
REFUSED = -2
NAMED = 5
FURTHEST = 9e18
STALE = np.array([STALE_BITS], np.int64).view(np.float64)[0]


@dataclass(frozen=True, slots=True)
class Exposition:
    """A decoded body. ``scraped`` lines with a sample, ``added`` series new with this scrape; ``stamped`` bool[n]: the
    samples with a time of their own, whose series get no stale marker when they vanish."""

    series: Ids
    at: Times
    value: Values
    stamped: npt.NDArray[np.bool_]
    scraped: int = 0
    kept: int = 0
    added: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    first: tuple[str, ...] = ()


NOTHING = Exposition(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0), np.empty(0, np.bool_))


class Scraped(Protocol):
    """One scrape as the scraper hands it over. ``target`` names the target for as long as it is scraped, ``labels``
    are its own. ``error`` says why there is no body; ``gone``: the target is no longer scraped. ``relabel`` makes the
    labels to store of those exposed (target labels, honor_labels, metric_relabel_configs), or None: dropped."""

    @property
    def target(self) -> str: ...
    @property
    def labels(self) -> LabelSet: ...
    @property
    def at(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def body(self) -> bytes: ...
    @property
    def content_type(self) -> str: ...
    @property
    def error(self) -> str: ...
    @property
    def gone(self) -> bool: ...
    @property
    def honor_timestamps(self) -> bool: ...
    @property
    def sample_limit(self) -> int: ...
    @property
    def relabel(self) -> Callable[[LabelSet], LabelSet | None] | None: ...


class _Memory:
    """What is remembered of a target between scrapes."""

    def __init__(self) -> None:
        self.cache = TextCache(64 << 20)
        self.previous: Ids = np.empty(0, np.int32)
        self.releases: Ids = np.empty(0, np.int32)


def is_open_metrics(content_type: str) -> bool:
    return content_type.split(";")[0].strip().lower() == "application/openmetrics-text"


class ExpositionDecoder:
    """Keeps what is known of each target. One per index; not thread-safe."""

    def __init__(self) -> None:
        self._targets: dict[str, _Memory] = {}

    def scrape(self, result: Scraped, index: Index, limits: Limits) -> Decoded:
        """A scrape as one batch: the samples, stale markers for what vanished, ``up`` and the like. Never raises.

        A body that cannot be taken makes the scrape a failed one; ``rejected`` and ``first`` say why.
        """
        memory = self._targets.setdefault(result.target, _Memory())
        read: Exposition | Rejected = NOTHING
        if not result.error and not result.gone:
            read = self.decode(result, index, limits)
        found = NOTHING if isinstance(read, Rejected) else read
        previous = memory.previous[index.releases[memory.previous] == memory.releases]
        up = not result.error and not isinstance(read, Rejected)
        batch = close_scrape(previous, found, result, up=up, index=index)
        steady = np.unique(found.series[~found.stamped])
        memory.previous, memory.releases = steady, index.releases[steady]
        if result.gone:
            del self._targets[result.target]
        if isinstance(read, Rejected):
            return Decoded(batch, {read.reason: 1}, (f"{result.target}: {read.detail}",), 0)
        return Decoded(batch, found.rejected, found.first, found.scraped)

    def decode(self, result: Scraped, index: Index, limits: Limits) -> Exposition | Rejected:
        """The samples of the body, at the scrape's time where they have none of their own. Never raises."""
        size = len(result.body)
        if size > limits.body_bytes:
            return Rejected(413, "body-too-large", f"{size} bytes; limits.body_bytes is {limits.body_bytes}")
        memory = self._targets.setdefault(result.target, _Memory())
        data = np.frombuffer(result.body, np.uint8)
        walked = _walked(data, memory.cache, index, limits, result)
        if isinstance(walked, Rejected):
            return walked
        problem = _read_odd(data, walked, is_open_metrics(result.content_type))
        if problem is not None:
            return problem
        try:
            added, first = self._settle(data, walked, memory.cache, index, limits, result)
        except exposition_text.BadText as error:
            return Rejected(400, "bad-exposition", str(error))
        return _exposition(walked, added, first, result)

    def _settle(
        self, data: lines.Bytes, walked: lines.Lines, cache: TextCache, index: Index, limits: Limits, result: Scraped
    ) -> tuple[int, list[str]]:
        """Series met for the first time; how many are new, and messages about refused ones. Raises BadText."""
        first: list[str] = []
        known: dict[bytes, int] = {}
        added = 0
        for start, end, sample in walked.new[: walked.counts[lines.NEW]].tolist():
            text = data[start:end].tobytes()
            if sample < 0:
                _note(text, index)
                cache.put(text, lines.COMMENT_ID, index.releases)
                continue
            id = known.get(text)
            if id is None:
                id, message = _intern(text, int(walked.where[sample]), index, limits, result)
                known[text] = id
                added += id >= 0
                cache.put(text, id, index.releases)
                if message and len(first) < NAMED:
                    first.append(message)
            walked.series[sample] = id
        return added, first


def _walked(
    data: lines.Bytes, cache: TextCache, index: Index, limits: Limits, result: Scraped
) -> lines.Lines | Rejected:
    open_metrics = is_open_metrics(result.content_type)
    room = int(np.count_nonzero(data == lines.NEWLINE)) + 1
    if room > 2 * limits.samples_per_request + 1000:
        return Rejected(413, "too-many-samples", f"{room} lines; limits.samples_per_request is too small for them")
    walked = lines.Lines(
        np.empty(room, np.int32), np.empty(room, np.int64), np.empty(room), np.empty(room, np.bool_),
        np.empty(room, np.int32), np.empty((room, 3), np.int64), np.empty((2 * room, 4), np.int64),
        np.array([0, 0, 0, -1, 0, 0], np.int64),
    )  # fmt: skip
    full = index.size >= limits.series
    code = lines.walk(
        data, walked, result.at, result.honor_timestamps, 1000.0 if open_metrics else 1.0, open_metrics,
        cache.entries, index.releases, NEVER if full else REFUSED - SERIES_LIMIT, cache.seed,
    )  # fmt: skip
    if code != lines.DONE:
        detail = f"line {int(walked.counts[lines.LINE])}: {lines.MESSAGES[code]}"
        return Rejected(400, "bad-exposition", detail)
    if open_metrics and not walked.counts[lines.CLOSED]:
        return Rejected(400, "bad-exposition", "OpenMetrics without '# EOF' at its end: it was cut off")
    if walked.counts[lines.SAMPLES] > limits.samples_per_request:
        detail = f"{int(walked.counts[lines.SAMPLES])} samples; limits.samples_per_request allows fewer"
        return Rejected(413, "too-many-samples", detail)
    return walked


NEVER = -(1 << 30)


def _read_odd(data: lines.Bytes, walked: lines.Lines, open_metrics: bool) -> Rejected | None:
    """Numbers that the kernel left alone."""
    for start, end, sample, what in walked.odd[: walked.counts[lines.ODD]].tolist():
        try:
            number = exposition_text.number(data[start:end].tobytes())
        except ValueError as error:
            return Rejected(400, "bad-exposition", f"line {int(walked.where[sample])}: {error}")
        if what == lines.VALUE:
            walked.value[sample] = number
            continue
        number *= 1000 if open_metrics else 1
        if not abs(number) < FURTHEST:
            return Rejected(400, "bad-exposition", f"line {int(walked.where[sample])}: the timestamp is out of range")
        walked.at[sample] = round(number)
    return None


def _note(line: bytes, index: Index) -> None:
    said = exposition_text.metadata(line)
    if said is not None:
        what, family, text = said
        before = index.types.get(family)
        index.types.note(
            family,
            text if what == "TYPE" else before.type,
            text if what == "HELP" else before.help,
            text if what == "UNIT" else before.unit,
        )


def _intern(text: bytes, line: int, index: Index, limits: Limits, result: Scraped) -> tuple[int, str]:
    """(id, or below zero why there is none; a message). Raises BadText."""
    try:
        exposed: LabelSet | None = checked(exposition_text.label_pairs(text), limits)
        if exposed is not None and result.relabel is not None:
            exposed = result.relabel(exposed)
        if exposed is None:
            return REFUSED - DROPPED, ""
        labels = checked(((name.encode(), value.encode()) for name, value in exposed), limits)
    except exposition_text.BadText as error:
        raise exposition_text.BadText(f"line {line}: {error}") from None
    except BadLabels as error:
        return REFUSED - error.code, f"{REASONS[error.code]}: line {line}: {error}"
    id = index.intern(labels, _cohort(result), index.types.type_of(metric_of(labels)), limits.series)
    if id < 0:
        detail = f"{index.size} series are active; limits.series is {limits.series}"
        return REFUSED - SERIES_LIMIT, f"series-limit: line {line}: {detail}"
    return id, ""


def _cohort(result: Scraped) -> str:
    """The same as if the target's series came by remote write."""
    return target_of(result.labels, result.target)


def _exposition(walked: lines.Lines, added: int, first: list[str], result: Scraped) -> Exposition | Rejected:
    n = int(walked.counts[lines.SAMPLES])
    series = walked.series[:n]
    kept = int(np.count_nonzero(series != REFUSED - DROPPED))
    if 0 < result.sample_limit < kept:
        return Rejected(413, "sample-limit", f"{kept} samples; sample_limit is {result.sample_limit}")
    keep = series >= 0
    rejected = {
        REASONS[REFUSED - code]: int(np.count_nonzero(series == code))
        for code in np.unique(series[~keep]).tolist() if code != REFUSED - DROPPED
    }  # fmt: skip
    return Exposition(
        series[keep], walked.at[:n][keep], walked.value[:n][keep], walked.stamped[:n][keep],
        n, kept, added, rejected, tuple(first),
    )  # fmt: skip


def close_scrape(previous: Ids, found: Exposition, result: Scraped, *, up: bool, index: Index) -> Batch:
    """The scrape as a batch: its samples, stale markers for those of ``previous`` that it does not have, and what
    Prometheus adds about the scrape itself. Of a target that is gone, these end as well."""
    vanished = np.setdiff1d(previous, found.series)
    about = {
        "up": float(up),
        "scrape_duration_seconds": result.seconds,
        "scrape_samples_scraped": float(found.scraped),
        "scrape_samples_post_metric_relabeling": float(found.kept),
        "scrape_series_added": float(found.added),
    }
    own = [index.intern(_about(name, result.labels), _cohort(result), "gauge") for name in about]
    values = [STALE] * len(own) if result.gone else list(about.values())
    series = np.concatenate([found.series, vanished, np.array(own, np.int32)])
    times = np.concatenate([found.at, np.full(len(vanished) + len(own), result.at, np.int64)])
    value = np.concatenate([found.value, np.full(len(vanished), STALE), np.array(values)])
    born, released = index.drain()
    return Batch(SOURCE, series.astype(np.int32), times, value, born, released)


def _about(name: str, labels: LabelSet) -> LabelSet:
    return tuple(sorted([("__name__", name), *((key, value) for key, value in labels if value and key != "__name__")]))
