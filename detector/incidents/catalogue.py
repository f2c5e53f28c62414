"""The service catalogue: optional, and never in the way of a service that it does not know."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from detector.incidents.matchers import MatcherText, every
from detector.options import Options

UNKNOWN = "unknown"
Criticality = Literal["high", "medium", "low"]


class ServiceEntry(Options):
    """One service of ``services.yml``."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, arbitrary_types_allowed=True)

    name: str = Field(min_length=1, max_length=200)
    selectors: tuple[tuple[MatcherText, ...], ...] = ()
    """Series and alerts that belong to it: a list of lists of matchers, one of which must match entirely."""
    team: str | None = None
    """The team that owns it."""
    criticality: Criticality = "medium"
    """For users and business alike, where not told apart."""
    users: Criticality | None = None
    """How badly its failure hurts users; default: ``criticality``."""
    business: Criticality | None = None
    depends_on: tuple[str, ...] = ()
    """Services that it needs: their trouble is its trouble, and one incident."""
    runbook: str = ""
    """A link or a text for whoever is called."""


class CatalogueOptions(Options):
    """The whole file."""

    services: tuple[ServiceEntry, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> CatalogueOptions:
        names = [entry.name for entry in self.services]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two services have the name {', '.join(twice)}")
        for entry in self.services:
            if missing := sorted(set(entry.depends_on) - set(names)):
                raise ValueError(f"{entry.name} depends on {', '.join(missing)}, which is not in the catalogue")
        return self


class Catalogue:
    """Answers which service a label set belongs to, and what is known of it."""

    def __init__(self, options: CatalogueOptions | None = None) -> None:
        options = options or CatalogueOptions()
        self.entries: Mapping[str, ServiceEntry] = {entry.name: entry for entry in options.services}
        self._selecting = [(s, entry.name) for entry in options.services for s in entry.selectors]
        self._needed_by: dict[str, list[str]] = {}
        for entry in options.services:
            for needed in entry.depends_on:
                self._needed_by.setdefault(needed, []).append(entry.name)

    def service_of(self, labels: Mapping[str, str]) -> str:
        """The catalogue's selectors, else the label ``service``, ``app``, ``app_kubernetes_io_name`` or ``job``."""
        for matchers, name in self._selecting:
            if every(matchers, labels):
                return name
        for label in ("service", "app", "app_kubernetes_io_name", "job"):
            if value := labels.get(label):
                return value
        return UNKNOWN

    def entry(self, service: str) -> ServiceEntry | None:
        return self.entries.get(service)

    def needs(self, service: str) -> tuple[str, ...]:
        """The services that ``service`` needs, directly or through others, nearest first."""
        found: dict[str, None] = {}
        todo = deque((service,))
        while todo:
            entry = self.entries.get(todo.popleft())
            for name in entry.depends_on if entry is not None else ():
                if name not in found and name != service:
                    found[name] = None
                    todo.append(name)
        return tuple(found)

    def linked(self, one: str, other: str) -> bool:
        """Whether one of the two needs the other, directly or through a service between them."""
        return other in self.impacted(one) or one in self.impacted(other)

    def impacted(self, service: str) -> tuple[str, ...]:
        """The services that need ``service``, nearest first; cycles end where they began."""
        found: dict[str, None] = {}
        todo = deque(self._needed_by.get(service, ()))
        while todo:
            name = todo.popleft()
            if name not in found and name != service:
                found[name] = None
                todo.extend(self._needed_by.get(name, ()))
        return tuple(found)
