"""The command line. Heavy parts are imported inside the command that needs them: ``--help`` is instant."""
from __future__ import annotations


def main() -> None: ...
