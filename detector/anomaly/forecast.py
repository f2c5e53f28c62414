"""Forecast to a limit: which resource is running out, and when.

Every evaluation follows the new samples of every limited resource (:mod:`legs`, O(1) a sample). Only a resource that
has risen a good part of the way to its limit, and beyond all that it has come back from before, gets a trend fitted
(:mod:`trend`); only a trend that holds over several samples becomes a symptom, and it stays one, under the same id,
until the trend has turned for a while. Positions and periods are measured in samples of the series, so that a series
scraped every second is forecast after a minute and one scraped every minute is not called early.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.anomaly import legs, trend
from detector.anomaly.exhaustion import exhaustion, packed, unpacked
from detector.anomaly.options import ForecastOptions
from detector.anomaly.resources import Key, Resource
from detector.anomaly.scale import Samples, Scale, shares
from detector.anomaly.sources import HOUR, Source
from detector.nouns import Symptom
from detector.series.identity import symptom_id

SHORT_CALM = 4 / 3
"""So much more of the way must be gone when the quiet before was shorter than the rise."""
COLD_SHARE = 0.85
"""When there was no quiet before: a ramp from the first sample on may always have been rotated at three quarters."""
PART = 0.1  # of its pace: so steep before, the rise had begun already
LASTS = 40  # samples that a rise has lasted at least: bursts and batch jobs are shorter
HOLDS = 7  # samples after the first on which a trend must still hold
NEARLY = 0.9  # whatever rests so close to its limit has not recovered
TURNS = 20  # samples for which it must be over
STEPS = 4.0  # a rise of fewer granules (connections of a pool of four) is no trend
NOISE_FACTOR = 6.0
SLOWING = 0.4  # the recent half's slope in terms of the whole one's: slower is coming to rest
FURTHEST = 4.0  # times the rise's own length
UPDATE = 300_000  # ms between updates of a symptom that only went on as forecast


@dataclass(frozen=True, slots=True)
class Caution:
    """How far a rise must have come: ``way`` of the way from its foot to the limit (less than a quarter and a forecast
    is a guess four times as long as its history), and ``least`` of the whole scale."""

    way: float = 0.25
    least: float = 2 * legs.NOISE


@dataclass(frozen=True, slots=True)
class Open:
    """A symptom that is active. ``slope`` share per ms and ``height`` when it opened; ``turned`` seen-count since it is
    over, -1 while it is not."""

    symptom: Symptom
    slope: float
    height: float
    turned: float = -1.0


class Forecaster:
    """Forecasts over all resources of a source. Pure in event time: the same samples, the same symptoms."""

    def __init__(self, source: Source, options: ForecastOptions, caution: Caution | None = None) -> None:
        self._source = source
        self._options = options
        self._caution = caution or Caution()
        self._legs = legs.fresh(0)
        self._held = np.empty(0, np.float64)
        self._free: list[int] = []
        self._open: dict[Key, Open] = {}
        self._followed: int | None = None
        self._remembered: dict[Key, int] = {}

    def births(self, names: Iterable[str]) -> None:
        """Series of these metrics were born."""
        for resource in self._source.births(names):
            resource.row = self._remembered.pop(resource.key, -1)
            if resource.row < 0:
                resource.row = self._row()

    def forget(self, ids: Iterable[int], upto: int) -> list[Symptom]:
        """These series are gone; their symptoms end."""
        ended = []
        for resource in self._source.forget(ids):
            was = self._open.pop(resource.key, None)
            if was is not None:
                ended.append(replace(was.symptom, active=False, last_at=upto))
            self._free.append(resource.row)
        return ended

    def evaluate(self, upto: int) -> list[Symptom]:
        """Follow what came in until ``upto`` and return symptoms that are new, changed or over, in a stable order."""
        resources = sorted(self._source.resources(), key=lambda resource: resource.row)
        if not resources:
            return []
        scales = self._source.scales(resources, upto)
        self._follow(resources, scales, upto)
        rows = np.array([resource.row for resource in resources], np.int64)
        likely = self._candidates(rows, upto)
        asked = [i for i, r in enumerate(resources) if likely[i] or r.key in self._open]
        self._held[rows[~likely]] = -1.0
        if not asked:
            return []
        return self._judge([resources[i] for i in asked], [scales[i] for i in asked], likely[asked], upto)

    # --- following ------------------------------------------------------------------------------------------------

    def _follow(self, resources: Sequence[Resource], scales: Sequence[Scale], upto: int) -> None:
        start = upto - HOUR if self._followed is None else self._followed
        self._followed = upto
        rows = np.array([resource.row for resource in resources], np.int64)
        if np.any(self._legs[rows, legs.SEEN] == 0):
            # Of a resource that was just found the ring may hold more.
            start = min(start, upto - HOUR)
        samples = self._source.samples(resources, start, upto)
        legs.follow(self._legs, rows, samples.first, samples.at, shares(samples, scales))

    def _candidates(self, rows: npt.NDArray[np.int64], upto: int) -> npt.NDArray[np.bool_]:
        """bool[n]: has come far enough, for the first time, to be worth a fit."""
        s = self._legs[rows]
        base, top, last = s[:, legs.BASE], s[:, legs.TOP], s[:, legs.LAST]
        height, head = top - base, 1.0 - base
        calm, length = s[:, legs.BASE_SEEN], s[:, legs.SEEN] - s[:, legs.BASE_SEEN]
        pace = height / np.maximum(length, 1.0)
        # A slow rise is in the noise for a while before it shows: that part of the quiet was none.
        quiet = calm - np.maximum(legs.SHAKES * s[:, legs.JITTER], legs.FOOT * height) / np.maximum(pace, 1e-12)
        # Nor was any if the foot already lay above the slow mean, as far as a rise of this pace leaves it behind.
        steep = (s[:, legs.LAG] > PART * pace * legs.SLOWNESS) & (calm < 2 * length)
        cold = (quiet < np.maximum(trend.LEAST, length / 3)) | steep
        way = np.where(calm >= length, 1.0, SHORT_CALM) * self._caution.way
        far = np.where(cold, last > COLD_SHARE, height >= way * head)
        news = last > legs.news(s, upto)
        rising = (s[:, legs.RISING] > 0) & (last - base >= 0.75 * height) & (height >= self._caution.least)
        return np.asarray((s[:, legs.SEEN] >= self._options.least) & (length >= LASTS) & rising & far & news, np.bool_)

    # --- judging --------------------------------------------------------------------------------------------------

    def _judge(
        self, resources: Sequence[Resource], scales: Sequence[Scale], likely: npt.NDArray[np.bool_], upto: int
    ) -> list[Symptom]:
        rows = np.array([resource.row for resource in resources], np.int64)
        s = self._legs[rows]
        window = self._options.window
        reach = int(np.max(s[:, legs.INTERVAL]) * (2 * window + 2))
        samples = self._source.samples(resources, upto - reach, upto)
        share = shares(samples, scales)
        out = np.zeros((len(rows), trend.WIDTH))
        begin = np.zeros(len(rows), np.int64)
        good = np.zeros(len(rows), np.bool_)
        # An open one is fitted over its newest samples alone: does it still go on?
        base = np.where(likely, s[:, legs.BASE], -math.inf)
        height = np.where(likely, s[:, legs.TOP] - s[:, legs.BASE], 0.0)
        trend.fits(samples.first, samples.at, share, window, base, height, out, begin, good)
        holds = likely & good & self._holds(s, out, share, samples, begin)
        found: list[Symptom] = []
        for i, resource in enumerate(resources):
            row = resource.row
            if not holds[i]:
                self._held[row] = -1.0
            elif self._held[row] < 0:
                self._held[row] = s[i, legs.SEEN]
            view = (samples.part(i), scales[i], out[i], int(begin[i] - samples.first[i]))
            was = self._open.get(resource.key)
            if was is not None:
                news = self._continue(resource, was, s[i], bool(good[i]), view, upto)
            elif holds[i] and s[i, legs.SEEN] - self._held[row] >= HOLDS:
                news = self._begin(resource, s[i], view, upto)
            else:
                news = None
            if news is not None:
                found.append(news)
        return found

    def _holds(
        self, s: legs.Legs, out: npt.NDArray[np.float64], share: npt.NDArray[np.float64], samples: Samples,
        begin: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.bool_]:  # fmt: skip
        """bool[n]: the trend is up, clear of noise, not coming to rest, and reaches the limit soon enough."""
        if not len(share):
            return np.zeros(len(s), np.bool_)
        ends = np.maximum(samples.first[1:] - 1, 0)
        risen = share[ends] - share[np.minimum(begin, len(share) - 1)]
        length = s[:, legs.LAST_AT] - s[:, legs.BASE_AT]
        horizon = np.minimum(self._options.horizon, FURTHEST * length)
        return np.asarray(
            (out[:, trend.SLOPE] > 0)
            & (out[:, trend.RECENT] > SLOWING * out[:, trend.SLOPE])
            & (out[:, trend.LOW] > 0)
            & (out[:, trend.STEPS] >= STEPS)
            & (risen > NOISE_FACTOR * out[:, trend.SPREAD])
            & (out[:, trend.LIKELY] <= horizon)
            & (s[:, legs.LAST] < 1.0),
            np.bool_,
        )

    def _begin(
        self, resource: Resource, s: legs.Legs, view: tuple[Samples, Scale, npt.NDArray[np.float64], int], upto: int
    ) -> Symptom:
        samples, scale, fit, begin = view
        first_at = int(samples.at[min(begin, len(samples.at) - 1)])
        id = symptom_id("forecast", {**resource.labels, "__name__": resource.metric}, first_at)
        symptom = exhaustion(id, first_at, resource, scale, samples, fit, s, upto)
        self._open[resource.key] = Open(symptom, fit[trend.RECENT], s[legs.TOP] - s[legs.BASE])
        return symptom

    def _continue(
        self, resource: Resource, was: Open, s: legs.Legs, good: bool,
        view: tuple[Samples, Scale, npt.NDArray[np.float64], int], upto: int,
    ) -> Symptom | None:  # fmt: skip
        """Update an open symptom, or end it once its trend has turned for long enough; None: nothing worth telling."""
        samples, scale, fit, _ = view
        if not good or s[legs.LAST_AT] <= was.symptom.last_at:
            return None
        fallen = s[legs.TOP] - s[legs.LAST] > 0.5 * was.height
        resting = fit[trend.RECENT] < 0.15 * was.slope or fit[trend.LIKELY] > 2 * self._options.horizon
        over = fallen or (resting and s[legs.LAST] < NEARLY)
        turned = -1.0 if not over else was.turned if was.turned >= 0 else float(s[legs.SEEN])
        if over and s[legs.SEEN] - turned >= (HOLDS if fallen else TURNS):
            del self._open[resource.key]
            self._held[resource.row] = -1.0
            return replace(was.symptom, active=False, last_at=int(s[legs.LAST_AT]))
        told = was.symptom.impact if fallen or resting or s[legs.LAST] >= legs.EXHAUSTED else None
        symptom = exhaustion(was.symptom.id, was.symptom.first_at, resource, scale, samples, fit, s, upto, told)
        if not _news(was.symptom, symptom, upto):
            self._open[resource.key] = replace(was, turned=turned)
            return None
        self._open[resource.key] = replace(was, symptom=symptom, turned=turned)
        return symptom

    # --- state ----------------------------------------------------------------------------------------------------

    def _row(self) -> int:
        if self._free:
            row = self._free.pop()
        else:
            row = len(self._held)
            grow = row // 4 + 16
            self._legs = np.concatenate([self._legs, legs.fresh(grow)])
            self._held = np.concatenate([self._held, np.full(grow, -1.0)])
            self._free = list(range(row + grow - 1, row, -1))
        self._legs[row] = 0.0
        self._held[row] = -1.0
        return row

    def state(self) -> dict[str, Any]:
        """Legs by resource, and what is open; ids are the store's and are found again by labels."""
        found = list(self._source.resources())
        rows = [resource.row for resource in found]
        return {
            "keys": [[resource.metric, [list(pair) for pair in resource.key[1]]] for resource in found],
            "legs": self._legs[rows].copy(), "held": self._held[rows].copy(), "followed": self._followed,
            "open": [[i, packed(was.symptom), was.slope, was.height, was.turned]
                     for i, resource in enumerate(found) if (was := self._open.get(resource.key)) is not None],
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over :meth:`state`; ``births`` of what the store holds must follow."""
        keys: list[Key] = [(metric, tuple((name, value) for name, value in own)) for metric, own in state["keys"]]
        rows = [self._row() for _ in keys]
        self._legs[rows], self._held[rows] = state["legs"], state["held"]
        self._remembered = dict(zip(keys, rows, strict=True))
        self._followed = state["followed"]
        for i, symptom, slope, height, turned in state["open"]:
            self._open[keys[i]] = Open(unpacked(symptom), slope, height, turned)

    def bytes(self) -> int:
        """Memory of the arrays."""
        return self._legs.nbytes + self._held.nbytes


def _news(told: Symptom, now: Symptom, upto: int) -> bool:
    """Whether people would want to know: the time has moved by a fifth of what is left, or a while has passed."""
    if upto - told.last_at >= UPDATE:
        return True
    if told.impact is None or now.impact is None or told.impact == now.impact:
        return False
    left = max(told.impact.likely - upto, 180_000)
    return abs(now.impact.likely - told.impact.likely) > 0.2 * left
