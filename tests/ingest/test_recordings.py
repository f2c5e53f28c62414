"""Recordings are read exactly, in order of time, whatever the layout of the file; bad files are refused by line."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from detector.ingest import recordings
from detector.ingest.openmetrics import parse_series
from detector.ingest.recordings import RecordingError, read, read_alerts
from detector.nouns import Batch, LabelSet
from detector.series.labels import Index

relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)


def write(folder: Path, text: str | bytes, name: str = "samples.om") -> Path:
    path = folder / name
    raw = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


def samples(batches: Iterable[Batch], index: Index) -> list[tuple[LabelSet, int, float]]:
    taken = list(batches)  # interns
    return [
        (tuple(index.labels_of(s).items()), at, value)
        for batch in taken
        for s, at, value in zip(batch.series.tolist(), batch.at.tolist(), batch.value.tolist(), strict=True)
    ]


def load(folder: Path, text: str | bytes, step: int = 60_000) -> list[tuple[LabelSet, int, float]]:
    index = Index()
    return samples(read(write(folder, text), index).batches(step), index)


BY_SERIES = """\
# HELP up is it up
# TYPE up gauge
up{job="a",instance="x:1"} 1 1.500
up{job="a",instance="x:1"} 0 16.5
# TYPE jobs counter
jobs_total{instance="x:1",job="a",path="C:\\\\dir \\"q\\" {\\n}"} 1.25e3 1.5
jobs_total{instance="x:1",job="a",path="C:\\\\dir \\"q\\" {\\n}"} 0.1234567890123456789 16.5 # {trace="1"} 3 4
bare NaN 1.5
bare -Inf 3
# EOF
"""


def test_a_series_by_series_file_comes_out_in_order_of_time(tmp_path: Path) -> None:
    index = Index()
    recording = read(write(tmp_path, BY_SERIES), index)
    batches = list(recording.batches(15_000))
    got = samples(batches, index)
    up = (("__name__", "up"), ("instance", "x:1"), ("job", "a"))
    jobs = (("__name__", "jobs_total"), ("instance", "x:1"), ("job", "a"), ("path", 'C:\\dir "q" {\n}'))
    bare = (("__name__", "bare"),)
    assert [(labels, at) for labels, at, _ in got] == [
        (up, 1500), (jobs, 1500), (bare, 1500), (bare, 3000), (up, 16500), (jobs, 16500),
    ]  # fmt: skip
    assert math.isnan(got[2][2])
    assert [value for *_, value in got[:2] + got[3:]] == [1.0, 1250.0, -math.inf, 0.0, 0.12345678901234568]
    assert (recording.start, recording.end, recording.samples, recording.series) == (1500, 16500, 6, 3)
    born = {b.labels: b for batch in batches for b in batch.born}
    assert (born[jobs].type, born[jobs].target) == ("counter", "a\xffx:1")
    assert (born[up].type, born[bare].type, born[bare].target) == ("gauge", "", "recording")


def test_gzip_is_told_by_content_and_may_have_several_members(tmp_path: Path) -> None:
    plain = load(tmp_path, BY_SERIES.replace("NaN", "7"))
    index = Index()
    half = BY_SERIES.replace("NaN", "7").encode()
    packed = write(tmp_path, gzip.compress(half[:100]) + gzip.compress(half[100:]), "oddly-named")
    assert samples(read(packed, index).batches(), index) == plain


def test_order_of_the_file_does_not_matter(tmp_path: Path) -> None:
    rows = [(f'm{{i="{i}"}}', at) for i in range(50) for at in range(7 * i, 1000, 40)]
    series = "".join(f"{name} {at} {at}.{i % 1000:03d}\n" for i, (name, at) in enumerate(rows))
    lines = series.splitlines(keepends=True)
    by_time = sorted(lines, key=lambda line: float(line.split()[-1]))
    assert load(tmp_path, "".join(by_time) + "# EOF\n") == load(tmp_path, series + "# EOF\n")


def test_two_spellings_of_one_label_set_are_one_series(tmp_path: Path) -> None:
    got = load(tmp_path, 'm{a="1",b="2"} 1 1\nm{b="2",a="1",c=""} 2 2\n{"m",a="1",b="2"} 3 3\n# EOF\n')
    assert len({labels for labels, *_ in got}) == 1
    assert [value for *_, value in got] == [1, 2, 3]


@pytest.mark.parametrize("step", [1, 7, 1000, 15_000, 10**9])
def test_batches_hold_every_sample_once_and_end_at_multiples_of_the_step(tmp_path: Path, step: int) -> None:
    text = "".join(f'm{{i="{i % 7}"}} {i} {i * 0.371:.3f}\n' for i in range(500)) + "# EOF\n"
    index = Index()
    batches = list(read(write(tmp_path, text), index).batches(step))
    assert samples(batches, index) == load(tmp_path, text)
    assert [index.labels_of(i) for i in range(7)] == [{"__name__": "m", "i": str(i)} for i in range(7)]
    for batch in batches:
        assert -(-int(batch.at[0]) // step) == -(-int(batch.at[-1]) // step)
    assert sum(len(batch.born) for batch in batches) == 7


def test_a_series_that_the_index_released_is_interned_anew(tmp_path: Path) -> None:
    index = Index()
    recording = read(write(tmp_path, "a 1 1\nb 1 1\na 2 2\nb 2 2\n# EOF\n"), index)
    steps = recording.batches(1000)
    first = next(steps)
    index.release(np.asarray([0], np.int32))
    index.intern((("__name__", "c"),), "other")  # takes the id
    assert [b.labels for b in first.born] == [(("__name__", "a"),), (("__name__", "b"),)]
    second = next(steps)
    assert second.gone.tolist() == [0]
    assert [(b.id, b.labels) for b in second.born] == [(0, (("__name__", "c"),)), (2, (("__name__", "a"),))]
    assert second.series.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("up 1\n# EOF\n", ":1: the sample has no timestamp"),
        ("up 1 1\nup 1 # {} 1\n# EOF\n", ":2: the sample has no timestamp"),
        ("up x 1\n# EOF\n", ":1: the value is not a number"),
        ("up 1_0 1\n# EOF\n", ":1: the value is not a number"),
        ("up 0x10 1\n# EOF\n", ":1: the value is not a number"),
        ("up 1e 1\n# EOF\n", ":1: the value is not a number"),
        ("up 1 1x\n# EOF\n", ":1: the timestamp is not a number"),
        ("up 1 .\n# EOF\n", ":1: the timestamp is not a number"),
        ("up 1 1793606475405\n# EOF\n", ":1: the timestamp is out of range"),
        ("up 1 1e300\n# EOF\n", ":1: the timestamp is out of range"),
        ("up 1 1 2\n# EOF\n", ":1: something follows"),
        ('up{a="1} 1 1\n# EOF\n', ":1: a sample must read"),
        ('\nup{a="1"}x 1 1\n# EOF\n', ":2: a sample must read"),
        ('up{a="1",a="2"} 1 1\n# EOF\n', ":1: label 'a' appears twice"),
        ("up{a=1} 1 1\n# EOF\n", ":1: labels must read"),
        ('{a="1"} 1 1\n# EOF\n', ":1: the series has no metric name"),
        ("ü 1 1\n# EOF\n", ":1: 'ü' is not a metric name"),
        (b'up{a="\xff"} 1 1\n# EOF\n', ":1: not valid UTF-8"),
        ("up 1 1\n# EOF\nup 1 2\n", ":3: more lines after '# EOF'"),
        ("up 1 1\n# EOF\n# EOF\n", ":3: more lines after '# EOF'"),
        ("up 1 1\n", ":2: the file does not end with '# EOF'"),
        ("", ":1: the file does not end with '# EOF'"),
    ],
)
def test_a_bad_file_is_refused_by_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(RecordingError) as raised:
        load(tmp_path, text)
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "samples.om"))


def test_a_cut_off_or_damaged_gzip_file_and_a_missing_one_are_named(tmp_path: Path) -> None:
    packed = gzip.compress(BY_SERIES.encode() * 50)
    for bad in (packed[:-20], packed[:50] + b"\0\0\0\0" + packed[54:]):
        with pytest.raises(RecordingError, match=r"damaged or was cut off|must read|not"):
            read(write(tmp_path, bad, "bad"), Index())
    with pytest.raises(RecordingError, match="No such file"):
        read(tmp_path / "none", Index())


def test_a_line_without_an_end_does_not_fill_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "CHUNK", 1000)
    with pytest.raises(RecordingError, match=":2: line longer than"):
        load(tmp_path, "a 1 1\n" + "x" * 5000)


def test_chunks_may_cut_lines_anywhere_and_tables_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f'm{{i="{"x" * (i % 90)}{i}"}} {i} {i}\n' for i in range(6000)) + "# EOF"
    whole = load(tmp_path, text)
    monkeypatch.setattr(recordings, "CHUNK", 333)
    assert load(tmp_path, text) == whole
    assert [value for *_, value in whole] == list(range(6000))


numbers = st.one_of(
    st.floats(allow_nan=False).map(repr),
    st.floats(allow_nan=False).map(lambda x: f"{x:.17e}"),
    st.decimals(allow_nan=False, allow_infinity=False, places=6).map(lambda d: f"{d:f}"),
    st.from_regex(r"\A[+-]?[0-9]{1,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,3})?\Z"),
    st.sampled_from(["+Inf", "-inf", "Infinity", "9007199254740993", "1e23", "1e-22", "-0", "0e999", ".5", "5."]),
)


@relaxed
@given(st.lists(numbers, min_size=1, max_size=20))
@example(["9007199254740993", "0.1", "123456789012345678901234567890e-20"])
def test_every_number_is_read_as_python_reads_it(tmp_path: Path, texts: list[str]) -> None:
    lines = "".join(f"m {text} {at}\n" for at, text in enumerate(texts))
    got = [value for *_, value in load(tmp_path, lines + "# EOF\n")]
    assert [math.copysign(1, a) for a in got] == [math.copysign(1, float(text)) for text in texts]
    assert got == [float(text) for text in texts]


@relaxed
@given(st.integers(-(10**14), 10**14))
def test_every_millisecond_is_kept(tmp_path: Path, at: int) -> None:
    sign = "-" if at < 0 else ""
    text = f"{sign}{abs(at) // 1000}.{abs(at) % 1000:03d}"
    assert load(tmp_path, f"m 1 {text}\nn 1 {text.rstrip('0')}\n# EOF\n", 10**15) == [
        ((("__name__", "m"),), at, 1.0),
        ((("__name__", "n"),), at, 1.0),
    ]


def test_timestamps_with_exponents_and_more_places_are_rounded(tmp_path: Path) -> None:
    got = load(tmp_path, "a 1 1.5e3\na 1 1.0004\na 1 1.0025\na 1 1.9999\n# EOF\n")
    assert sorted(at for _, at, _ in got) == [1000, 1003, 2000, 1_500_000]


pieces = st.lists(
    st.sampled_from([b"m", b"{", b"}", b'"', b"\\", b"\n", b" ", b"=", b",", b"a", b"1", b".", b"e", b"-", b"#", b"NaN",
                     b"# EOF", b"\r", b'm{a="b"} 1 1\n', b"\xff", b"# TYPE m gauge\n", b"inf"]),
    max_size=30,
)  # fmt: skip


@relaxed
@given(pieces, st.integers(1, 40))
def test_any_bytes_are_read_or_refused_and_the_size_of_chunks_does_not_matter(
    tmp_path: Path, parts: list[bytes], chunk: int
) -> None:
    text = b"".join(parts)

    def outcome() -> str:
        try:
            return repr(load(tmp_path, text))
        except RecordingError as error:
            return str(error)

    whole = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recordings, "CHUNK", max(chunk, len(text.rsplit(b"\n", 1)[-1]), 1))
        parted = outcome()
    assert parted == whole or "line longer" in parted


@given(st.dictionaries(st.from_regex(r"\A[a-z_]{1,8}\Z"), st.text(min_size=1, max_size=20), max_size=5))
def test_labels_survive_escaping(labels: dict[str, str]) -> None:
    labels.pop("__name__", None)
    escaped = (
        f'{k}="{v}"'
        for k, v in ((k, v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for k, v in labels.items())
    )
    assert dict(parse_series(f"m{{{','.join(escaped)}}}".encode())) == {"__name__": "m"} | labels


def test_a_real_recording_is_read_whole(shared_data: Path) -> None:
    path = shared_data / "recordings" / "disk_fill" / "samples.om.gz"
    index = Index()
    recording = read(path, index)
    with gzip.open(path) as lines:
        expected = sum(not line.startswith(b"#") for line in lines)
    assert recording.samples == expected == sum(len(batch.at) for batch in recording.batches())
    types = {b.type for batch in read(path, Index()).batches() for b in batch.born}
    assert {"counter", "gauge"} <= types


def test_recorded_webhooks_become_alerts_in_the_order_they_came(shared_data: Path) -> None:
    alerts = read_alerts(shared_data / "recordings" / "disk_fill" / "alerts.jsonl")
    assert [a.status for a in alerts].count("firing") >= 2
    assert [a.received_at for a in alerts] == sorted(a.received_at for a in alerts)
    assert alerts[0].labels["alertname"] == "DiskWillFill"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", ":2: "),
        ('{"received_at":"x","body":{"alerts":[]}}', ":2: 'x' is not an RFC 3339 time"),
        ('{"received_at":"2026-11-02T09:23:57Z","body":{"version":"4","alerts":[{}]}}', ":2: alerts[0]: at least one"),
        ('{"received_at":"2026-11-02T09:23:57Z"}', ":2: Object missing required field"),
    ],
)
def test_a_bad_line_of_webhooks_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "alerts.jsonl"
    path.write_text("\n" + line + "\n")
    with pytest.raises(RecordingError) as raised:
        read_alerts(path)
    assert message in str(raised.value)
