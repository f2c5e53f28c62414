"""The daemon: App builds, starts, reloads and stops it; the command line runs one until it is told to end."""

from __future__ import annotations

from detector.daemon.app import App, Settings, StartError
from detector.daemon.serve import migrate_database, serve

__all__ = ["App", "Settings", "StartError", "migrate_database", "serve"]
