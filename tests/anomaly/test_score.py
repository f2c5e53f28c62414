"""``detector score``: rows come back as they were, with one cell more; nothing looks ahead; mistakes are named."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from detector.anomaly.options import AnomalyOptions
from detector.anomaly.score import ScoreError, score_files, score_values

OPTIONS = AnomalyOptions()


def table(rows: int = 600, spike: int = 550) -> str:
    dice = np.random.default_rng(0)
    x = dice.normal(50, 2, rows)
    x[spike] = 120
    return "timestamp,value\n" + "".join(
        f"2026-11-{1 + i // 288:02d} {i // 12 % 24:02d}:{i % 12 * 5:02d}:00,{v:.3f}\n" for i, v in enumerate(x)
    )


def scored(tmp_path: Path, text: str | bytes, name: str = "in.csv") -> str:
    folder = tmp_path / "input"
    folder.mkdir(exist_ok=True)
    data = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(data)
    score_files([folder / name], tmp_path / "out", OPTIONS)
    return (tmp_path / "out" / name).read_bytes().decode()


def test_a_spike_scores_highest_and_a_young_model_says_nothing(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(scored(tmp_path, table()))))
    scores = [float(row["anomaly_score"] or "nan") for row in rows]
    assert all(row["anomaly_score"] == "" for row in rows[:60])
    assert np.nanargmax(scores) == 550
    assert scores[550] > 4


def test_every_cell_and_row_comes_back_as_it_was(tmp_path: Path) -> None:
    text = (
        '\ufefftimestamp,note,value,"more, or less"\r\n'
        '2026-11-01T00:00:00Z,"a ""quoted""\r\nline",1.50,x\r\n'
        "\r\n"
        "1793491500,, 2e0 ,\u2028 and \x0b kept\r\n"
        "2026-11-01 00:10:00,no value,,\r\n"
        "2026-11-01 00:15:00,short\r\n"
        "2026-11-01T01:20:00+01:00,last,NaN,no end of line"
    )
    expected = (
        '\ufefftimestamp,note,value,"more, or less",anomaly_score\r\n'
        '2026-11-01T00:00:00Z,"a ""quoted""\r\nline",1.50,x,\r\n'
        "\r\n"
        "1793491500,, 2e0 ,\u2028 and \x0b kept,\r\n"
        "2026-11-01 00:10:00,no value,,,\r\n"
        "2026-11-01 00:15:00,short,,,\r\n"
        "2026-11-01T01:20:00+01:00,last,NaN,no end of line,"
    )
    assert scored(tmp_path, text) == expected


def test_rows_are_scored_in_the_order_of_time_and_written_in_the_order_of_the_file(tmp_path: Path) -> None:
    head, *body = table().splitlines(keepends=True)
    shuffled = [body[i] for i in np.random.default_rng(1).permutation(len(body))]
    straight = dict(line.rsplit(",", 1) for line in scored(tmp_path, head + "".join(body)).splitlines())
    mixed = scored(tmp_path, head + "".join(shuffled), "mixed.csv").splitlines()
    assert [line.rsplit(",", 1)[0] for line in mixed[1:]] == [line.rstrip("\n") for line in shuffled]
    assert dict(line.rsplit(",", 1) for line in mixed) == straight


def test_nothing_looks_ahead() -> None:
    at = np.arange(900, dtype=np.int64) * 300_000
    x = np.random.default_rng(2).normal(0, 1, 900)
    np.testing.assert_array_equal(score_values(at, x)[:500], score_values(at[:500], x[:500]))


def test_scores_are_finite_or_missing() -> None:
    at = np.arange(2000, dtype=np.int64) * 60_000
    x = np.random.default_rng(3).normal(0, 1, 2000)
    x[[100, 700, 900, 1200]] = [np.nan, np.inf, -np.inf, 1e308]
    scores = score_values(at, x)
    assert np.isnan(scores[[100, 700, 900]]).all()
    assert not np.isinf(scores).any()
    assert np.isfinite(scores[1500:]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,value\n1,2\n", r"in\.csv:1: no column 'timestamp'"),
        ("", r"in\.csv:1: no column 'timestamp'"),
        ("timestamp,value\n1,2\nsoon,3\n", r"in\.csv:3: timestamp 'soon' is neither RFC 3339"),
        ("timestamp,value\n1,2\n2,three\n", r"in\.csv:3: value 'three' is not a number"),
        ("timestamp,value\n1e300,2\n", r"in\.csv:2: timestamp '1e300' is outside"),
        ("timestamp,value\nnan,2\n", r"in\.csv:2: timestamp 'nan' is outside"),
        ("timestamp,value,anomaly_score\n1,2,3\n", r"in\.csv:1: there is a column 'anomaly_score' already"),
        (b"timestamp,value\n1,\xff\n", r"in\.csv: not UTF-8 text at byte 18"),
        ('timestamp,value\n1,"2\n' + "x" * 200_000, r"in\.csv:\d+: not CSV"),
    ],
)
def test_what_cannot_be_scored_is_named_with_file_and_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        scored(tmp_path, text)


def test_two_inputs_of_one_name_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.csv").write_text(table())
    with pytest.raises(ScoreError, match="the same name"):
        score_files([tmp_path / "a/x.csv", tmp_path / "b/x.csv"], tmp_path / "out", OPTIONS)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ScoreError, match="would be overwritten"):
        score_files([tmp_path / "a/x.csv"], tmp_path / "a", OPTIONS)
    with pytest.raises(ScoreError, match="cannot be read"):
        score_files([tmp_path / "c.csv"], tmp_path / "out", OPTIONS)


def test_a_header_without_rows_gets_its_column(tmp_path: Path) -> None:
    assert scored(tmp_path, "timestamp,value\n") == "timestamp,value,anomaly_score\n"


def test_the_anomaly_benchmark_keeps_its_score_and_its_calibration(shared_data: Path) -> None:
    from benchmarks.nab import calibration, load, nab

    files, _, _ = load(shared_data / "nab")
    assert nab(files)["standard"][0] >= 45
    rates = calibration(files)
    assert 0.2 < rates[2] < 5
    assert 0.2 < rates[3] < 5
