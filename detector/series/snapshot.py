"""Snapshots: a tree of JSON values and arrays in one file, written whole or not at all.

File: magic, format version, length and CRC of a JSON header, header, arrays (each at a multiple of eight, with a CRC of
its own). Never pickle. The newest two are kept: one that cannot be read is refused by name and the one before is used.
"""

from __future__ import annotations

import json
import logging
import os
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

log = logging.getLogger(__name__)

MAGIC = b"DETSNAP\n"
VERSION = 1
HEAD = struct.Struct("<8sIIQ")
"""Magic, version, CRC of the header, its length."""
ARRAY = "\x00array"
_NAME = re.compile(r"snapshot-(\d{20})\.bin")


class SnapshotError(ValueError):
    """A file that is not a snapshot, or not whole: what, where, why."""


class Snapshots:
    """The snapshots of one directory, which may hold files of others."""

    def __init__(self, directory: Path, keep: int = 2) -> None:
        self.directory = directory
        self._keep = keep

    def write(self, seq: int, state: Mapping[str, Any]) -> Path:
        """Write ``state`` (dicts with text keys, lists, tuples, JSON scalars, arrays) as of ``seq``.

        OSError when it cannot be made durable: then nothing changed. TypeError names where a value is of another kind.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"snapshot-{seq:020d}.bin"
        partial = path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                _write(file, state)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_directory(self.directory)
        for old in self._paths()[self._keep :]:
            old.unlink(missing_ok=True)
        return path

    def newest_first(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(file name, state) of each that can be read; the others are named in the log."""
        for path in self._paths():
            try:
                state = read(path)
            except (OSError, SnapshotError) as error:
                log.warning("snapshot %s cannot be read (%s); trying the one before", path, error)
                continue
            yield path.name, state

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self._paths())

    def _paths(self) -> list[Path]:
        if not self.directory.is_dir():
            return []
        return sorted((path for path in self.directory.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(file: BinaryIO, state: Mapping[str, Any]) -> None:
    arrays: list[npt.NDArray[Any]] = []
    tree = _plain(state, "state", arrays)
    table = [[a.dtype.str, list(a.shape), zlib.crc32(a.reshape(-1).view(np.uint8).data)] for a in arrays]
    header = json.dumps({"tree": tree, "arrays": table}).encode()
    header += b" " * (-(HEAD.size + len(header)) % 8)
    file.write(HEAD.pack(MAGIC, VERSION, zlib.crc32(header), len(header)))
    file.write(header)
    for a in arrays:
        file.write(a.reshape(-1).view(np.uint8).data)
        file.write(bytes(-a.nbytes % 8))


def _plain(value: Any, path: str, arrays: list[npt.NDArray[Any]]) -> Any:
    """``value`` as JSON; arrays go to ``arrays``, leaving their number."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf" or value.dtype.byteorder == ">":
            raise TypeError(f"{path}: an array of {value.dtype} cannot be written down")
        arrays.append(np.ascontiguousarray(value))
        return {ARRAY: len(arrays) - 1}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key == ARRAY:
                raise TypeError(f"{path}: key {key!r} is not a text")
        return {key: _plain(item, f"{path}.{key}", arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{i}]", arrays) for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{path}: a {type(value).__name__} cannot be written down")


def read(path: Path) -> dict[str, Any]:
    """The state in ``path``; tuples come back as lists. SnapshotError says what is wrong with it."""
    with path.open("rb") as file:
        head = file.read(HEAD.size)
        if len(head) < HEAD.size:
            raise SnapshotError(f"{path.name} is cut off")
        magic, version, crc, length = HEAD.unpack(head)
        if magic != MAGIC:
            raise SnapshotError(f"{path.name} is not a snapshot")
        if version != VERSION:
            raise SnapshotError(f"{path.name} has format version {version}, this program reads {VERSION}")
        if length > path.stat().st_size:
            raise SnapshotError(f"{path.name} is cut off")
        header = file.read(length)
        if zlib.crc32(header) != crc:
            raise SnapshotError(f"{path.name}: the header's checksum is wrong")
        parsed = json.loads(header)
        arrays = [_read_array(file, path, *entry) for entry in parsed["arrays"]]
    state = _revived(parsed["tree"], arrays)
    assert isinstance(state, dict)
    return state


def _read_array(file: BinaryIO, path: Path, dtype: str, shape: list[int], crc: int) -> npt.NDArray[Any]:
    count = int(np.prod(shape, dtype=np.int64))
    array = np.fromfile(file, np.dtype(dtype), count)
    file.seek(-array.nbytes % 8, os.SEEK_CUR)
    if len(array) != count or zlib.crc32(array.view(np.uint8).data) != crc:
        raise SnapshotError(f"{path.name}: the checksum of an array is wrong, or it is cut off")
    return array.reshape(shape)


def _revived(value: Any, arrays: list[npt.NDArray[Any]]) -> Any:
    if isinstance(value, dict):
        if ARRAY in value:
            return arrays[value[ARRAY]]
        return {key: _revived(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_revived(item, arrays) for item in value]
    return value
