"""Subscribers in one whole app: what is configured is offered, a link that was sent works, and a reload changes it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from detector.config.compose import load
from detector.config.load import ConfigError
from detector.nouns import Report, Reporter, Viewer
from tests.daemon import free_port
from tests.smtp import Post, said, smtp_server
from tests.test_apps import running
from tests.test_mail_app import until

ANN = Viewer("ann")
URL = "https://desk.example.org"


def config(post: Post | None, hosts: tuple[str, ...] = (), **communication: Any) -> str:
    mail: dict[str, Any] = {"from": "Service desk <desk@example.org>"}
    if post is not None:
        mail["smtp"] = {"host": "127.0.0.1", "security": "none", "port": post.port}
    told = {"allowed_hosts": hosts, **communication}
    return json.dumps({"web": {"external_url": URL}, "mail": mail, "tickets": {"communication": told}})


async def test_from_the_form_to_an_update_and_its_end(tmp_path: Path) -> None:
    here = f"127.0.0.1:{free_port()}"
    async with (
        smtp_server(Post()) as post, running(tmp_path, config(post), here) as app,
        aiohttp.ClientSession(f"http://{here}") as session,
    ):  # fmt: skip
        form = {"kind": "email", "address": "kim@example.org"}
        async with session.post("/status/subscribe", data=form) as answer:
            assert answer.status == 202
        await until(lambda: post.mails, "the letter that asks")
        link = re.search(rf"{URL}(/status/confirm/\S+)", said(post.mails[0]))
        assert link is not None
        async with session.post(link[1]) as answer:
            assert answer.status == 200
        await app.pipeline.report(Report("It is down", app.clock.now(), Reporter("Lou")))
        await app.pipeline.act(
            "INC-1", "publish", ANN, now=app.clock.now(), status="investigating", body="We look into it."
        )
        await until(lambda: len(post.mails) == 2, "the update")
        assert "We look into it." in said(post.mails[1])
        end = post.mails[1]["List-Unsubscribe"].strip("<>").removeprefix(URL)
        async with session.post(end, data={"List-Unsubscribe": "One-Click"}) as answer:
            assert answer.status == 200
        async with session.get(end) as answer:
            assert answer.status == 404
        assert app.health.problems() == []


async def test_what_can_be_told_follows_the_configuration(tmp_path: Path) -> None:
    async with smtp_server(Post()) as post, running(tmp_path, config(None)) as app:
        assert (app.pipeline.desk.subscribed, set(app.deliverer.channels)) == ((), set())
        (tmp_path / "detector.yml").write_text(config(post, ("hooks.example.org",)))
        assert await app.reload() == []
        assert app.pipeline.desk.subscribed == ("email", "webhook")
        assert set(app.deliverer.channels) == {"@mail", "@status-mail", "@status-hook"}
        before = dict(app.deliverer.channels)
        await app.reload()
        assert app.deliverer.channels == before, "what did not change is not disturbed"
        (tmp_path / "detector.yml").write_text(config(post, ("hooks.example.org", "*.example.net")))
        await app.reload()
        assert app.deliverer.channels["@status-hook"] is not before["@status-hook"]
        assert app.deliverer.channels["@status-mail"] is before["@status-mail"]
        (tmp_path / "detector.yml").write_text(config(post, ("hooks.example.org",), status_page=False))
        await app.reload()
        assert (app.pipeline.desk.subscribed, set(app.deliverer.channels)) == ((), {"@mail"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tickets: {communication: {allowed_hosts: [hooks.example.org]}}", "set web.external_url"),
        ("tickets:\n  communication: {allowed_hosts: ['https://x.org']}",
         r"detector\.yml:2: tickets\.communication\.allowed_hosts.*is no host such as hooks\.example\.org"),
        ("tickets: {communication: {allowed_hosts: ['*.org']}}", "half of the internet"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_options_is_named_with_its_remedy(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "detector.yml").write_text(text)
    with pytest.raises(ConfigError, match=why):
        load(tmp_path / "detector.yml")
