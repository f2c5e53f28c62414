"""Who comes in, by every combination of users, tokens and addresses; and what the web configuration file may say."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import trustme
from aiohttp import ClientSession, TCPConnector, encode_basic_auth, web

from detector.config.load import ConfigError
from detector.web.app import create_app
from detector.web.auth import Access, AccessError, Passwords, refusal, tls
from detector.web.options import TokenOptions, WebConfig, WebOptions
from tests.web.house import config_of, hashed, house


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": encode_basic_auth(name, password)}


ANN = basic("ann", "s3cret")
PATHS = ("/", "/api/incidents", "/api/v1/query?query=up", "/metrics", "/-/healthy", "/-/ready", "/static/app.css",
         "/api/events", "/nothing", "/services")  # fmt: skip


def with_users() -> WebConfig:
    return WebConfig(basic_auth_users={"ann": hashed("s3cret")})


def with_tokens(**more: Any) -> WebOptions:
    tokens = ({"name": "prometheus", "token": "tok-12345678"}, {"name": "am", "token": "tok-abcdefgh"})
    return WebOptions.model_validate({"ingest_tokens": tokens, **more})


async def take(request: web.Request) -> web.Response:
    from detector.web.auth import VIEWER

    return web.Response(text=request[VIEWER].name)


INGEST = (web.post("/api/v1/write", take), web.post("/api/v2/alerts", take), web.get("/api/v2/alerts", take))


async def test_nothing_configured_asks_nobody_on_loopback() -> None:
    async with house(ingest=INGEST) as home:
        assert (await home.client.get("/api/incidents")).status == 200
        assert await (await home.client.post("/api/v1/write")).text() == "operator"


@pytest.mark.parametrize("path", PATHS)
async def test_with_users_everything_asks(path: str) -> None:
    async with house(config=with_users()) as home:
        answer = await home.client.get(path)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith('Basic realm="detector"')
        for wrong in (basic("ann", "wrong"), basic("eve", "s3cret"), basic("", ""), basic("ann", "")):
            assert (await home.client.get(path, headers=wrong)).status == 401


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic YW5u",
        "Basic /////w==",
        "Bearer s3cret",
        "Digest x",
        "Basic " + "A" * 5000,
    ],
)
async def test_odd_credentials_are_wrong_ones(header: str) -> None:
    async with house(config=with_users()) as home:
        assert (await home.client.get("/api/incidents", headers={"Authorization": header})).status == 401


async def test_a_user_comes_in_and_acts_by_name() -> None:
    async with house(config=with_users()) as home:
        from tests.rows import NOW
        from tests.web.house import filling

        await home.pipeline.step([filling()], [], NOW)
        answer = await home.client.post("/api/incidents/INC-1/ack", json={}, headers=ANN)
        assert (await answer.json())["assignee"] == "ann"


async def test_tokens_open_ingest_and_nothing_else() -> None:
    async with house(with_tokens(), with_users(), ingest=INGEST) as home:
        token = {"Authorization": "Bearer tok-12345678"}
        assert await (await home.client.post("/api/v1/write", headers=token)).text() == "prometheus"
        assert (
            await (await home.client.post("/api/v2/alerts", headers={"Authorization": "bearer tok-abcdefgh"})).text()
            == "am"
        )
        assert await (await home.client.post("/api/v1/write", headers=ANN)).text() == "ann"
        for path in ("/api/incidents", "/", "/metrics", "/api/v2/alerts"):
            assert (await home.client.get(path, headers=token)).status == 401, path
        assert (await home.client.post("/api/incidents/INC-1/ack", json={}, headers=token)).status == 401
        refused = await home.client.post("/api/v1/write", headers={"Authorization": "Bearer nope"})
        assert refused.status == 401
        assert "Bearer" in refused.headers["WWW-Authenticate"]


async def test_tokens_alone_close_ingest_on_loopback() -> None:
    async with house(with_tokens(), ingest=INGEST) as home:
        assert (await home.client.post("/api/v1/write")).status == 401
        assert (await home.client.get("/api/incidents")).status == 200


@pytest.mark.parametrize("listen", [":9797", "0.0.0.0:9797", "[::]:9797", "192.0.2.7:9797", "detector.example:80"])
def test_another_address_needs_a_login(listen: str) -> None:
    options = WebOptions(listen=listen)
    reason = refusal(options, WebConfig())
    assert reason is not None
    assert "basic_auth_users" in reason
    assert refusal(with_tokens(listen=listen), WebConfig()) is not None, "a token for senders is no login for people"
    assert refusal(options, with_users()) is None
    assert refusal(WebOptions(listen=listen, allow_anonymous=True), WebConfig()) is None
    with pytest.raises(AccessError, match=r"web\.listen"):
        Access(options)


@pytest.mark.parametrize("listen", ["127.0.0.1:9797", "127.8.8.8:1", "localhost:80", "[::1]:9797", "127.0.0.1:0"])
def test_loopback_needs_none(listen: str) -> None:
    assert refusal(WebOptions(listen=listen), WebConfig()) is None


async def test_more_than_72_bytes_is_what_bcrypt_reads_of_it() -> None:
    long = "x" * 100
    users = {"ann": hashed(long)}
    passwords = Passwords()
    assert await passwords.check(users, "ann", long)
    assert not await passwords.check(users, "ann", "x" * 71)
    assert not await passwords.check(users, "ann", "y" * 200)


async def test_a_right_password_is_hashed_once_and_a_wrong_one_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    check = bcrypt.checkpw

    def counted(password: bytes, hashed: bytes) -> bool:
        nonlocal calls
        calls += 1
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    users, passwords = {"ann": hashed("s3cret")}, Passwords()
    for _ in range(5):
        assert await passwords.check(users, "ann", "s3cret")
    assert calls == 1
    for _ in range(3):
        assert not await passwords.check(users, "ann", "wrong")
    assert not await passwords.check(users, "eve", "s3cret")
    assert calls == 5, "a user that does not exist costs as much as one that does"
    assert not await passwords.check({"ann": hashed("new")}, "ann", "s3cret"), "a changed password ends the old one"


async def test_a_flood_of_passwords_is_503_and_not_a_stall() -> None:
    users, passwords = {"ann": hashed("s3cret")}, Passwords()
    from detector.web.problems import Problem

    tries = (passwords.check(users, "ann", f"wrong{i}") for i in range(200))
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert {getattr(a, "status", a) for a in answers} == {False, 503}
    assert all(isinstance(a, Problem) for a in answers if a is not False)


def test_a_reload_swaps_users_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    access = Access(WebOptions(), with_users())
    access.commit(access.prepare(with_tokens(), WebConfig(), tmp_path))
    assert not access.users
    assert set(access.tokens) == {"prometheus", "am"}
    missing = WebOptions(ingest_tokens=(TokenOptions(name="x", token_file="nowhere"),))
    with pytest.raises(AccessError, match=r"web\.ingest_tokens\.x: .*nowhere"):
        access.prepare(missing, WebConfig(), tmp_path)
    assert set(access.tokens) == {"prometheus", "am"}


async def test_a_token_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    options = WebOptions(ingest_tokens=(TokenOptions(name="x", token_file="token"),))
    async with house(access=Access(options, WebConfig(), tmp_path), ingest=INGEST) as home:
        answer = await home.client.post("/api/v1/write", headers={"Authorization": "Bearer from-a-file"})
        assert await answer.text() == "x"


# --- the web configuration file -----------------------------------------------------------------------------------


def test_prometheus_own_example_is_read(tmp_path: Path) -> None:
    config = config_of(
        tmp_path,
        """
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  min_version: TLS13
http_server_config:
  http2: true
  headers:
    Strict-Transport-Security: max-age=31536000
