"""The command line. Heavy parts are imported inside the command that needs them: ``--help`` stays instant.

Exit codes: 0 done, 1 the answer is no (a failed check), 2 wrong usage or configuration.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(
    name="detector",
    help="Warns before the disruption: one early incident per cause, from your Prometheus and Alertmanager.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
check_app = typer.Typer(help="Validate configuration and rules; errors name file, line and the allowed values.")
db_app = typer.Typer(help="The desk's database.")
app.add_typer(check_app, name="check", no_args_is_help=True)
app.add_typer(db_app, name="db", no_args_is_help=True)
token_app = typer.Typer(
    help="Tokens for programs, of a running daemon; who asks is DETECTOR_TOKEN, or DETECTOR_USER and DETECTOR_PASSWORD."
)
app.add_typer(token_app, name="token", no_args_is_help=True)

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Configuration; default: the one that is shipped.")
]
Listen = Annotated[str | None, typer.Option("--listen", metavar="HOST:PORT", help="Default 127.0.0.1:9797.")]
Url = Annotated[str, typer.Option(envvar="DETECTOR_URL", help="The daemon.")]
AsJson = Annotated[bool, typer.Option("--json", help="The answer as it came.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", metavar="DIR", help="Made when missing; default ./data.")]


@app.command()
def run(
    config: Config = None,
    listen: Listen = None,
    data_dir: DataDir = None,
    event_time: Annotated[
        str, typer.Option(metavar="wall|samples", help="samples: the newest accepted sample moves event time.")
    ] = "wall",
) -> None:
    """The daemon. SIGTERM drains and exits 0, SIGHUP reloads."""
    if event_time not in ("wall", "samples"):
        refuse(f"--event-time {event_time!r} is not allowed; allowed: wall, samples")
    from detector.config.load import ConfigError
    from detector.daemon import StartError, serve

    try:
        code = serve(config, listen=listen, data_dir=data_dir, event_time=event_time)
    except (ConfigError, StartError) as error:
        refuse(str(error))
    raise typer.Exit(code)


@app.command()
def demo(listen: Listen = None) -> None:
    """A small real service under a slowly growing fault, watched by the daemon on embedded defaults."""
    from detector.config.load import ConfigError
    from detector.daemon import StartError
    from detector.demo import show

    try:
        code = show(listen)
    except (ConfigError, StartError) as error:
        refuse(str(error))
    raise typer.Exit(code)


@app.command()
def backtest(
    output: Annotated[Path, typer.Option(metavar="FILE.json", help="Where incidents and report go.")],
    config: Config = None,
    openmetrics: Annotated[Path | None, typer.Option(metavar="FILE[.gz]", help="A recording to replay.")] = None,
    prometheus: Annotated[str | None, typer.Option(metavar="URL", help="Or a live Prometheus to read.")] = None,
    start: Annotated[str | None, typer.Option(metavar="T", help="RFC 3339, with --prometheus.")] = None,
    end: Annotated[str | None, typer.Option(metavar="T", help="RFC 3339, with --prometheus.")] = None,
    alerts: Annotated[Path | None, typer.Option(metavar="FILE.jsonl", help="Alertmanager webhooks.")] = None,
    truth: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Known faults; adds the report.")] = None,
) -> None:
    """The daemon's own pipeline in event time over recorded data, as fast as the machine can."""
    if (openmetrics is None) == (prometheus is None):
        refuse("give either --openmetrics FILE or --prometheus URL with --start and --end")
    if prometheus is not None and (start is None or end is None):
        refuse("--prometheus needs --start and --end")
    from detector.backtest import BacktestError, Request, run_backtest
    from detector.config.load import ConfigError

    try:
        run_backtest(Request(config, openmetrics, prometheus, start, end, alerts, truth, output))
    except (ConfigError, BacktestError) as error:
        refuse(str(error))


@app.command()
def score(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.csv...", help="CSV files with timestamp,value.")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Gets one file of the same name for each.")],
    config: Config = None,
) -> None:
    """Add calibrated anomaly scores (-log10 p) to plain CSV files, never looking ahead."""
    from detector.anomaly.score import ScoreError, score_files
    from detector.config.compose import load
    from detector.config.load import ConfigError

    try:
        score_files(files, output, load(config).root.anomaly)
    except (ConfigError, ScoreError) as error:
        refuse(str(error))


@check_app.command("config")
def check_config(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    schema: Annotated[bool, typer.Option(help="Print the JSON Schema for editors instead.")] = False,
) -> None:
    """Validate a configuration with all that it names."""
    from detector.config.compose import json_schema, load
    from detector.config.load import ConfigError

    if schema:
        typer.echo(json_schema())
        return
    try:
        loaded = load(file)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    for problem in loaded.problems:
        typer.echo(str(problem), err=True)
    if loaded.problems:
        raise typer.Exit(1)
    typer.echo(f"{file}: {loaded.summary()}")


