"""The daemon's own shard and pipeline over recorded data, in event time, as fast as the machine can."""

from __future__ import annotations

from detector.backtest.run import BacktestError, Request, run_backtest

__all__ = ["BacktestError", "Request", "run_backtest"]