basic_auth_users:
  alice: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze
  bob: $2y$10$hLqFl9jSjoAAy95Z/zw8Ye8wkdMBM8c5Bn1ptYqP/AXyV0.oy0S8m
""",
    )
    assert set(config.basic_auth_users) == {"alice", "bob"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("basic_auth_users:\n  ann: secret\n", 1, "bcrypt"),
        ("basic_auth_users:\n  ann: $2y$31$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze\n", 1, "cost"),
        ("tls_server_config:\n  cert_file: a\n", 1, "required"),
        ("tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: TLS9\n", 4, "TLS12"),
        (
            "tls_server_config:\n  cert_file: a\n  key_file: b\n  client_auth_type: RequireAnyClientCert\n",
            1,
            "RequireAndVerify",
        ),
        (
            "tls_server_config:\n  cert_file: a\n  key_file: b\n  client_auth_type: RequireAndVerifyClientCert\n",
            1,
            "client_ca_file",
        ),
        ("http_server_config:\n  headers:\n    Set-Cookie: x\n", 1, "Set-Cookie"),
        ("basic_auth_user:\n  ann: x\n", 1, "did you mean basic_auth_users"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(tmp_path, text)
    said = str(caught.value)
    assert words in said
    assert f"web.yml:{line}" in said


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    config = config_of(tmp_path, "tls_server_config:\n  cert_file: nowhere.crt\n  key_file: nowhere.key\n")
    with pytest.raises(AccessError, match=r"nowhere\.crt"):
        tls(config, tmp_path)


async def test_tls_with_client_certificates_is_a_login_by_name(tmp_path: Path) -> None:
    ca = trustme.CA()
    server = ca.issue_cert("127.0.0.1", "localhost")
    person = ca.issue_cert("ann@example.org", common_name="ann")
    server.cert_chain_pems[0].write_to_path(tmp_path / "server.crt")
    server.private_key_pem.write_to_path(tmp_path / "server.key")
    ca.cert_pem.write_to_path(tmp_path / "ca.crt")
    text = (
        "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
    )
    config = config_of(tmp_path, text)
    assert refusal(WebOptions(listen=":9797"), config) is None
    async with house(ingest=INGEST) as home:
        runner = web.AppRunner(create_app_of(home))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls(config, tmp_path))
        await site.start()
        host, port = runner.addresses[0][:2]
        trusted = ssl.create_default_context()
        ca.configure_trust(trusted)
        person.configure_cert(trusted)
        async with ClientSession(connector=TCPConnector(ssl=trusted)) as session:
            assert await (await session.post(f"https://{host}:{port}/api/v1/write")).text() == "ann"
        await runner.cleanup()


def create_app_of(home: Any) -> web.Application:
    from dataclasses import replace

    from tests.web.house import deps

    made = deps(home.pipeline, home.clock, home.pipeline._telemetry, WebOptions(), WebConfig())
    return create_app(replace(made, ingest=INGEST))
