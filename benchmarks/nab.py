"""The Numenta Anomaly Benchmark and calibration on its normal rows: the figures of the README, printed by a command.

    python -m benchmarks.nab --data ../shared/data/nab

Every file is scored with the shipped configuration, as ``detector score`` does. The scoring rules are those of Lavin
and Ahmad (2015): a detection inside a labelled window earns by how early it comes, only the best of a window counts, a
missed window and a detection outside cost, the first rows of a file are probation, and one threshold for all files is
chosen per profile so that the sum is largest.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from detector.anomaly.score import score_values

Floats = npt.NDArray[np.float64]
PROFILES = {"standard": (1.0, 0.11, 1.0), "low FP": (1.0, 0.22, 1.0), "low FN": (1.0, 0.11, 2.0)}
"""Worth of a detected window, cost of a false detection, cost of a missed window."""


@dataclass(frozen=True)
class File:
    """One file: its scores, and its labelled windows as inclusive ranges of rows."""

    name: str
    score: Floats
    windows: tuple[tuple[int, int], ...]


def worth(position: Floats) -> Floats:
    """The scaled sigmoid: 1 at the window's start (-1), 0 at its end, towards -1 beyond, -1 from 3 on."""
    return np.where(position > 3, -1.0, 2.0 / (1.0 + np.exp(5.0 * np.minimum(position, 3.0))) - 1.0)


def probation(rows: int) -> int:
    return math.ceil(min(math.floor(0.15 * rows), 0.15 * 5000))


def detections(file: File, first: int) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Score, worth and window (-1 outside; numbered from ``first``) of every row after the probation."""
    n = len(file.score)
    value, window = np.full(n, -1.0), np.full(n, -1, np.int64)
    ordered = sorted(file.windows)
    for k, (start, end) in enumerate(ordered):
        width = end - start + 1
        inside = np.arange(start, end + 1)
        value[start : end + 1] = worth((inside - end - 1) / width) / worth(np.array(-1.0))
        window[start : end + 1] = first + k
        until = ordered[k + 1][0] if k + 1 < len(ordered) else n
        value[end + 1 : until] = worth((np.arange(end + 1, until) - end) / max(width - 1, 1))
    start = probation(n)
    return np.where(np.isnan(file.score), -np.inf, file.score)[start:], value[start:], window[start:]


def nab(files: list[File]) -> dict[str, tuple[float, float]]:
    """Score (0: nothing detected, 100: perfect) and best threshold of each profile."""
    parts, first = [], 0
    for file in files:
        parts.append(detections(file, first))
        first += len(file.windows)
    score, value, window = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(-score, kind="stable")
    score, value, window = score[order], value[order], window[order]
    countable = len(np.unique(window[window >= 0]))
    last = np.flatnonzero(np.append(np.diff(score) != 0, True))
    last = last[np.isfinite(score[last])]
    out = {}
    for name, (hit, false, miss) in PROFILES.items():
        gain = np.where(window < 0, value * false, 0.0)
        best: dict[int, float] = {}
        for i in np.flatnonzero(window >= 0).tolist():
            # What lowering the threshold to this row adds to its window.
            before = best.get(window[i], -miss)
            best[window[i]] = max(before, value[i] * hit)
            gain[i] = best[window[i]] - before
        total = np.cumsum(gain)[last] - miss * countable
        k = int(np.argmax(total))
        nothing = -miss * countable
        out[name] = (100.0 * (max(total[k], nothing) - nothing) / (hit * first - nothing), float(score[last][k]))
    return out


def calibration(files: list[File]) -> dict[int, float]:
    """For s = 2, 3, 4: how often scores over s come on rows outside of labelled windows, in terms of 10^-s."""
    normal = []
    for file in files:
        keep = np.isfinite(file.score)
        for start, end in file.windows:
            keep[start : end + 1] = False
        normal.append(file.score[keep])
    score = np.concatenate(normal)
    return {s: float(np.mean(score >= s)) * 10**s for s in (2, 3, 4)}


def load(folder: Path) -> tuple[list[File], int, float]:
    """Every labelled file of ``folder`` (``data`` and ``labels``) scored; rows and seconds spent in the models."""
    windows = json.loads((folder / "labels" / "combined_windows.json").read_text())
    files, rows, seconds = [], 0, 0.0
    score_values(np.arange(3), np.arange(3.0))  # compiled before the clock runs
    for name, labelled in sorted(windows.items()):
        with (folder / "data" / name).open(newline="") as text:
            table = list(csv.DictReader(text))
        at = np.array([_ms(row["timestamp"]) for row in table], np.int64)
        value = np.array([float(row["value"]) for row in table])
        begin = time.perf_counter()
        score = score_values(at, value).astype(np.float64)
        seconds += time.perf_counter() - begin
        rows += len(at)
        index = {int(when): i for i, when in reversed(list(enumerate(at)))}
        files.append(File(name, score, tuple((index[_ms(a)], index[_ms(b)]) for a, b in labelled)))
    return files, rows, seconds


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text.split(".")[0]).replace(tzinfo=UTC).timestamp() * 1000)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of NAB: data/ and labels/")
    files, rows, seconds = load(parser.parse_args(arguments).data)
    for name, (score, threshold) in nab(files).items():
        print(f"NAB {name:10} {score:6.1f}   at score {threshold:.2f}, one threshold for {len(files)} files")
    for s, ratio in calibration(files).items():
        print(f"normal rows over {s}: {ratio:.2f} times 10^-{s}")
    print(f"models alone: {rows / seconds:,.0f} rows a second ({rows:,} rows)")


if __name__ == "__main__":
    main()
