"""The root of the configuration: the rooms' options side by side, and the files that they name.

``load`` is everything between a path and a :class:`Loaded` that the daemon, a backtest or a check can use.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ConfigDict, Field, field_validator, model_validator

from detector.anomaly.options import AnomalyOptions
from detector.clock import SystemClock
from detector.config.load import ConfigError, Problem, read, validate
from detector.config.mail import MailOptions
from detector.incidents.catalogue import Catalogue, CatalogueOptions
from detector.incidents.mute import NoiseOptions
from detector.incidents.options import IncidentOptions
from detector.ingest.options import BackfillOptions, GlobalOptions, ScrapeConfig
from detector.notify.settings import NotifyOptions
from detector.oncall.ical import with_files
from detector.oncall.options import OnCallOptions
from detector.options import Duration, Options, Size, ms, parse_size
from detector.rules.groups import Group
from detector.rules.groups import load as load_rules
from detector.series.limits import Limits
from detector.tickets.options import TicketOptions
from detector.web.options import WebOptions


class EvaluationOptions(Options):
    """Event time: how often it moves, and how long it waits for samples that are on their way."""

    interval: Duration = Field(ms("15s"), ge=100)
    """Rules, models and forecasts are evaluated on multiples of it."""
    lateness: Duration = Field(ms("6s"), ge=0)
    """Event time stays this far behind the clock: Prometheus holds remote-write batches for up to 5 s."""


class StorageOptions(Options):
    """What is kept in the data directory for the arrays: a journal, cut behind each snapshot."""

    snapshot_interval: Duration = Field(ms("10m"), ge=1000)
    journal_size: Size = Field(parse_size("1GiB"), ge=parse_size("1MiB"))
    """A journal that reaches it is cut by an early snapshot."""
    mailbox_size: Size = Field(parse_size("64MiB"), ge=parse_size("1MiB"))
    """Bytes of bodies that may wait for the heart; beyond it ingest answers 503."""


class Root(NotifyOptions):
    """``config/detector.yml``. Everything has a default: ``{}`` is valid."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)

    web: WebOptions = WebOptions()
    zone: str = "UTC"
    """Time zone of messages, such as Europe/Berlin; pages use the viewer's."""
    evaluation: EvaluationOptions = EvaluationOptions()
    limits: Limits = Limits()
    storage: StorageOptions = StorageOptions()
    rule_files: tuple[str, ...] = ()
    """Prometheus rule files, globs allowed, relative to this file."""
    global_: GlobalOptions = Field(GlobalOptions(), alias="global")
    scrape_configs: tuple[ScrapeConfig, ...] = ()
    backfill: BackfillOptions | None = None
    services_file: Path | None = None
    """The service catalogue, relative to this file."""
    anomaly: AnomalyOptions = AnomalyOptions()
    incidents: IncidentOptions = IncidentOptions()
    noise: NoiseOptions = NoiseOptions()
    tickets: TicketOptions = TicketOptions()
    oncall: OnCallOptions = OnCallOptions()
    mail: MailOptions = MailOptions()

    @model_validator(mode="after")
    def _linked(self) -> Root:
        if self.mail.smtp is not None and self.web.external_url is None:
            raise ValueError("mail.smtp: letters hold a link to their reader's page: set web.external_url")
        if self.tickets.communication.allowed_hosts and self.web.external_url is None:
            where = "tickets.communication.allowed_hosts"
            raise ValueError(f"{where}: webhooks hold a link that ends them: set web.external_url")
        return self

    @model_validator(mode="after")
    def _reachable(self) -> Root:
        names = {channel.name for channel in self.channels}
        for person in self.oncall.people:
            if unknown := sorted({rule.channel for rule in person.rules} - names):
                raise ValueError(f"oncall: {person.name} is called on {', '.join(unknown)}, which is no channel")
        return self

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{zone!r} is no time zone; write one such as UTC or Europe/Berlin") from None
        return zone


@dataclass(frozen=True)
class Loaded:
    """A configuration with the files that it names. ``problems``: rules that were left out, each by name."""

    path: Path
    root: Root
    catalogue: Catalogue
    groups: tuple[Group, ...]
    problems: tuple[Problem, ...]
    watched: tuple[Path, ...]

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.root.zone)

    def summary(self) -> str:
        """One line of what there is, for people."""
        rules = sum(len(group.rules) for group in self.groups)
        parts = (
            f"{rules} rules in {len(self.groups)} groups",
            f"{len(self.root.scrape_configs)} scrape configs",
            f"{len(self.root.channels)} channels",
            f"{len(self.catalogue.entries)} services in the catalogue",
        )
        return "fine: " + ", ".join(parts)


def shipped() -> Path:
    """The directory of the configuration that the wheel carries (beside the package in a checkout)."""
    packaged = Path(str(files("detector"))) / "_config"
    return packaged if packaged.is_dir() else Path(str(files("detector"))).parent / "config"


def load(path: Path | None) -> Loaded:
    """Read ``path`` (default: the shipped one) and the files it names; raises ConfigError with every mistake.

    A rule that cannot be used is a problem by name and the rest goes on; everything else must be right.
    """
    path = shipped() / "detector.yml" if path is None else path
    document = read(path)
    root = validate(document, Root)
    folder = path.parent
    catalogue_path = folder / root.services_file if root.services_file else None
    catalogue = Catalogue(CatalogueOptions())
    if catalogue_path is not None:
        catalogue = Catalogue(validate(read(catalogue_path), CatalogueOptions))
    try:
        oncall, calendars = with_files(root.oncall, folder, SystemClock().now())
    except ValueError as error:
        raise ConfigError([Problem(document.file, document.line(("oncall",)), "oncall", str(error))]) from None
    root = root.model_copy(update={"oncall": oncall})
    rule_paths = list(_rule_paths(root, folder, document.file, document.line(("rule_files",))))
    rules = load_rules(rule_paths)
    problems = tuple(Problem(p.file, p.line, p.rule, p.message) for p in rules.problems)
    watched = (path, *rule_paths, *([catalogue_path] if catalogue_path else []), *calendars)
    return Loaded(path, root, catalogue, tuple(rules.groups), problems, watched)


def _rule_paths(root: Root, folder: Path, file: str, line: int) -> Iterator[Path]:
    for pattern in root.rule_files:
        found = sorted(glob.glob(str(folder / pattern)))
        # A glob may match nothing yet, as in Prometheus; a plain name that is missing is a mistake.
        if not found and not glob.has_magic(pattern):
            raise ConfigError([Problem(file, line, "rule_files", f"{folder / pattern} does not exist")])
        yield from map(Path, found)


def json_schema() -> str:
    """The JSON Schema of the configuration, for editors."""
    schema: dict[str, Any] = Root.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "detector.yml"
    return json.dumps(schema, indent=2)
