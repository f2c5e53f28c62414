"""Apps in one process: two side by side, reload whole or not at all, and an end in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from detector.config.compose import load
from detector.config.load import ConfigError
from detector.daemon import App, Settings, StartError
from detector.web.deps import ReloadRefused
from tests.wire import REMOTE_WRITE, remote_write


@asynccontextmanager
async def running(home: Path, config: str = "{}", listen: str = "127.0.0.1:0") -> AsyncIterator[App]:
    home.mkdir(exist_ok=True)
    file = home / "detector.yml"
    file.write_text(config)
    app = App(load(file), Settings(listen, home / "data"))
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


async def write(app: App, name: str, value: float) -> int:
    body = remote_write([({"__name__": name, "job": "j"}, [(app.clock.now(), value)])])
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{app.url}/api/v1/write", data=body, headers=REMOTE_WRITE) as answer:
            return answer.status


async def value(app: App, expr: str) -> list[str]:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{app.url}/api/v1/query", params={"query": expr}) as answer:
            found = json.loads(await answer.text())["data"]["result"]
            return [item["value"][1] for item in found]


async def test_two_apps_run_side_by_side_and_share_nothing(tmp_path: Path) -> None:
    async with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
        assert one.url != two.url
        assert await write(one, "only_here", 1.0) == 204
        assert await value(one, "only_here") == ["1"]
        assert await value(two, "only_here") == []


async def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        assert await write(app, "kept", 7.0) == 204
    async with running(tmp_path) as app:
        assert await value(app, "kept") == ["7"]


async def test_a_refused_reload_changes_nothing(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: [{name: g, rules: [{alert: A, expr: vector(1)}]}]")
    config = "rule_files: [rules.yml]\nzone: UTC\n"
    async with running(tmp_path, config) as app:
        before = app.loaded
        (tmp_path / "detector.yml").write_text(config + "evaluation: {interval: soon}\n")
        with pytest.raises(ReloadRefused, match=r"detector\.yml:3: evaluation\.interval: 'soon' is not a duration"):
            await app.reload()
        assert app.loaded is before


async def test_a_reload_takes_over_what_can_be_and_names_what_needs_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        hook = {"name": "hook", "type": "webhook", "url": "http://127.0.0.1:9", "secret": "whsec_" + "QUJD" * 12}
        changed = {"web": {"listen": "127.0.0.1:9796"}, "channels": [hook]}
        (tmp_path / "detector.yml").write_text(json.dumps(changed))
        notes = await app.reload()
        assert notes == ["web.listen changed: restart the daemon for it"]
        assert set(app.deliverer.channels) == {"hook"}


async def test_a_channel_that_cannot_be_built_is_left_out_and_the_rest_goes_on(tmp_path: Path) -> None:
    channels = [
        {"name": "bad", "type": "webhook", "url": "http://127.0.0.1:9", "secret_file": "/nowhere"},
        {"name": "good", "type": "console"},
    ]
    async with running(tmp_path, json.dumps({"channels": channels})) as app:
        assert set(app.deliverer.channels) == {"good"}


async def test_other_addresses_than_loopback_need_authentication(tmp_path: Path) -> None:
    (tmp_path / "detector.yml").write_text("web: {listen: '0.0.0.0:0'}")
    app = App(load(tmp_path / "detector.yml"), Settings(None, tmp_path / "data"))
    with pytest.raises(StartError, match="allow_anonymous"):
        await app.start()


async def test_a_port_in_use_is_said_and_nothing_is_left_running(tmp_path: Path) -> None:
    async with running(tmp_path / "one") as one:
        port = one.url.rsplit(":", 1)[1]
        (tmp_path / "two").mkdir()
        (tmp_path / "two" / "detector.yml").write_text("{}")
        two = App(load(tmp_path / "two" / "detector.yml"), Settings(f"127.0.0.1:{port}", tmp_path / "two" / "data"))
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}"):
            await two.start()
        assert await write(one, "x", 1.0) == 204


async def test_an_idle_app_ends_within_a_second(tmp_path: Path) -> None:
    (tmp_path / "detector.yml").write_text("{}")
    app = App(load(tmp_path / "detector.yml"), Settings("127.0.0.1:0", tmp_path / "data"))
    await app.start()
    await asyncio.wait_for(app.stop(), 5)


def test_the_shipped_configuration_loads_without_a_problem() -> None:
    loaded = load(None)
    assert loaded.problems == ()
    assert loaded.groups


def test_a_mistake_in_the_catalogue_names_its_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "services.yml").write_text("services:\n  - name: a\n    criticality: huge\n")
    (tmp_path / "detector.yml").write_text("services_file: services.yml\n")
    with pytest.raises(ConfigError, match=r"services\.yml:3: services\[0\]\.criticality: 'huge' is not allowed"):
        load(tmp_path / "detector.yml")
