"""The daemon scrapes a real node_exporter with Prometheus's own block: up, down, gone, and after a reload."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.daemon import Daemon, until
from tests.real.conftest import Run
from tests.real.servers import node_exporter

pytestmark = pytest.mark.real

CONFIG = """
global: {scrape_interval: 1s, scrape_timeout: 900ms}
scrape_configs:
  - job_name: node
    file_sd_configs: [{files: ["targets/*.json"], refresh_interval: 1s}]
    metric_relabel_configs:
      - {source_labels: [__name__], regex: "node_load.*|node_filesystem_avail_bytes|up", action: keep}
"""


def values(daemon: Daemon, expression: str) -> dict[str, float]:
    """Value by instance."""
    answer = daemon.get(f"/api/v1/query?query={quote(expression)}")
    return {s["metric"].get("instance", ""): float(s["value"][1]) for s in answer["data"]["result"]}


def test_a_target_comes_goes_down_and_leaves(tmp_path: Path, run: Run) -> None:
    node = run(node_exporter(tmp_path / "node"))
    home = tmp_path / "daemon"
    (home / "targets").mkdir(parents=True)
    targets = home / "targets" / "node.json"
    daemon = Daemon(home, CONFIG).start()
    try:
        targets.write_text(json.dumps([{"targets": [node.address], "labels": {"env": "test"}}]))
        until(lambda: values(daemon, 'up{job="node",env="test"}') == {node.address: 1.0}, 20, "the target is up")
        assert set(values(daemon, "node_load1")) == {node.address}
        assert values(daemon, "go_goroutines") == {}, "metric_relabel_configs keep it out"
        assert values(daemon, "scrape_samples_scraped")[node.address] > 100
        assert values(daemon, "scrape_samples_post_metric_relabeling")[node.address] < 50

        node.stop()
        until(lambda: values(daemon, "up") == {node.address: 0.0}, 20, "the target is down")
        assert values(daemon, "node_load1") == {}, "stale at once, not after five minutes"

        node.start()
        until(lambda: values(daemon, "up") == {node.address: 1.0}, 20, "the target is back")

        targets.write_text("[]")
        until(lambda: values(daemon, "up") == {}, 20, "the target is gone")

        (home / "detector.yml").write_text(CONFIG.replace("file_sd_configs", "static_configs").replace(
            '[{files: ["targets/*.json"], refresh_interval: 1s}]', f"[{{targets: ['{node.address}']}}]"
        ))  # fmt: skip
        assert daemon.request("POST", "/-/reload")[0] == 200
        until(lambda: values(daemon, "up") == {node.address: 1.0}, 20, "the new configuration is scraped")
    finally:
        assert daemon.stop() == 0, daemon.log[-3000:]
