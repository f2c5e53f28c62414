"""``detector score``: calibrated anomaly scores for plain CSV files, with the same views that watch live series.

Nothing is set per file and nothing is looked at before its time: rows are scored in the order of their timestamps,
whatever their order in the file, and written as they were, byte for byte, with one cell added.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from detector.anomaly.base import Scores, Times, Values
from detector.anomaly.options import AnomalyOptions
from detector.anomaly.views import Views

COLUMN = "anomaly_score"
MISSING = {"", "nan", "null", "none", "na", "n/a"}
LATEST = 253_402_300_799  # the last second of the year 9999


class ScoreError(Exception):
    """An input that cannot be scored; the text names the file, the line and the remedy."""


@dataclass(slots=True)
class _Table:
    """A CSV file: raw text of each row, where its cells begin to be missing, and the two columns that are read."""

    header: str
    width: int
    rows: list[str] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)


def score_values(at: Times, value: Values) -> Scores:
    """Scores of one series: ``at`` int64[n] ms in any order, ``value`` float64[n] (NaN: no value), float32[n] out.

    NaN where the models are not sure yet or the value is missing.
    """
    out = np.full(len(at), np.nan, np.float32)
    order = np.argsort(at, kind="stable")
    order = order[np.isfinite(value[order])]
    views = Views()
    views.grow(1)
    rows = np.zeros(len(order), np.int32)
    out[order] = views.step(rows, at[order], value[order], np.ones(len(order), np.bool_))
    return out


def score_files(files: Sequence[Path], output: Path, options: AnomalyOptions) -> None:
    """Write ``output/<name>`` for every file; raises ScoreError before anything is written if names clash.

    ``options`` are taken so that the command and the daemon share one configuration; no view has a setting.
    """
    _refuse_clashes(files, output)
    tables = {file: _read(file) for file in files}
    output.mkdir(parents=True, exist_ok=True)
    for file, table in tables.items():
        scores = score_values(np.array(table.at, np.int64), np.array(table.value, np.float64))
        _write(output / file.name, table, scores)


def _refuse_clashes(files: Sequence[Path], output: Path) -> None:
    seen: dict[str, Path] = {}
    for file in files:
        if file.name in seen:
            raise ScoreError(
                f"{file} and {seen[file.name]} have the same name and would overwrite each other in {output}: "
                "score them in two calls with two output folders"
            )
        seen[file.name] = file
        if (output / file.name).resolve() == file.resolve():
            raise ScoreError(f"{file} would be overwritten: choose another --output than its own folder")


class _Lines:
    """Lines of a file for ``csv.reader``, remembering the raw text since it was last asked for."""

    def __init__(self, text: str) -> None:
        self._lines = io.StringIO(text, newline="")
        self._taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._taken.append(line)
            yield line

    def taken(self) -> str:
        raw = "".join(self._taken)
        self._taken.clear()
        return raw


def _read(file: Path) -> _Table:
    try:
        text = file.read_bytes().decode("utf-8")
    except OSError as error:
        raise ScoreError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ScoreError(f"{file}: not UTF-8 text at byte {error.start}") from None
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    lines = _Lines(text.removeprefix(mark))
    reader = csv.reader(lines)
    try:
        head = [name.strip() for name in next(reader, [])]
        for needed in ("timestamp", "value"):
            if needed not in head:
                raise ScoreError(f"{file}:1: no column {needed!r}; the first line must name timestamp and value")
        if COLUMN in head:
            raise ScoreError(f"{file}:1: there is a column {COLUMN!r} already; remove it or rename it")
        when, what = head.index("timestamp"), head.index("value")
        table = _Table(mark + lines.taken(), len(head))
        for cells in reader:
            table.rows.append(lines.taken())
            table.cells.append(len(cells))
            short = len(cells) <= max(when, what)
            blank = short or cells[what].strip().lower() in MISSING
            # A row without a value needs no time either; it is kept and gets no score.
            table.at.append(0 if blank else _time(cells[when].strip(), file, reader.line_num))
            table.value.append(math.nan if blank else _number(cells[what], file, reader.line_num))
    except csv.Error as error:
        raise ScoreError(f"{file}:{reader.line_num}: not CSV: {error}") from None
    return table


def _time(text: str, file: Path, line: int) -> int:
    try:
        seconds = float(text)
    except ValueError:
        pass
    else:
        if not abs(seconds) <= LATEST:
            raise ScoreError(f"{file}:{line}: timestamp {text!r} is outside of the years 1 to 9999")
        return round(seconds * 1000)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ScoreError(
            f"{file}:{line}: timestamp {text!r} is neither RFC 3339, nor YYYY-MM-DD HH:MM:SS, nor Unix seconds"
        ) from None
    aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def _number(text: str, file: Path, line: int) -> float:
    try:
        return float(text)
    except ValueError:
        raise ScoreError(f"{file}:{line}: value {text!r} is not a number; leave it empty if there is none") from None


def _write(target: Path, table: _Table, scores: Scores) -> None:
    with target.open("w", encoding="utf-8", newline="") as out:
        out.write(_with_cell(table.header, table.width, table.width, COLUMN))
        for raw, cells, score in zip(table.rows, table.cells, scores.tolist(), strict=True):
            if not raw.strip():
                out.write(raw)
                continue
            out.write(_with_cell(raw, cells, table.width, "" if math.isnan(score) else f"{score:.4f}"))


def _with_cell(raw: str, cells: int, width: int, cell: str) -> str:
    """``raw`` with ``cell`` in the column behind the last, its end of line (or the lack of one) as it was."""
    body = raw.rstrip("\r\n")
    return body + "," * max(width - cells, 0) + "," + cell + raw[len(body) :]
