"""Real servers by fixture; whatever a test started is stopped after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.servers import Server, node_exporter

Run = Callable[[Server], Server]


@pytest.fixture
def run() -> Iterator[Run]:
    """Starts a server and stops it when the test ends, the newest first."""
    started: list[Server] = []

    def start(server: Server) -> Server:
        started.append(server)
        return server.start()

    yield start
    for server in reversed(started):
        server.stop()


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One node_exporter for all tests that only look at it."""
    home: Path = tmp_path_factory.mktemp("node")
    server = node_exporter(home)
    try:
        yield server.start()
    finally:
        server.stop()
