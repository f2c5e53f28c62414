"""A snapshot is whole or it is not there; one that is damaged is passed over by name."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.series.snapshot import SnapshotError, Snapshots, read
from tests.series.test_journal import files_no_longer_than

STATE = {
    "version": 1,
    "nested": {"list": [1, 2.5, None, "é", True], "nan": math.inf},
    "arrays": {"a": np.arange(7, dtype=np.int32), "b": np.array([[1.0, math.nan]]), "none": np.empty(0, np.bool_)},
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "new")
    snapshots.write(3, STATE)
    ((name, state),) = snapshots.newest_first()
    assert name == "snapshot-00000000000000000003.bin"
    assert state["nested"] == STATE["nested"]
    for key, array in STATE["arrays"].items():  # type: ignore[attr-defined]
        found = state["arrays"][key]
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        np.testing.assert_array_equal(found, array)


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    for seq in (1, 20, 3):
        snapshots.write(seq, {"seq": seq})
    assert [state["seq"] for _, state in snapshots.newest_first()] == [20, 3]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    path = Snapshots(tmp_path).write(1, STATE)
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])
    try:
        state = read(path)
    except SnapshotError as error:
        assert path.name in str(error)
    else:
        # Only the padding between arrays is not checked; and nothing is in it.
        np.testing.assert_array_equal(state["arrays"]["a"], np.arange(7))
        np.testing.assert_array_equal(state["arrays"]["b"], [[1.0, math.nan]])


def test_a_damaged_one_is_named_and_the_one_before_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    snapshots = Snapshots(tmp_path)
    snapshots.write(1, {"seq": 1})
    newest = snapshots.write(2, {"seq": 2})
    newest.write_bytes(newest.read_bytes()[:-5])
    with caplog.at_level(logging.WARNING):
        assert [state["seq"] for _, state in snapshots.newest_first()] == [1]
    assert newest.name in caplog.text


def test_a_full_disk_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    snapshots.write(1, {"seq": 1})
    with files_no_longer_than(1000), pytest.raises(OSError, match=r"too large|No space"):
        snapshots.write(2, {"a": np.zeros(10_000)})
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot-00000000000000000001.bin"]


@pytest.mark.parametrize(
    ("value", "path"),
    [({"x": object()}, "state.x"), ({"l": [{1: 2}]}, r"state\.l\[0\]"), ({"a": np.array(["text"])}, "state.a")],
)
def test_what_cannot_be_written_down_is_named(tmp_path: Path, value: dict[str, object], path: str) -> None:
    with pytest.raises(TypeError, match=path):
        Snapshots(tmp_path).write(1, value)
    assert list(tmp_path.iterdir()) == []
