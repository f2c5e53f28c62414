"""``make bench``: every figure of the README, one benchmark after the other, each a command of its own."""

from __future__ import annotations

import argparse
import subprocess
import sys

ALL = {
    "recordings": ["--data", "{data}"],
    "nab": ["--data", "{data}/nab"],
    "ingest_cost": [],
    "ordinary": [],
    "alert_latency": [],
    "page_latency": [],
    "anomaly_cost": [],
    "query_cost": [],
    "desk_load": [],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data", help="benchmark data; default ../shared/data")
    parser.add_argument("only", nargs="*", help=f"of: {', '.join(ALL)}")
    wanted = parser.parse_args()
    if unknown := set(wanted.only) - set(ALL):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(ALL)}")
    failed = 0
    for name in wanted.only or ALL:
        print(f"\n== {name}", flush=True)
        arguments = [argument.format(data=wanted.data) for argument in ALL[name]]
        failed |= subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments], check=False).returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