@check_app.command("oncall")
def check_oncall(config: Config = None) -> None:
    """Would anybody be paged? Gaps in the next 30 days, people whom nothing reaches, policies that end in nobody."""
    from detector.clock import SystemClock
    from detector.config.compose import load
    from detector.config.load import ConfigError
    from detector.oncall.findings import problems

    try:
        options = load(config).root.oncall
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    found = list(problems(options, SystemClock().now()))
    for problem in found:
        typer.echo(problem, err=True)
    if found:
        raise typer.Exit(1)
    count = len(options.policies)
    typer.echo(f"{count} policies reach somebody for the next 30 days" if count else "nobody is called in person")


@check_app.command("rules")
def check_rules(files: Annotated[list[Path], typer.Argument(metavar="FILE...")]) -> None:
    """Validate Prometheus rule files against what the engine can evaluate."""
    from detector.rules import groups

    loaded = groups.load(files)
    for problem in loaded.problems:
        typer.echo(str(problem), err=True)
    rules = sum(len(group.rules) for group in loaded.groups)
    typer.echo(f"{rules} rules in {len(loaded.groups)} groups are fine, {len(loaded.problems)} are not")
    if loaded.problems:
        raise typer.Exit(1)


@app.command()
def query(
    expr: Annotated[str, typer.Argument(metavar="EXPR")],
    time: Annotated[str | None, typer.Option(metavar="T", help="RFC 3339 or Unix seconds; default now.")] = None,
    start: Annotated[str | None, typer.Option(metavar="T")] = None,
    end: Annotated[str | None, typer.Option(metavar="T")] = None,
    step: Annotated[str | None, typer.Option(metavar="DURATION")] = None,
    url: Annotated[str, typer.Option(envvar="DETECTOR_URL", help="The daemon.")] = "http://127.0.0.1:9797",
    as_json: Annotated[bool, typer.Option("--json", help="The answer as it came.")] = False,
) -> None:
    """PromQL against a running daemon."""
    from detector.shell import Unreachable, show_query

    ranged = {"start": start, "end": end, "step": step}
    if any(ranged.values()) and not all(ranged.values()):
        refuse("a range needs all of --start, --end and --step")
    try:
        ok = show_query(url, expr, {"time": time, **ranged}, as_json)
    except Unreachable as error:
        refuse(str(error))
    raise typer.Exit(0 if ok else 1)


@app.command()
def incidents(
    action: Annotated[
        str,
        typer.Argument(
            metavar="ACTION",
            help="list|show|log|ack|not-mine|help|assign|escalate|note|resolve|close|reopen|merge|decide|categorise|"
            "prioritise|wait|resume|reply|inform|hypothesis|settle|fix|restore|record|judge|check",
        ),
    ],
    key: Annotated[str | None, typer.Argument(metavar="INC-n", help="log: what was told on the phone.")] = None,
    argument: Annotated[
        str | None,
        typer.Argument(metavar="VALUE", help="assignee, tier, text, resolution, reason or key, as the action needs."),
    ] = None,
    state: Annotated[str | None, typer.Option(help="list: only this state.")] = None,
    phase: Annotated[str | None, typer.Option(help="list: only this phase.")] = None,
    service: Annotated[str | None, typer.Option(help="list: only this service.")] = None,
    force: Annotated[bool, typer.Option("--force", help="resolve, restore: although symptoms are active.")] = False,
    more: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="What else it takes.")] = None,
    url: Annotated[str, typer.Option(envvar="DETECTOR_URL", help="The daemon.")] = "http://127.0.0.1:9797",
    as_json: Annotated[bool, typer.Option("--json", help="The answer as it came.")] = False,
) -> None:
    """The ticket desk in the shell, against a running daemon."""
    from detector.shell import Unreachable, Wrong, act_incident, list_incidents, log_call

    try:
        if action == "list":
            ok = list_incidents(url, {"state": state, "phase": phase, "service": service}, as_json)
        elif action == "log":
            ok = log_call(url, key, as_json, more or ())
        else:
            fields = [*(more or []), *(["force=true"] if force else [])]
            ok = act_incident(url, action, key, argument, as_json, fields)
    except (Unreachable, Wrong) as error:
        refuse(str(error))
    raise typer.Exit(0 if ok else 1)


@app.command()
def oncall(
    url: Annotated[str, typer.Option(envvar="DETECTOR_URL", help="The daemon.")] = "http://127.0.0.1:9797",
    as_json: Annotated[bool, typer.Option("--json", help="The answer as it came.")] = False,
) -> None:
    """Who is on call now, as a running daemon says."""
    from detector.shell import Unreachable, show_oncall

    try:
        ok = show_oncall(url, as_json)
    except Unreachable as error:
        refuse(str(error))
    raise typer.Exit(0 if ok else 1)


