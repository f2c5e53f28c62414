"""The drawing process: it draws, it cannot fetch, and whatever happens to it, the next chart is drawn."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from xml.etree import ElementTree

import pytest
from prometheus_client import CollectorRegistry

from detector.charts.render import DrawingFailed, Renderer
from detector.charts.specs import symptom_spec
from detector.clock import ManualClock
from detector.nouns import Evidence
from detector.telemetry import Telemetry
from tests.charts.test_specs import NOW, falling, outside, symptom

HOSTILE = "</text><script>alert(1)</script>\"'<a href='javascript:x'>"


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry(CollectorRegistry())


@pytest.fixture
async def renderer(telemetry: Telemetry) -> AsyncIterator[Renderer]:
    renderer = Renderer(ManualClock(NOW), telemetry, cache=0)
    yield renderer
    await renderer.close()


async def test_svg_and_png_are_drawn_and_hostile_labels_stay_text(renderer: Renderer) -> None:
    spec = symptom_spec(falling(labels={"mountpoint": HOSTILE}), NOW)
    svg = await renderer.svg(spec)
    tree = ElementTree.fromstring(svg)  # well-formed, or it raises
    tags = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert tags <= {"svg", "g", "path", "rect", "text", "line", "clipPath", "defs", "title", "desc", "tspan"}
    for element in tree.iter():
        assert not [name for name in element.attrib if name.startswith("on") or name.endswith("href")]
    assert "</text><script>alert(1" in "".join(tree.itertext())
    assert "@font-face" not in svg
    png = await renderer.png(spec)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(png[16:20], "big") == 960, "two pixels for each of the 480 CSS pixels"


async def test_a_killed_process_costs_one_chart_and_the_next_one_is_drawn(
    renderer: Renderer, telemetry: Telemetry
) -> None:
    spec = symptom_spec(falling(), NOW)
    await renderer.svg(spec)
    assert renderer._process is not None
    os.kill(renderer._process.pid, signal.SIGKILL)
    with pytest.raises(DrawingFailed, match="died"):
        await renderer.svg(spec)
    assert telemetry.registry.get_sample_value("detector_render_failures_total", {"reason": "died"}) == 1
    assert (await renderer.svg(spec)).startswith("<svg")


async def test_a_drawing_that_takes_too_long_is_given_up_and_the_next_one_is_drawn(telemetry: Telemetry) -> None:
    renderer = Renderer(ManualClock(NOW), telemetry, timeout=60_000)
    spec = symptom_spec(falling(), NOW)
    try:
        await renderer.svg(spec)
        assert renderer._process is not None
        os.kill(renderer._process.pid, signal.SIGSTOP)
        renderer._timeout = 50
        with pytest.raises(DrawingFailed, match="timeout"):
            await renderer.png(spec)
        renderer._timeout = 60_000
        assert await renderer.png(spec)
    finally:
        await renderer.close()


async def test_a_cancelled_drawing_does_not_answer_the_next_question(renderer: Renderer) -> None:
    first, second = symptom_spec(falling(), NOW), symptom_spec(falling(), NOW, "dark")
    await renderer.svg(first)
    task = asyncio.create_task(renderer.png(first))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "#12161c" in await renderer.svg(second)


async def test_a_specification_cannot_make_the_process_fetch_anything(renderer: Renderer) -> None:
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    spec = {"data": {"url": f"http://127.0.0.1:{port}/x.json"}, "mark": "point", "encoding": {"x": {"field": "a"}}}
    try:
        with pytest.raises(DrawingFailed, match="refused"):
            await renderer.svg(spec)
    finally:
        server.close()
        await server.wait_closed()
    assert asked == []


async def test_more_than_the_queue_holds_is_refused_at_once(telemetry: Telemetry) -> None:
    renderer = Renderer(ManualClock(NOW), telemetry, capacity=2, recycle=1)
    specs = [symptom_spec(falling(), NOW, width=300 + i) for i in range(3)]
    try:
        results = await asyncio.gather(*(renderer.svg(spec) for spec in specs), return_exceptions=True)
    finally:
        await renderer.close()
    refused = [result for result in results if isinstance(result, DrawingFailed)]
    assert [failure.reason for failure in refused] == ["busy"]
    assert telemetry.registry.get_sample_value("detector_queue_depth", {"queue": "render"}) == 0


async def test_the_same_chart_is_drawn_once(telemetry: Telemetry) -> None:
    renderer = Renderer(ManualClock(NOW), telemetry)
    spec = symptom_spec(falling(), NOW)
    try:
        drawn = await renderer.svg(spec)
    finally:
        await renderer.close()
    assert await renderer.svg(spec) == drawn, "from the cache: the process is gone"
    with pytest.raises(DrawingFailed, match="closed"):
        await renderer.png(spec)


async def test_every_kind_of_chart_can_be_drawn(renderer: Renderer) -> None:
    wild = Evidence((-(10**18), 0, 10**18), (1e299, -1e299, 0.0), limit=-1e299, forecast=((10**17, 0.0, 0.0, 1e299),))
    for found in (outside(), symptom(), symptom(evidence=wild), symptom(evidence=Evidence((NOW,), (0.0,)))):
        assert (await renderer.svg(symptom_spec(found, NOW, "dark"))).startswith("<svg")
