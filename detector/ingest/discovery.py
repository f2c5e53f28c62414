"""Which targets there are: static ones, and those in files that others write. Labels in, relabelled targets out."""

from __future__ import annotations

import glob
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from detector.ingest.options import FileSdConfig, GlobalOptions, ScrapeConfig
from detector.ingest.relabel import Relabeller
from detector.nouns import LabelSet

log = logging.getLogger(__name__)

MOST_BYTES = 8 * 1024 * 1024
MOST_NESTED = 32


@dataclass(frozen=True, slots=True)
class Target:
    """One address to scrape. ``labels`` are what its series get; equal targets are the same target."""

    job: str
    url: str
    labels: LabelSet
    interval: int
    timeout: int

    @property
    def name(self) -> str:
        """What the series of the target share: their cohort."""
        return f"scrape/{self.job}/{self.url}"


class BadFile(Exception):
    """A file of targets that cannot be used; names file, place and reason. The targets known before stay."""


def targets(config: ScrapeConfig, defaults: GlobalOptions, found: Mapping[Path, list[Any]]) -> list[Target]:
    """Every target of the job, without duplicates, in the order of the configuration. ``found`` holds the groups of
    the files (:func:`read_file`)."""
    relabel = Relabeller(config.relabel_configs)
    seen: dict[tuple[str, LabelSet], Target] = {}
    for source in _groups(config, found):
        target = _target(source, config, defaults, relabel)
        if target is not None:
            seen.setdefault((target.url, target.labels), target)
    kept = list(seen.values())
    if config.target_limit and len(kept) > config.target_limit:
        log.warning(
            "job %s: %d targets, target_limit %d: none is scraped", config.job_name, len(kept), config.target_limit
        )
        return []
    return kept


def _groups(config: ScrapeConfig, found: Mapping[Path, list[Any]]) -> Iterator[dict[str, str]]:
    for group in config.static_configs:
        for address in group.targets:
            yield {**group.labels, "__address__": address}
    for path, groups in found.items():
        for entry in groups:
            for address in entry["targets"]:
                yield {**entry.get("labels", {}), "__address__": address, "__meta_filepath": str(path)}


def _target(
    source: Mapping[str, str], config: ScrapeConfig, defaults: GlobalOptions, relabel: Relabeller
) -> Target | None:
    interval = config.scrape_interval or defaults.scrape_interval
    labels = relabel({
        "job": config.job_name,
        "__scheme__": config.scheme,
        "__metrics_path__": config.metrics_path,
        **{f"__param_{name}": values[0] for name, values in config.params.items() if values},
        **source,
    })  # fmt: skip
    if labels is None or not labels.get("__address__"):
        return None
    params = {name: list(values) for name, values in config.params.items()}
    for name, value in labels.items():
        if name.startswith("__param_"):
            rest = params.get(name.removeprefix("__param_"), [""])[1:]
            params[name.removeprefix("__param_")] = [value, *rest]
    query = urlencode([(name, value) for name, values in sorted(params.items()) for value in values])
    address = labels["__address__"]
    path = labels.get("__metrics_path__", "/metrics")
    url = f"{labels.get('__scheme__', 'http')}://{address}{path if path.startswith('/') else '/' + path}"
    shown = {name: value for name, value in labels.items() if not name.startswith("__")}
    shown.setdefault("instance", address)
    return Target(
        config.job_name,
        f"{url}?{query}" if query else url,
        tuple(sorted(shown.items())),
        interval,
        min(config.scrape_timeout or defaults.scrape_timeout, interval),
    )


def paths(config: FileSdConfig, base: Path) -> list[Path]:
    """The files that the globs name now."""
    return sorted({Path(name) for pattern in config.files for name in glob.glob(str(base / pattern))})


def _yaml(raw: bytes) -> Any:
    depth = 0
    for event in yaml.parse(raw, Loader=yaml.CSafeLoader):  # libyaml's composer recurses in C until it crashes
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_NESTED:
            raise ValueError(f"nested more than {MOST_NESTED} deep")
    return yaml.load(raw, Loader=yaml.CSafeLoader)


def read_file(path: Path) -> list[Any]:
    """The target groups of a .json, .yml or .yaml file; raises BadFile."""
    try:
        raw = path.read_bytes()
        if len(raw) > MOST_BYTES:
            raise BadFile(f"{path}: larger than {MOST_BYTES // 1024**2} MiB")
        groups = json.loads(raw) if path.suffix == ".json" else _yaml(raw)
    except OSError as error:
        raise BadFile(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise BadFile(f"{path}: {error}") from None
    for number, group in enumerate(groups if isinstance(groups, list) else [None]):
        labels = group.get("labels", {}) if isinstance(group, dict) else None
        sound = (
            isinstance(labels, dict)
            and isinstance(group.get("targets"), list)
            and all(isinstance(text, str) for text in group["targets"])
            and all(isinstance(text, str) for pair in labels.items() for text in pair)
        )
        if not sound:
            raise BadFile(f"{path}: entry {number}: expected a list of {{targets: [...], labels: {{...}}}}, all texts")
    return list(groups)
