"""What the journal took is there after a crash, whatever the crash cut off; what it could not take leaves no trace."""

from __future__ import annotations

import resource
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.nouns import Batch, Control
from detector.series.journal import Journal, JournalFull
from detector.series.labels import Index
from detector.series.segments import HEAD

Told = list[tuple[object, ...]]


def batch(index: Index, names: list[str], at: int | list[int], value: float = 1.0) -> Batch:
    ids = [index.intern((("__name__", name),), f"target of {name}", "gauge") for name in names]
    born, gone = index.drain()
    times = np.full(len(ids), at) if isinstance(at, int) else np.array(at, np.int64)
    return Batch("test", np.array(ids, np.int32), times.astype(np.int64), np.full(len(ids), value), born, gone)


def told(batch: Batch, index: Index) -> Told:
    names = [index.labels_of(id)["__name__"] for id in batch.series.tolist()]
    return list(zip(names, batch.at.tolist(), batch.value.tolist(), strict=True))


def replayed(directory: Path, after: int = 0) -> list[tuple[object, ...]]:
    index, out = Index(), []
    for record in Journal(directory).replay(after):
        if record.kind == "batch":
            out.append((record.seq, *told(record.batch(index), index)))
        else:
            out.append((record.kind, record.to, record.control))
    return out


def test_records_come_back_in_order_to_an_index_with_other_ids(tmp_path: Path) -> None:
    index, journal = Index(), Journal(tmp_path)
    control = Control("freeze", ((("a", "b"),),), {"x": 1})
    journal.append_batch(1, batch(index, ["a", "b"], [5, 6]), index)
    journal.append_advance(1000)
    journal.append_control(2, control)
    journal.append_batch(3, batch(index, ["b", "c"], 7, 2.5), index)
    journal.append_batch(4, batch(index, ["a"], [-(1 << 62)]), index)
    journal.append_batch(5, batch(index, ["a", "c"], [-(1 << 62), 1 << 62]), index)
    journal.sync()
    other = Index()
    other.intern((("__name__", "recorded"),), "rules")
    kinds = []
    for record in Journal(tmp_path).replay(0):
        kinds.append((record.kind, record.seq))
        if record.seq == 3:
            found = record.batch(other)
            assert told(found, other) == [("b", 7, 2.5), ("c", 7, 2.5)]
            assert [(b.target, b.type) for b in found.born] == [("target of c", "gauge")]
        elif record.kind == "batch":
            assert told(record.batch(other), other)[0][0] == "a"
        elif record.kind == "control":
            assert record.control == control
        else:
            assert record.to == 1000
    assert kinds == [("batch", 1), ("advance", 1), ("control", 2), ("batch", 3), ("batch", 4), ("batch", 5)]


def test_records_that_a_snapshot_holds_are_passed_over_but_their_series_are_known(tmp_path: Path) -> None:
    index, journal = Index(), Journal(tmp_path)
    journal.append_batch(1, batch(index, ["a"], 1), index)
    journal.append_batch(2, batch(index, ["a"], 2), index)
    journal.append_advance(10)
    journal.append_batch(3, batch(index, ["a"], 3), index)
    assert replayed(tmp_path, after=2) == [("advance", 10, None), (3, ("a", 3, 1.0))]


def test_a_reused_id_names_its_series_at_each_point(tmp_path: Path) -> None:
    index, journal = Index(), Journal(tmp_path)
    journal.append_batch(1, batch(index, ["a"], 1), index)
    index.release(index.all())
    journal.append_batch(2, batch(index, ["b"], 2), index)
    index.release(index.all())
    journal.append_batch(3, batch(index, ["a"], 3), index)
    assert replayed(tmp_path) == [(1, ("a", 1, 1.0)), (2, ("b", 2, 1.0)), (3, ("a", 3, 1.0))]


def test_series_that_nobody_told_the_journal_about_are_described_all_the_same(tmp_path: Path) -> None:
    """A rule recorded the series first, and its batch is not journaled."""
    index, journal = Index(), Journal(tmp_path)
    index.intern((("__name__", "a"),), "rules")
    index.drain()
    journal.append_batch(1, batch(index, ["a"], 1), index)
    assert replayed(tmp_path) == [(1, ("a", 1, 1.0))]


