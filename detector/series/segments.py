"""Segments: files of framed records, each with a CRC, that survive being cut off anywhere.

A segment: magic, format version, the sequence number before its first record, CRC; then frames: length, CRC, payload.
"""

from __future__ import annotations

import logging
import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

MAGIC = b"DETJRNL\n"
VERSION = 1
HEAD = struct.Struct("<8sIQI")
FRAME = struct.Struct("<II")
LONGEST = 1 << 30
_NAME = re.compile(r"journal-(\d{12})\.log")


def paths(directory: Path) -> list[Path]:
    """Segments, oldest first; files of others are left alone."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))


def after(directory: Path) -> Path:
    """The next segment's path."""
    known = paths(directory)
    last = _NAME.fullmatch(known[-1].name) if known else None
    return directory / f"journal-{int(last[1]) + 1 if last else 1:012d}.log"


def head(base: int) -> bytes:
    start = HEAD.pack(MAGIC, VERSION, base, 0)[:-4]
    return start + struct.pack("<I", zlib.crc32(start))


def base_of(path: Path) -> int | None:
    """The sequence number before the segment's first record; None, with a word in the log, where it cannot be told."""
    try:
        with path.open("rb") as file:
            start = file.read(HEAD.size)
    except OSError as error:
        log.warning("journal %s cannot be read: %s", path, error)
        return None
    if len(start) < HEAD.size:
        # A crash between making the file and writing its first bytes: nothing was promised yet.
        return None
    magic, version, base, crc = HEAD.unpack(start)
    if magic != MAGIC or zlib.crc32(start[:-4]) != crc:
        log.warning("journal %s is not a journal of this program, or its head is damaged: it is not replayed", path)
        return None
    if version != VERSION:
        log.warning("journal %s has format version %d, this program reads %d: not replayed", path, version, VERSION)
        return None
    return int(base)


def frames(path: Path) -> Iterator[bytes]:
    """Payloads up to the first frame that is not whole; what is lost behind it is said in the log."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        at = file.seek(HEAD.size)
        while at < size:
            start = file.read(FRAME.size)
            length, crc = FRAME.unpack(start) if len(start) == FRAME.size else (LONGEST + 1, 0)
            payload = file.read(length) if length <= min(LONGEST, size - at) else b""
            if len(start) < FRAME.size or len(payload) != length or zlib.crc32(payload) != crc:
                log.warning("journal %s: a record is cut off or damaged at byte %d of %d", path, at, size)
                return
            yield payload
            at += FRAME.size + length


class JournalFull(Exception):
    """A record could not be written; nothing of it remains, and the journal takes records again when there is room."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Segment:
    """The segment that is written to. A record is on its way to the disk when :meth:`append` returns (it survives the
    process), and on the disk after :meth:`sync`."""

    def __init__(self, path: Path, base: int) -> None:
        self.path = path
        self.size = 0
        self._torn = False
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._write(head(base))
        except OSError as error:
            path.unlink(missing_ok=True)
            raise JournalFull(f"{path}: {error.strerror}") from error

    def append(self, parts: list[bytes]) -> None:
        payload = b"".join(parts)
        try:
            if self._torn:
                self._mend()
            self._write(FRAME.pack(len(payload), zlib.crc32(payload)) + payload)
        except OSError as error:
            self._torn = True
            raise JournalFull(f"{self.path}: {error.strerror}") from error

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            self._mend()
            raise
        self.size += len(data)

    def _mend(self) -> None:
        """Cut off what a failed write left behind."""
        os.ftruncate(self._file, self.size)
        os.lseek(self._file, self.size, os.SEEK_SET)
        self._torn = False

    def sync(self) -> None:
        try:
            os.fdatasync(self._file)
        except OSError as error:
            raise JournalFull(f"{self.path}: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._file)
