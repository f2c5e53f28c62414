"""What the tests of every room share: where the measuring data is, and what a missing server means."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def missing(what: str) -> None:
    """Skip with a word; in CI nothing that is real may be skipped."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI may not skip it")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Benchmark data and upstream test suites, which live beside the tree and are never kept in it."""
    path = Path(os.environ.get("DETECTOR_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        missing(f"the data folder {path}")
    return path


def binary(name: str, package: str) -> str:
    """The path of a real server's binary; skips with the Debian package's name where it is not installed."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} (Debian package {package})")
        raise AssertionError("unreachable")
    return found