def test_a_series_released_between_records_of_a_replay_is_born_again(tmp_path: Path) -> None:
    index, journal = Index(), Journal(tmp_path)
    for seq in (1, 2):
        journal.append_batch(seq, batch(index, ["a"], seq), index)
    other = Index()
    for record in Journal(tmp_path).replay(0):
        found = record.batch(other)
        assert told(found, other) == [("a", record.seq, 1.0)]
        other.release(other.all())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_torn_tail_loses_only_itself(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    directory = tmp_path_factory.mktemp("journal")
    index, journal = Index(), Journal(directory)
    for seq in range(1, 6):
        journal.append_batch(seq, batch(index, [f"s{seq}", "common"], seq), index)
    (path,) = directory.iterdir()
    whole, expected = path.read_bytes(), replayed(directory)
    assert len(expected) == 5
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])
    left = replayed(directory)
    assert left == expected[: len(left)]
    # A new process goes on behind it, in a segment of its own.
    again, index = Journal(directory), Index()
    list(again.replay(0))
    again.append_batch(6, batch(index, ["common"], 6), index)
    assert replayed(directory) == [*left, (6, ("common", 6, 1.0))]


def test_segments_behind_the_last_but_one_snapshot_are_deleted(tmp_path: Path) -> None:
    index, journal = Index(), Journal(tmp_path, segment_bytes=1)
    for seq in range(1, 7):
        journal.append_batch(seq, batch(index, ["a"], seq), index)
    assert len(list(tmp_path.iterdir())) == 6
    journal.cut(2)
    assert len(replayed(tmp_path)) == 6
    journal.cut(5)
    assert [record[0] for record in replayed(tmp_path)] == [3, 4, 5, 6]
    journal.append_batch(7, batch(index, ["a"], 7), index)
    assert [record[0] for record in replayed(tmp_path, after=5)] == [6, 7]
    before = journal.size
    journal.cut(7)
    journal.cut(7)
    assert journal.size < before
    assert replayed(tmp_path) == []


def test_files_of_others_and_damaged_heads_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "journal-000000000001.log").write_bytes(b"")
    (tmp_path / "journal-000000000002.log").write_bytes(b"x" * 100)
    (tmp_path / "journal-000000000003.log").write_bytes(struct.pack("<8sIQI", b"DETJRNL\n", 9, 0, 0))
    index, journal = Index(), Journal(tmp_path)
    journal.append_batch(1, batch(index, ["a"], 1), index)
    assert (tmp_path / "journal-000000000004.log").stat().st_size > HEAD.size
    assert replayed(tmp_path) == [(1, ("a", 1, 1.0))]


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """The disk is full, as far as this process can tell."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_refuses_the_record_whole_and_the_next_one_is_taken(tmp_path: Path) -> None:
    index, journal = Index(), Journal(tmp_path)
    journal.append_batch(1, batch(index, ["a"], 1), index)
    with files_no_longer_than(journal.size + 30):
        for _ in range(2):
            with pytest.raises(JournalFull, match=r"too large|No space"):
                journal.append_batch(2, batch(index, ["b", "c"], 2), index)
    journal.append_batch(2, batch(index, ["c", "b"], 3), index)
    assert replayed(tmp_path) == [(1, ("a", 1, 1.0)), (2, ("c", 3, 1.0), ("b", 3, 1.0))]


def test_a_full_disk_before_the_first_record(tmp_path: Path) -> None:
    index, journal = Index(), Journal(tmp_path)
    with files_no_longer_than(3), pytest.raises(JournalFull):
        journal.append_batch(1, batch(index, ["a"], 1), index)
    journal.append_batch(1, batch(index, ["a"], 1), index)
    assert len(replayed(tmp_path)) == 1


def test_records_survive_the_death_of_their_writer(tmp_path: Path) -> None:
    """Killed outright, without a chance to flush: everything that append returned for is there."""
    program = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        import numpy as np
        from detector.nouns import Batch
        from detector.series.journal import Journal
        from detector.series.labels import Index
        index, journal = Index(), Journal(Path(sys.argv[1]))
        for seq in range(1, 101):
            id = index.intern((("__name__", "m"),), "t")
            journal.append_batch(seq, Batch("t", np.array([id], np.int32), np.array([seq]), np.array([1.0])), index)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == -signal.SIGKILL
    assert [record[0] for record in replayed(tmp_path)] == list(range(1, 101))
