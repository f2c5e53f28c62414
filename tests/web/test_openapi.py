"""schemathesis over the OpenAPI document: no 5xx, and every answer is one that the document promises."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from detector.ingest import receive
from detector.ingest.alertmanager import Shown
from detector.ingest.decode import Rejected
from detector.nouns import Alert, Report
from detector.pipeline import Pipeline
from tests.rows import NOW, alert
from tests.web.house import filling, house

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


class Reports:
    """Of what is sent, only reports reach the desk: they are in the document."""

    pipeline: Pipeline

    def now(self) -> int:
        return NOW

    async def report(self, report: Report, who: str = "reporter") -> str:
        return (await self.pipeline.report(report, who)).key

    async def samples(self, kind: str, body: bytes, source: str) -> Rejected:
        return Rejected(400, "malformed", "not taken here")

    async def alerts(self, alerts: Sequence[Alert], source: str) -> None: ...

    def firing(self) -> Iterable[Shown]:
        return ()


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The address of a web room with tickets in it, on a loop in a thread of its own: schemathesis is blocking."""
    address: list[str] = []
    ready, loop = threading.Event(), asyncio.new_event_loop()
    done = asyncio.Event()

    async def serve() -> None:
        intake = Reports()
        async with house(ingest=receive.routes(intake)) as home:
            intake.pipeline = home.pipeline
            for number in range(4):
                await home.pipeline.step([filling(f"/{number}", service=f"s{number}")], [alert(f"A{number}")], NOW)
            address.append(home.url)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    yield address[0]
    loop.call_soon_threadsafe(done.set)
    thread.join(30)
    loop.close()


def drive(url: str, examples: int, modes: list[GenerationMode]) -> int:
    """Ask every operation ``examples`` things; how many operations there are."""
    document: dict[str, Any] = requests.get(f"{url}/api/openapi.json", timeout=10).json()
    schema = schemathesis.openapi.from_dict(document)
    count = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in modes:

            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            @hypothesis.settings(
                max_examples=examples, deadline=None, derandomize=True, database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            )  # fmt: skip
            def ask(case: Any) -> None:
                case.call_and_validate(base_url=url, checks=CHECKS, timeout=10)

            # What takes nothing cannot be given anything wrong.
            with contextlib.suppress(hypothesis.errors.Unsatisfiable):
                ask()
        count += 1
    return count


def test_no_5xx_and_no_answer_that_is_not_promised(served: str) -> None:
    assert drive(served, 7, [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]) >= 30


@pytest.mark.slow
def test_no_5xx_at_length(served: str) -> None:
    assert drive(served, 100, [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]) >= 30
