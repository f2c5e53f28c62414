"""The models once more, slowly and one series at a time: what the kernels are compared with."""

from __future__ import annotations

import math

from detector.anomaly import calibrate, combine, fluctuation, level, season


def level_scores(values: list[float]) -> list[float]:
    mean = scale = 0.0
    out = []
    for seen, x in enumerate(values):
        error, unit = x - mean, scale + 1e-9 * abs(mean) + 1e-30
        out.append(min(abs(error) / unit, 1e9) if seen >= level.WARM else math.nan)
        if seen >= level.WARM:
            error = max(-level.CLIP * unit, min(level.CLIP * unit, error))
        if seen == 0:
            mean = x
            continue
        mean += max(level.RATE, 1 / (seen + 1)) * error
        scale += max(level.SCALE_RATE, 1 / (seen + 1)) * (abs(error) - scale)
    return out


def fluctuation_scores(values: list[float]) -> list[float]:
    mean = spread = usual = 0.0
    out = []
    for seen, x in enumerate(values):
        error = x - mean
        wider = math.sqrt(spread**2 + (error**2 - spread**2) / fluctuation.WINDOW)
        growth, unit = max(0.0, wider - spread), usual + 1e-9 * abs(mean) + 1e-30
        out.append(min(growth / unit, 1e9) if seen > fluctuation.WARM else math.nan)
        if seen > fluctuation.WARM:
            growth = min(growth, fluctuation.CLIP * unit)
        if seen == 0:
            mean = x
            continue
        mean += max(2 / (fluctuation.WINDOW + 1), 1 / (seen + 1)) * error
        spread = wider
        usual += max(fluctuation.USUAL_RATE, 1 / (seen + 1)) * (growth - usual)
    return out


def season_scores(times: list[int], values: list[float]) -> list[float]:
    profile: list[float | None] = [None] * season.BINS
    base = offset = scale = 0.0
    seen, last = 0, None
    out = []
    for at, x in zip(times, values, strict=True):
        out.append(math.nan)
        if at - times[0] < season.HOUR:
            continue
        b, inside = divmod(at % season.DAY, season.BIN)
        lean = inside / season.BIN - 0.5
        if last is None:
            base, last = x, at
        here, there = profile[b], profile[(b + (1 if lean >= 0 else -1)) % season.BINS]
        elapsed = min(max(at - last, 1), season.BIN)
        last = at
        if here is None:
            profile[b] = x - base
            continue
        expected = here + (abs(lean) * (there - here) if there is not None else 0.0)
        error, away = x - base - expected - offset, x - base - here
        unit = scale + 1e-9 * abs(base) + 1e-6 * abs(here) + 1e-30
        if seen >= season.WARM:
            if at - times[0] > season.DAY:
                out[-1] = min(abs(error) / unit, 1e9)
            error = max(-season.CLIP * unit, min(season.CLIP * unit, error))
            away = max(-3 * season.CLIP * unit, min(3 * season.CLIP * unit, away))
        seen += 1
        offset = (offset + season.OFFSET_RATE * error) * (1 - season.OFFSET_DECAY)
        scale += max(season.SCALE_RATE, 1 / seen) * (abs(error) - scale)
        profile[b] = here + (1 - (1 - season.PROFILE_RATE) ** (elapsed / season.BIN)) * away
    return out


def tail_scores(values: list[float]) -> list[float]:
    mean = threshold = first = second = 0.0
    over, peaks = calibrate.SHARE, 0
    out = []
    for seen, y in enumerate(values):
        out.append(math.nan)
        if seen >= calibrate.WARM:
            if y > threshold:
                out[-1] = min(-math.log10(over) + _pareto(y - threshold, first, second, peaks, mean), calibrate.HIGHEST)
            else:
                out[-1] = -math.log10(over) * y / threshold if threshold > 0 else 0.0
        n = seen + 1
        mean += max(1 / n, 1 / calibrate.MEMORY) * ((y if n < 6 else min(y, 10 * mean + 1e-9)) - mean)
        if n < calibrate.WARM:
            continue
        if n == calibrate.WARM:
            threshold = 3.9 * mean
        exceeds = y > threshold
        over += max(1 / (n - calibrate.WARM + 50), 1 / calibrate.MEMORY) * (exceeds - over)
        over = max(over, calibrate.LEAST_SHARE)
        if exceeds:
            excess = min(y - threshold, calibrate.CLIP * first) if peaks > 10 else y - threshold
            peaks = min(peaks + 1, int(calibrate.PEAKS))
            first += (excess - first) / peaks
            second += (excess**2 - second) / peaks
        step = mean * max(10 / (n - calibrate.WARM + 20), 0.02)
        threshold = max(threshold + step * (exceeds - calibrate.SHARE), 0.0)
    return out


def _pareto(excess: float, first: float, second: float, peaks: int, prior: float) -> float:
    prior = max(prior, 1e-9)
    total = peaks + calibrate.PRIOR_PEAKS
    mean = (first * peaks + prior * calibrate.PRIOR_PEAKS) / total
    variance = max((second * peaks + 2 * prior**2 * calibrate.PRIOR_PEAKS) / total - mean**2, 1e-18)
    shape = min(max(0.5 * (1 - mean**2 / variance), 0.0), calibrate.HEAVIEST)
    scale = mean * (1 - shape)
    survival = math.exp(-excess / scale) if shape < 1e-3 else (1 + shape * excess / scale) ** (-1 / shape)
    return -math.log10(max(survival, 1e-300))


def combined_scores(values: list[float], views: list[list[float]]) -> list[float]:
    mean, seen, signed, record, age = 0.0, 0, False, 0.0, 0
    out = []
    for i, x in enumerate(values):
        sure = [view[i] for view in views if not math.isnan(view[i])]
        signed = signed or x < 0
        if not sure:
            out.append(math.nan)
        else:
            score = sum(sure) / len(sure)
            if not signed and seen:
                score *= min(1.0, abs(x - mean) / (combine.EFFECT * max(mean, 1e-30)))
            if score > record or age >= combine.EPISODE:
                record, age = score, 0
                out.append(score)
            else:
                out.append(min(score, combine.ECHO))
            age += 1
        if not signed:
            seen += 1
            mean += max(combine.EFFECT_RATE, 1 / seen) * (x - mean)
    return out
