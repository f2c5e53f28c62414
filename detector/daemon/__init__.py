"""The daemon: App builds, starts, reloads and stops it; the command line runs one until it is told to end."""

from __future__ import annotations

from detector.daemon.app import App, Settings
from detector.daemon.keeping import backup_database, export_database, migrate_database, restore_database
from detector.daemon.parts import StartError
from detector.daemon.serve import serve

__all__ = [
    "App", "Settings", "StartError", "backup_database", "export_database", "migrate_database", "restore_database",
    "serve",
]  # fmt: skip
