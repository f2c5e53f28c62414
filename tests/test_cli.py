"""The command line: instant help, errors with the remedy, exit codes that mean something."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.conftest import ROOT
from tests.daemon import Daemon


def detector(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "detector", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=100, check=False)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom detector.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'numpy', 'river', 'sqlalchemy', 'numba', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_check_config_is_0_for_a_good_file_and_1_with_every_mistake_for_a_bad_one(tmp_path: Path) -> None:
    good = detector("check", "config", str(ROOT / "config" / "detector.yml"))
    assert (good.returncode, "fine" in good.stdout) == (0, True)
    bad = tmp_path / "bad.yml"
    bad.write_text("zone: Nowhere/Else\nrule_fles: []\n")
    done = detector("check", "config", str(bad))
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"{bad}:1: zone: 'Nowhere/Else' is no time zone")
    assert f"{bad}:2: rule_fles: unknown key; did you mean rule_files?" in lines[1]


def test_the_json_schema_is_for_editors() -> None:
    done = detector("check", "config", "--schema", "any.yml")
    schema = json.loads(done.stdout)
    assert schema["properties"]["evaluation"]
    assert "global" in schema["properties"]


def test_check_rules_names_what_cannot_be_evaluated(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text("groups:\n- name: g\n  rules:\n  - {alert: A, expr: up == 0}\n  - {alert: B, expr: 'sum('}\n")
    done = detector("check", "rules", str(rules))
    assert done.returncode == 1
    assert f"{rules}:5" in done.stderr
    assert "1 rules in 1 groups are fine, 1 are not" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("run", "--event-time", "soon"), "allowed: wall, samples"),
        (("run", "--config", "/nowhere.yml"), "/nowhere.yml: cannot be read"),
        (("backtest", "--output", "x.json"), "give either --openmetrics"),
        (("incidents", "explode", "INC-1"), "'explode' is no action"),
        (("query", "up", "--url", "http://127.0.0.1:9"), "no daemon answers"),
    ],
)
def test_wrong_usage_is_2_and_says_what_is_right(arguments: tuple[str, ...], why: str, tmp_path: Path) -> None:
    done = detector(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert why in done.stderr


def test_a_score_keeps_every_cell_and_adds_one_column(tmp_path: Path) -> None:
    rows = "\n".join(f"{1_795_000_000 + 60 * n},{n % 7},x{n}" for n in range(400))
    (tmp_path / "a.csv").write_text(f"timestamp,value,note\n{rows}\n")
    done = detector("score", "a.csv", "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "out" / "a.csv").read_text().splitlines()
    assert lines[0] == "timestamp,value,note,anomaly_score"
    assert [line.rsplit(",", 1)[0] for line in lines[1:]] == rows.splitlines()


@pytest.mark.slow
def test_a_backtest_gives_the_same_bytes_twice(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "recordings" / "disk_fill"
    for name in ("one.json", "two.json"):
        done = detector(
            "backtest", "--openmetrics", str(folder / "samples.om.gz"), "--alerts", str(folder / "alerts.jsonl"),
            "--truth", str(folder / "truth.json"), "--output", str(tmp_path / name),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    report = json.loads((tmp_path / "one.json").read_text())["report"]["detector"]
    assert (report["foreseen"], report["false_incidents"]) == (1, 0)


def test_check_oncall_names_who_would_not_be_paged(tmp_path: Path) -> None:
    config = tmp_path / "detector.yml"
    config.write_text(
        "channels: [{name: ann-phone, type: console, urgencies: []}]\n"
        "oncall:\n"
        "  people: [{name: ann, channels: [ann-phone]}, {name: ben}]\n"
        "  schedules: [{name: web, layers: [{people: [ann, ben]}]}]\n"
        "  policies: [{name: all, steps: [{schedule: web}]}]\n"
    )
    done = detector("check", "oncall", "--config", str(config))
    assert (done.returncode, done.stderr) == (1, "ben has no channel: nothing reaches them\n")
    config.write_text(config.read_text().replace("{name: ben}", "{name: ben, channels: [ann-phone]}"))
    done = detector("check", "oncall", "--config", str(config))
    assert (done.returncode, done.stdout) == (0, "1 policies reach somebody for the next 30 days\n")
    config.write_text(config.read_text().replace("[ann-phone]}, ", "[fax]}, "))
    done = detector("check", "oncall", "--config", str(config))
    assert (done.returncode, "ann is called on fax, which is no channel" in done.stderr) == (1, True)


def test_the_desk_in_the_shell(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "daemon").start()
    try:
        daemon.post("/api/reports", {"description": "It is slow", "service": "shop", "reporter": {"name": "Kim"}})

        def does(*words: str) -> dict[str, Any]:
            done = detector("incidents", *words, "--json", "--url", daemon.url)
            assert done.returncode == 0, done.stderr
            found: dict[str, Any] = json.loads(done.stdout)
            return found

        assert does("decide", "INC-1", "incident")["kind"] == "incident"
        assert does("wait", "INC-1", "supplier", "--set", "text=their answer")["waiting"] == "supplier"
        assert does("resume", "INC-1")["waiting"] is None
        assert does("hypothesis", "INC-1", "42")["hypotheses"] == [{"number": 1, "text": "42", "state": "stated"}]
        assert does("settle", "INC-1", "1", "--set", "holds=true")["hypotheses"][0]["state"] == "confirmed"
        assert does("reply", "INC-1", "We are on it")["first_response_at"] is not None
        assert does("restore", "INC-1", "--force")["restored_at"] is not None
        refused = detector("incidents", "prioritise", "INC-1", "P1", "--url", daemon.url)
        assert (refused.returncode, "reason" in refused.stderr) == (1, True)
        shown = detector("oncall", "--url", daemon.url)
        assert (shown.returncode, "nobody is told of anything" in shown.stdout) == (0, True)
    finally:
        assert daemon.stop() == 0, daemon.log[-3000:]


@pytest.mark.slow
def test_the_database_is_backed_up_under_a_running_daemon_and_restored_when_it_has_stopped(tmp_path: Path) -> None:
    daemon, data = Daemon(tmp_path / "daemon").start(), ("--data-dir", str(tmp_path / "daemon" / "data"))
    file = str(tmp_path / "backup.gz")
    try:
        daemon.post("/api/reports", {"description": "The printer is on fire"})
        done = detector("db", "backup", file, *data)
        assert (done.returncode, "1 tickets" in done.stdout) == (0, True), done.stderr
        daemon.post("/api/reports", {"description": "It is out"})
        done = detector("db", "restore", file, "--force", *data)
        assert (done.returncode, "stop the detector first" in done.stderr) == (2, True)
        done = detector("db", "export", *data)
        assert [json.loads(line)["key"] for line in done.stdout.splitlines()] == ["INC-1", "INC-2"], done.stderr
    finally:
        assert daemon.stop() == 0
    done = detector("db", "restore", file, *data)
    assert (done.returncode, "is not empty" in done.stderr, "--force" in done.stderr) == (2, True, True)
    assert detector("db", "restore", file, "--force", *data).returncode == 0
    daemon.start()
    try:
        assert [item["key"] for item in daemon.incidents()] == ["INC-1"]
    finally:
        daemon.stop()
    done = detector("db", "export", "--breaches", "--output", str(tmp_path / "out"), *data)
    assert (done.returncode, sorted(p.name for p in (tmp_path / "out").iterdir())) == (
        0, ["breaches.csv", "breaches.json"],
    )  # fmt: skip
    done = detector("db", "export", "--since", "yesterday", *data)
    assert (done.returncode, "--since: 'yesterday' is not an RFC 3339 time" in done.stderr) == (2, True)


def test_a_token_from_the_shell_acts_as_its_maker_until_it_is_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    users = [{"name": "ann", "role": "agent", "password_hash": hashed}]
    daemon = Daemon(tmp_path / "daemon", json.dumps({"web": {"users": users}}), ready_as=("ann", "secret")).start()
    try:
        refused = detector("token", "list", "--url", daemon.url)
        assert (refused.returncode, "This needs a token or a user's name and password" in refused.stderr) == (1, True)
        monkeypatch.setenv("DETECTOR_USER", "ann")
        monkeypatch.setenv("DETECTOR_PASSWORD", "secret")
        made = detector("token", "create", "deploys", "--scope", "act", "--days", "7", "--url", daemon.url)
        assert made.returncode == 0, made.stderr
        assert "token 1 of ann (act) until" in made.stderr
        token = made.stdout.strip()
        monkeypatch.setenv("DETECTOR_TOKEN", token)
        assert detector("incidents", "list", "--url", daemon.url).stdout == "no incidents\n"
        refused = detector("token", "revoke", "1", "--url", daemon.url)
        assert (refused.returncode, "needs a token with the scope admin" in refused.stderr) == (1, True)
        monkeypatch.delenv("DETECTOR_TOKEN")
        assert "opens nothing any more" in detector("token", "revoke", "1", "--url", daemon.url).stdout
        listed = detector("token", "list", "--url", daemon.url, "--json")
        assert json.loads(listed.stdout)["items"][0]["revoked_at"] is not None
        monkeypatch.setenv("DETECTOR_TOKEN", token)
        assert detector("incidents", "list", "--url", daemon.url).returncode == 1
    finally:
        assert daemon.stop() == 0, daemon.log[-3000:]
