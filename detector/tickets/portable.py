"""A whole database as one file: gzipped JSON lines, the same from SQLite and from PostgreSQL.

The first line says what it is and which revision of the schema it has; a line that names a table and its columns stands
before the rows of the table, each a list; the last line counts the rows of every table and has a checksum of all lines
before it. It is written and read line by line, whatever its size.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
FORMAT = "detector-backup"
VERSION = 1
LONGEST_LINE = 64 * 1024 * 1024
"""Bytes of one line: a row is smaller by far, and a file that is none of ours may be one endless line."""
_PACK_LEVEL = 3


class BackupError(Exception):
    """The file is no backup that can be used; the message says why, and what can be done."""


class Header(msgspec.Struct, frozen=True):
    """``revision`` of the schema; ``at``: when (ms) it was made."""

    format: str
    version: int
    revision: str
    at: int


class Section(msgspec.Struct, frozen=True):
    table: str
    columns: list[str]


class Trailer(msgspec.Struct, frozen=True):
    rows: dict[str, int]
    sha256: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What a whole and undamaged file holds: rows by table."""

    header: Header
    rows: dict[str, int]

    @property
    def said(self) -> str:
        tickets, total = self.rows.get("tickets", 0), sum(self.rows.values())
        return f"{tickets} tickets, {total} rows in {len(self.rows)} tables"


class BackupWriter:
    """Writes ``path`` whole or not at all: under another name first, readable by its owner only."""

    def __init__(self, path: Path, revision: str, at: int) -> None:
        self._path, self._partial = path, path.with_name(f"{path.name}.partial")
        self._digest = hashlib.sha256()
        self._rows: dict[str, int] = {}
        self._table = ""
        self._header = Header(FORMAT, VERSION, revision, at)
        self.summary = Summary(self._header, self._rows)

    def __enter__(self) -> BackupWriter:
        self._partial.unlink(missing_ok=True)
        handle = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(handle, "wb")
        self._packed = gzip.GzipFile(filename="", mode="wb", fileobj=self._file, compresslevel=_PACK_LEVEL, mtime=0)
        self._line(self._header)
        return self

    def table(self, name: str, columns: Sequence[str]) -> None:
        """The rows that follow are this table's."""
        self._table = name
        self._rows[name] = 0
        self._line(Section(name, list(columns)))

    def row(self, values: Sequence[Any]) -> None:
        self._rows[self._table] += 1
        self._line(values)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self._line(Trailer(self._rows, self._digest.hexdigest()))
            self._packed.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if kind is None:
                self.summary = verify(self._partial)  # what cannot be read back is no backup
                os.replace(self._partial, self._path)
                _sync_folder(self._path.parent)
        finally:
            with suppress(OSError):  # what could not be written cannot be flushed either
                self._file.close()
            self._partial.unlink(missing_ok=True)

    def _line(self, value: Any) -> None:
        line = msgspec.json.encode(value) + b"\n"
        self._digest.update(line)
        self._packed.write(line)


def verify(path: Path) -> Summary:
    """Read all of it; raises BackupError for what is not ours, damaged or cut short."""
    digest, rows, table = hashlib.sha256(), dict[str, int](), ""
    lines = _lines(path)
    header = _header(path, lines, digest)
    for line in lines:
        if line.startswith(b"["):
            rows[table] = rows.get(table, 0) + 1
        elif line.startswith(b'{"table"'):
            table = _decoded(path, line, Section).table
            rows[table] = 0
        else:
            trailer = _decoded(path, line, Trailer)
            if trailer.sha256 != digest.hexdigest() or trailer.rows != rows:
                raise BackupError(f"{path} is damaged: its checksum does not fit")
            if next(lines, None) is not None:
                raise BackupError(f"{path} is damaged: something follows its end")
            return Summary(header, rows)
        digest.update(line)
    raise BackupError(f"{path} is cut short: its end is missing")


def batches(path: Path, size: int) -> Iterator[tuple[Section, list[list[Any]]]]:
    """The rows of a file that :func:`verify` has read, at most ``size`` at a time, table after table."""
    lines = _lines(path)
    next(lines)
    section, rows = Section("", []), list[list[Any]]()
    for line in lines:
        if line.startswith(b"["):
            rows.append(_decoded(path, line, list[Any]))
            if len(rows) < size:
                continue
        if rows:
            yield section, rows
            rows = []
        if line.startswith(b'{"table"'):
            section = _decoded(path, line, Section)


def _header(path: Path, lines: Iterator[bytes], digest: Any) -> Header:
    first = next(lines, b"")
    header = _decoded(path, first, Header)
    if header.format != FORMAT:
        raise BackupError(f"{path} is no backup of a detector")
    if header.version != VERSION:
        raise BackupError(f"{path} has the format {header.version}; this version reads {VERSION}: upgrade the detector")
    digest.update(first)
    return header


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path, "rb") as file:
            while line := file.readline(LONGEST_LINE + 1):
                if len(line) > LONGEST_LINE:
                    raise BackupError(f"{path} is no backup of a detector: a line of it has no end")
                yield line
    except FileNotFoundError:
        raise BackupError(f"{path} does not exist") from None
    except EOFError:
        raise BackupError(f"{path} is cut short: its end is missing") from None
    except (gzip.BadGzipFile, zlib.error):
        raise BackupError(f"{path} is no backup of a detector, or it is damaged") from None
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror or error}") from None


def _decoded(path: Path, line: bytes, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(line, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BackupError(f"{path} is no backup of a detector, or it is damaged") from None


def _sync_folder(folder: Path) -> None:
    """The new name is on the disk, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
