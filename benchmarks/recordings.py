"""Real faults, recorded: how long before the disruption an incident was open, beside the rules that teams commonly run.

Prints the README's table. The reference leads (threshold and ``predict_linear`` rules in Prometheus) are those of the
recordings' own README, measured there.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

from detector.backtest.report import read_truth
from detector.backtest.run import Replay, report
from detector.config.compose import load
from detector.ingest.recordings import read, read_alerts

FAULTS = ("disk_fill", "latency_creep", "pg_connection_leak", "queue_backlog")
HARMLESS = ("benign_daily_wave", "benign_day", "benign_deploy", "benign_log_rotation")
REFERENCE = {
    "disk_fill": ("2 min", "14 min"),
    "latency_creep": ("3 min late", "-"),
    "pg_connection_leak": ("6 min", "23 min"),
    "queue_backlog": ("6 min", "11 min"),
}


def replay(folder: Path, alerts: bool = False) -> tuple[dict[str, Any], float]:
    """The report of the shipped configuration on one recording, and how long it took, seconds."""
    started = time.perf_counter()
    run = Replay(load(None))
    recording = read(folder / "samples.om.gz", run.shard.store.index)
    outcome = asyncio.run(run.run(recording, read_alerts(folder / "alerts.jsonl") if alerts else []))
    return report(outcome, read_truth(folder / "truth.json")), time.perf_counter() - started


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args(arguments).data
    print("| recording | lead of the detector | threshold rules | predict_linear rules | false incidents |")
    print("| --- | --- | --- | --- | --- |")
    for name in FAULTS:
        found, _ = replay(data / "recordings" / name)
        lead = found["lead_seconds"]["by_fault"][name]
        shown = f"{lead / 60:.0f} min" if lead is not None else "missed"
        print(f"| {name} | {shown} | {REFERENCE[name][0]} | {REFERENCE[name][1]} | {found['false_incidents']} |")
    for name in HARMLESS:
        found, seconds = replay(data / "recordings" / name)
        print(f"| {name} | nothing to foresee ({seconds:.0f} s to replay) | | | {found['false_incidents']} |")


if __name__ == "__main__":
    main()
