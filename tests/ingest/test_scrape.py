"""Targets are found, relabelled and scraped as Prometheus does it; one that fails or vanishes disturbs no other."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpServer

from detector.clock import ManualClock
from detector.ingest import scrape
from detector.ingest.decode.exposition import ExpositionDecoder
from detector.ingest.discovery import BadFile, Target, paths, read_file, targets
from detector.ingest.options import FileSdConfig, GlobalOptions, ScrapeConfig
from detector.ingest.scrape import Scraper, ScrapeResult
from detector.series.labels import Index
from detector.series.limits import Limits

NOW = 1_800_000_000_000
DEFAULTS = GlobalOptions(scrape_interval="15s", scrape_timeout="10s")
BODY = b"# TYPE up2 gauge\nup2 1\n"


def config(**fields: Any) -> ScrapeConfig:
    return ScrapeConfig.model_validate({"job_name": "app"} | fields)


def found(**fields: Any) -> list[Target]:
    return targets(config(**fields), DEFAULTS, {})


# --- discovery --------------------------------------------------------------------------------------


def test_a_static_target_gets_job_instance_and_its_labels() -> None:
    (target,) = found(static_configs=[{"targets": ["h:1"], "labels": {"env": "prod", "empty": ""}}])
    assert target.url == "http://h:1/metrics"
    assert dict(target.labels) == {"job": "app", "instance": "h:1", "env": "prod"}
    assert (target.interval, target.timeout) == (15_000, 10_000)


def test_relabelling_makes_address_path_scheme_and_parameters() -> None:
    (target,) = found(
        params={"module": ["http_2xx", "x"], "a": ["b c"]},
        static_configs=[{"targets": ["https://site", "dropped"]}],
        relabel_configs=[
            {"source_labels": ["__address__"], "regex": "dropped", "action": "drop"},
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": "blackbox:9115"},
            {"target_label": "__metrics_path__", "replacement": "/probe"},
            {"target_label": "__scheme__", "replacement": "https"},
            {"source_labels": ["__param_module"], "target_label": "module"},
        ],
    )
    assert target.url == "https://blackbox:9115/probe?a=b+c&module=http_2xx&module=x&target=https%3A%2F%2Fsite"
    assert dict(target.labels) == {"job": "app", "instance": "https://site", "module": "http_2xx"}


def test_a_target_named_twice_is_scraped_once_and_too_many_are_none() -> None:
    assert len(found(static_configs=[{"targets": ["h:1", "h:1"]}, {"targets": ["h:1"]}])) == 1
    assert found(static_configs=[{"targets": ["h:1", "h:2"]}], target_limit=1) == []


def test_files_are_found_by_glob_and_read_as_json_or_yaml(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"targets": ["h:1"], "labels": {"env": "x"}}]))
    (tmp_path / "b.yml").write_text("- targets: ['h:2', 'h:3']\n- targets: []\n")
    sd = FileSdConfig(files=("*.json", "*.yml", "a.*"))
    names = paths(sd, tmp_path)
    assert [path.name for path in names] == ["a.json", "b.yml"]
    got = targets(config(file_sd_configs=[sd.model_dump() | {"refresh_interval": "5m"}]), DEFAULTS,
                  {path: read_file(path) for path in names})  # fmt: skip
    assert [dict(t.labels)["instance"] for t in got] == ["h:1", "h:2", "h:3"]


@pytest.mark.parametrize(
    "text",
    ["{", "[1]", "{}", "null", '[{"targets": "h:1"}]', '[{"targets": [1]}]', '[{"targets": [], "labels": {"a": 1}}]',
     "[" * 50_000, "- targets: [a]\n  labels: []", "\x00"],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["json", "yml"])
def test_a_file_that_makes_no_sense_is_refused_by_name(tmp_path: Path, text: str, suffix: str) -> None:
    path = tmp_path / f"bad.{suffix}"
    path.write_text(text)
    with pytest.raises(BadFile, match=str(path)):
        read_file(path)


# --- scraping ---------------------------------------------------------------------------------------


class Sink:
    def __init__(self) -> None:
        self.results: asyncio.Queue[ScrapeResult] = asyncio.Queue()
        self.broken = False

    async def scraped(self, result: ScrapeResult) -> None:
        self.results.put_nowait(result)
        if self.broken:
            raise OSError("the disk is full")


class Bench:
    """A scraper on a clock that stands still, and what came out of it."""

    def __init__(self) -> None:
        self.clock, self.sink = ManualClock(NOW), Sink()
        self.scraper = Scraper(self.sink, self.clock)

    async def apply(self, *configs: ScrapeConfig, base: Path = Path()) -> None:
        await self.scraper.apply(configs, DEFAULTS, base)

    async def tick(self, results: int = 1) -> list[ScrapeResult]:
        """One interval passes."""
        await asyncio.sleep(0)
        self.clock.set(self.clock.now() + 15_000)
        return [await asyncio.wait_for(self.sink.results.get(), 5) for _ in range(results)]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.scraper.close()


Serve = Callable[..., Any]


@pytest.fixture
def serve(aiohttp_server: AiohttpServer) -> Serve:
    async def start(handler: Any, **options: Any) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        server = await aiohttp_server(app, **options)
        return f"127.0.0.1:{server.port}"

    return start


async def fine(_: web.Request) -> web.Response:
    return web.Response(body=BODY, headers={"Content-Type": "text/plain; version=0.0.4"})


async def test_a_target_is_scraped_once_an_interval_at_its_own_offset(bench: Bench, serve: Serve) -> None:
    address = await serve(fine)
    await bench.apply(config(static_configs=[{"targets": [address]}]))
    (first,) = await bench.tick()
    (second,) = await bench.tick()
    assert (first.body, first.content_type, first.error) == (BODY, "text/plain; version=0.0.4", "")
    assert NOW < first.at <= NOW + 15_000
    assert second.at == first.at + 15_000
    assert dict(first.labels) == {"job": "app", "instance": address}
    (state,) = bench.scraper.states
    assert (state.last_at, state.error) == (second.at, "")


async def test_slots_that_were_missed_are_not_made_up_for(bench: Bench, serve: Serve) -> None:
    await bench.apply(config(static_configs=[{"targets": [await serve(fine)]}]))
    (first,) = await bench.tick()
    bench.clock.set(NOW + 1_000_000)
    late = await asyncio.wait_for(bench.sink.results.get(), 5)
    assert late.at == first.at + 15_000
    (on_time,) = await bench.tick()
    assert on_time.at > NOW + 1_000_000 - 15_000
    assert (on_time.at - first.at) % 15_000 == 0


async def test_what_is_sent_and_how_one_gets_in(bench: Bench, serve: Serve, tmp_path: Path) -> None:
    seen: list[web.Request] = []

    async def look(request: web.Request) -> web.Response:
        seen.append(request)
        return await fine(request)

    address = await serve(look)
    (tmp_path / "token").write_text("s3cret\n")
    static = [{"targets": [address]}]
    await bench.apply(
        config(job_name="basic", static_configs=static, basic_auth={"username": "ü", "password": "p:w"}),
        config(job_name="file", static_configs=static, authorization={"credentials_file": "token"}),
        config(job_name="bearer", static_configs=static, bearer_token="t"),
        config(job_name="none", static_configs=static, enable_compression=False),
        base=tmp_path,
    )
    await bench.tick(4)
    headers = {request.headers.get("Authorization", ""): request.headers for request in seen}
    assert set(headers) == {"Basic " + base64.b64encode("ü:p:w".encode()).decode(), "Bearer s3cret", "Bearer t", ""}
    assert headers[""]["Accept-Encoding"] == "identity"
    assert headers["Bearer t"]["Accept-Encoding"] == "gzip"
    assert headers[""]["Accept"].startswith("application/openmetrics-text;version=1.0.0")
    assert headers[""]["X-Prometheus-Scrape-Timeout-Seconds"] == "10"


async def test_gzip_is_inflated_and_size_is_limited_after_that(bench: Bench, serve: Serve) -> None:
    async def packed(request: web.Request) -> web.Response:
        body = BODY if request.path == "/small" else b"#" * (20 << 20)
        return web.Response(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})

    address = await serve(packed)
    static = [{"targets": [address]}]
    await bench.apply(
        config(job_name="small", metrics_path="/small", static_configs=static, body_size_limit="1MB"),
        config(job_name="bomb", metrics_path="/bomb", static_configs=static, body_size_limit="1MB"),
    )
    by_job = {dict(r.labels)["job"]: r for r in await bench.tick(2)}
    assert by_job["small"].body == BODY
    assert by_job["bomb"].body == b""
    assert "body_size_limit" in by_job["bomb"].error


async def test_a_target_that_fails_is_handed_over_with_the_reason(
    bench: Bench, serve: Serve, unused_tcp_port: int
) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        if request.path == "/hang":
            await asyncio.sleep(60)
        if request.path == "/cut":
            answer = web.StreamResponse(headers={"Content-Length": "1000"})
            await answer.prepare(request)
            await answer.write(b"up2 1\n")
            assert request.transport is not None
            request.transport.close()
            return answer
        return web.Response(status=503)

    address = await serve(broken)
    static = [{"targets": [address]}]
    await bench.apply(
        config(job_name="status", static_configs=static),
        config(job_name="cut", metrics_path="/cut", static_configs=static),
        config(job_name="hang", metrics_path="/hang", static_configs=static, scrape_timeout="50ms"),
        config(job_name="nobody", static_configs=[{"targets": [f"127.0.0.1:{unused_tcp_port}"]}]),
        config(job_name="odd", static_configs=[{"targets": ["not a host:x"]}]),
    )
    by_job = {dict(r.labels)["job"]: r for r in await bench.tick(5)}
    assert all(r.error and not r.body for r in by_job.values())
    assert by_job["status"].error == "server returned HTTP status 503"
    assert by_job["hang"].error == "no answer within 50 ms"


@pytest.mark.parametrize("follow", [True, False])
async def test_redirects_are_followed_as_configured(bench: Bench, serve: Serve, follow: bool) -> None:
    async def moved(request: web.Request) -> web.Response:
        if request.path == "/metrics":
            raise web.HTTPFound("/elsewhere")
        return await fine(request)

    await bench.apply(config(static_configs=[{"targets": [await serve(moved)]}], follow_redirects=follow))
    (result,) = await bench.tick()
    assert (result.body == BODY) is follow
    assert follow or "302" in result.error


async def test_tls_is_verified_with_the_given_authority(bench: Bench, serve: Serve, tmp_path: Path) -> None:
    import ssl

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("metrics.example").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    address = await serve(fine, ssl=context)
    shared: dict[str, Any] = {"scheme": "https", "static_configs": [{"targets": [address]}]}
    trusted = {"ca_file": "ca.pem", "server_name": "metrics.example"}
    await bench.apply(
        config(job_name="good", tls_config=trusted, **shared),
        config(job_name="wrong-name", tls_config={"ca_file": "ca.pem"}, **shared),
        config(job_name="unknown-ca", tls_config={"server_name": "metrics.example"}, **shared),
        config(job_name="blind", tls_config={"insecure_skip_verify": True}, **shared),
        config(job_name="no-file", tls_config={"ca_file": "none.pem"}, **shared),
        base=tmp_path,
    )
    by_job = {dict(r.labels)["job"]: r for r in await bench.tick(4)}
    assert {job for job, r in by_job.items() if not r.error} == {"good", "blind"}
    assert "ertificate" in by_job["unknown-ca"].error


async def test_a_reload_leaves_unchanged_targets_alone_and_says_goodbye_to_those_gone(
    bench: Bench, serve: Serve
) -> None:
    address = await serve(fine)
    stays = config(job_name="stays", static_configs=[{"targets": [address]}])
    await bench.apply(stays, config(job_name="goes", static_configs=[{"targets": [address]}]))
    await bench.tick(2)
    loops = {t for t in asyncio.all_tasks() if t.get_name() == "scrape-stays"}
    await bench.apply(stays)
    goodbye = bench.sink.results.get_nowait()
    assert goodbye.gone
    assert dict(goodbye.labels)["job"] == "goes"
    assert {t for t in asyncio.all_tasks() if t.get_name() == "scrape-stays"} == loops
    await bench.tick(1)


async def test_files_of_targets_are_watched_and_a_bad_one_changes_nothing(
    bench: Bench, serve: Serve, tmp_path: Path
) -> None:
    address = await serve(fine)
    file = tmp_path / "t.json"
    file.write_text(json.dumps([{"targets": [address], "labels": {"n": "1"}}]))
    await bench.apply(config(file_sd_configs=[{"files": ["*.json"]}]), base=tmp_path)
    await bench.tick(1)
    file.write_text("[{")
    await bench.scraper.discover()
    assert len(bench.scraper.states) == 1
    file.write_text(json.dumps([{"targets": [address], "labels": {"n": "2"}}]))
    await bench.scraper.discover()
    goodbye = bench.sink.results.get_nowait()
    assert (goodbye.gone, dict(goodbye.labels)["n"]) == (True, "1")
    (result,) = await bench.tick(1)
    assert dict(result.labels)["n"] == "2"


async def test_a_sink_that_cannot_take_a_scrape_loses_only_that_one(bench: Bench, serve: Serve) -> None:
    await bench.apply(config(static_configs=[{"targets": [await serve(fine)]}]))
    bench.sink.broken = True
    await bench.tick()
    bench.sink.broken = False
    assert len(await bench.tick()) == 1


@pytest.mark.parametrize(
    ("honor", "exposed", "stored"),
    [
        (False, {"__name__": "m", "job": "x", "instance": "y"},
         {"__name__": "m", "job": "app", "instance": "h:1", "exported_job": "x", "exported_instance": "y"}),
        (False, {"__name__": "m", "job": "x", "exported_job": "z"},
         {"__name__": "m", "job": "app", "instance": "h:1", "exported_job": "z", "exported_exported_job": "x"}),
        (True, {"__name__": "m", "job": "x"}, {"__name__": "m", "job": "x", "instance": "h:1"}),
        (True, {"__name__": "m", "job": ""}, {"__name__": "m", "instance": "h:1"}),
        (False, {"__name__": "dropped"}, None),
        (False, {"__name__": "old_m"}, {"__name__": "m", "job": "app", "instance": "h:1"}),
    ],
)  # fmt: skip
def test_labels_of_target_and_exposition_come_together(
    honor: bool, exposed: dict[str, str], stored: dict[str, str] | None
) -> None:
    job = config(
        honor_labels=honor,
        static_configs=[{"targets": ["h:1"]}],
        metric_relabel_configs=[
            {"source_labels": ["__name__"], "regex": "dropped", "action": "drop"},
            {"source_labels": ["__name__"], "regex": "old_(.*)", "target_label": "__name__"},
        ],
    )
    (target,) = targets(job, DEFAULTS, {})
    got = scrape._relabelling(job, target)(tuple(sorted(exposed.items())))
    assert got == (None if stored is None else tuple(sorted(stored.items())))


@pytest.mark.parametrize(
    ("limit", "word"),
    [
        ({"label_limit": 3}, "m has 4 labels; label_limit is 3"), ({"label_name_length_limit": 8}, "label 'long_name'"),
        ({"label_value_length_limit": 9}, "the value of label 'a'"),
        ({"sample_limit": 1}, "2 samples; sample_limit is 1"),
        ({"label_limit": 4, "label_name_length_limit": 9, "label_value_length_limit": 10, "sample_limit": 2}, ""),
    ],
)  # fmt: skip
async def test_a_target_beyond_its_limits_is_down(bench: Bench, serve: Serve, limit: dict[str, int], word: str) -> None:
    async def two(_: web.Request) -> web.Response:
        return web.Response(body='m{a="äöüäö"} 1\nm{long_name="x"} 1\n'.encode())

    address = await serve(two)
    named = [{"target_label": "instance", "replacement": "i"}]
    await bench.apply(config(static_configs=[{"targets": [address]}], relabel_configs=named, **limit))
    (result,) = await bench.tick()
    index = Index()
    decoded = ExpositionDecoder().scrape(result, index, Limits())
    names = [index.labels_of(int(i))["__name__"] for i in decoded.batch.series]
    values = dict(zip(names, decoded.batch.value.tolist(), strict=True))
    assert values["up"] == float(not word)
    assert ("m" in values) is not bool(word)
    assert word in " ".join(decoded.first)