@app.command()
def replay(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="A webhook with `changes: true`.")],
    since: Annotated[str, typer.Option("--since", metavar="T", help="RFC 3339.")],
    url: Annotated[str, typer.Option(envvar="DETECTOR_URL", help="The daemon.")] = "http://127.0.0.1:9797",
) -> None:
    """Hand the changes since a time to a webhook that follows the desk once more, under the same ids."""
    from detector.shell import Unreachable
    from detector.shell import replay as ask

    try:
        ok = ask(url, channel, since)
    except Unreachable as error:
        refuse(str(error))
    raise typer.Exit(0 if ok else 1)


@app.command()
def why(
    subject: Annotated[str, typer.Argument(metavar="ALERT|INC", help="An alert's name or fingerprint, or INC-42.")],
    at: Annotated[str | None, typer.Option("--at", metavar="T", help="As known then, RFC 3339; default: now.")] = None,
    url: Annotated[str, typer.Option(envvar="DETECTOR_URL", help="The daemon.")] = "http://127.0.0.1:9797",
    as_json: Annotated[bool, typer.Option("--json", help="The answer as it came.")] = False,
) -> None:
    """What was done with an alert or an incident: received, silenced, grouped, routed, sent, answered."""
    from detector.shell import Unreachable, show_why

    try:
        ok = show_why(url, subject, at, as_json)
    except Unreachable as error:
        refuse(str(error))
    raise typer.Exit(0 if ok else 1)


@token_app.command("create")
def token_create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    scope: Annotated[list[str] | None, typer.Option(help="read|act|ingest|admin, several times; default read.")] = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="How long it lasts.")] = 90,
    url: Url = "http://127.0.0.1:9797",
    as_json: AsJson = False,
) -> None:
    """Make a token that acts as you; it is printed this once."""
    from detector.shell import Unreachable, make_token

    try:
        ok = make_token(url, name, scope or ["read"], days, as_json)
    except Unreachable as error:
        refuse(str(error))
    raise typer.Exit(0 if ok else 1)


@token_app.command("list")
def token_list(url: Url = "http://127.0.0.1:9797", as_json: AsJson = False) -> None:
    """Your tokens; an admin sees everybody's."""
    from detector.shell import Unreachable, list_tokens

    try:
        ok = list_tokens(url, as_json)
    except Unreachable as error:
        refuse(str(error))
    raise typer.Exit(0 if ok else 1)


@token_app.command("revoke")
def token_revoke(
    id: Annotated[int, typer.Argument(metavar="ID", min=1)], url: Url = "http://127.0.0.1:9797", as_json: AsJson = False
) -> None:
    """End a token: it opens nothing any more."""
    from detector.shell import Unreachable, revoke_token

    try:
        ok = revoke_token(url, id, as_json)
    except Unreachable as error:
        refuse(str(error))
    raise typer.Exit(0 if ok else 1)


@db_app.command("migrate")
def migrate(config: Config = None, data_dir: DataDir = None) -> None:
    """Bring the database to this version's schema; the daemon does so at start as well."""
    _keep("migrate_database", config, data_dir)


@db_app.command("backup")
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Replaced when all of it is written and read back.")],
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """All of the database in one file, for SQLite and PostgreSQL alike; the daemon may run meanwhile."""
    _keep("backup_database", config, data_dir, file)


@db_app.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `detector db backup` has written.")],
    config: Config = None,
    data_dir: DataDir = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a database that is not empty.")] = False,
) -> None:
    """The database from a backup, of either kind into either kind; not while a daemon uses it."""
    _keep("restore_database", config, data_dir, file, force)


@db_app.command("export")
def export(
    since: Annotated[str | None, typer.Option(metavar="T", help="RFC 3339: what had news since then.")] = None,
    output: Annotated[str, typer.Option(metavar="DIR|-", help="A folder, or - for standard output.")] = "-",
    restricted: Annotated[bool, typer.Option("--restricted", help="Restricted tickets as well.")] = False,
    breaches: Annotated[bool, typer.Option("--breaches", help="The register of data breaches instead.")] = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Tickets with their timelines as JSON lines; or the register of data breaches, as JSON and (in a folder) CSV."""
    _keep("export_database", config, data_dir, since=since, output=output, restricted=restricted, breaches=breaches)


def _keep(work: str, config: Path | None, data_dir: Path | None, *arguments: Any, **named: Any) -> None:
    from detector import daemon
    from detector.config.load import ConfigError

    try:
        said = getattr(daemon, work)(config, data_dir, *arguments, **named)
    except (ConfigError, daemon.StartError) as error:
        refuse(str(error))
    typer.echo(said, err=named.get("output") == "-")


@app.command()
def version() -> None:
    """The version."""
    from importlib.metadata import version as installed

    typer.echo(installed("proactive-detector"))


def refuse(message: str) -> NoReturn:
    """Say what is wrong on standard error and end with 2: wrong usage or configuration."""
    typer.echo(message, err=True)
    raise typer.Exit(2)


def main() -> None:
    """The console script."""
    # A reader that closed its end (`| head`) is no error of ours.
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None
