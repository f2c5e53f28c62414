"""How symptoms become incidents, as configured; every default is the shipped behaviour."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from detector.incidents.matchers import Matcher, MatcherText, parse
from detector.options import Duration, Options, ms

Mode = Literal["shadow", "ticket", "page"]


class ModeRule(Options):
    """What may be done with the symptoms of a family: the first rule that fits decides."""

    family: str = "*"
    """``detector``, ``detector/kind`` or ``detector/kind/metric`` (rules and alerts: ``rule/NAME``); ``*`` is all."""
    service: str | None = None
    mode: Mode

    def fits(self, family: str, service: str) -> bool:
        if self.service is not None and self.service != service:
            return False
        return self.family == "*" or family == self.family or family.startswith(self.family + "/")


SHIPPED_MODES = (
    ModeRule(family="anomaly", mode="ticket"),
    ModeRule(family="group", mode="ticket"),
    ModeRule(family="*", mode="page"),
)


class Corroboration(Options):
    """How many symptoms of a family it takes to open an incident: the first rule that fits decides; else one does."""

    family: str = "*"
    """As in ``modes``."""
    service: str | None = None
    count: int = Field(ge=1, le=1000)
    """So many different ones (or so many returns of one) of the service ..."""
    within: Duration = Field(ms("10m"), ge=1000)
    """... that began within this time."""

    def fits(self, family: str, service: str) -> bool:
        return ModeRule(family=self.family, service=self.service, mode="page").fits(family, service)


class WatchdogOptions(Options):
    """An alert that always fires, to prove that alerts arrive; it opens nothing, but its absence does."""

    alertname: str = "Watchdog"
    expiry: Duration | None = Field(None, ge=1000)
    """Missed when it was not repeated for so long; default: the ``endsAt`` it came with, else ``alert_expiry``."""


class IncidentOptions(Options):
    """Correlation, phases and ends."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, arbitrary_types_allowed=True)

    quiet_period: Duration = Field(ms("10m"), ge=1000)
    """All symptoms quiet for so long: the incident is over."""
    reopen_window: Duration = Field(ms("24h"), ge=0)
    """A symptom that returns within it reopens its ticket; later it opens a new one that names the old."""
    gather_items: int = Field(3, ge=2)
    """So many items of one service that run out within ``gather_window`` are one incident."""
    gather_window: Duration = Field(ms("10m"), ge=0)
    alert_expiry: Duration = Field(ms("5h"), ge=60_000)
    """An alert that is neither repeated nor resolved counts as over after it, where it brought no ``endsAt``."""
    watchdog: WatchdogOptions = WatchdogOptions()
    disruption: tuple[tuple[MatcherText, ...], ...] = (
        (parse('severity=~"critical|page"'), parse('phase!="predicted"')),
        (parse('phase="disruption"'),),
    )
    """Rules and alerts that say users are hurt already: a list of lists, one of which must match entirely."""
    modes: tuple[ModeRule, ...] = ()
    """Per symptom family and service, before the shipped ones (rules, alerts and forecasts page; anomalies ticket)."""

    corroboration: tuple[Corroboration, ...] = ()
    """Families that open an incident only when it happened several times."""

    def corroborated(self, family: str, service: str) -> Corroboration | None:
        """What a symptom of this family needs beside itself to open an incident; None: nothing."""
        return next((rule for rule in self.corroboration if rule.fits(family, service)), None)

    def mode(self, family: str, service: str) -> Mode:
        return next(rule.mode for rule in (*self.modes, *SHIPPED_MODES) if rule.fits(family, service))


__all__ = ["Corroboration", "IncidentOptions", "Matcher", "Mode", "ModeRule", "WatchdogOptions"]
