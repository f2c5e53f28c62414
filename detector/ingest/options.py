"""Prometheus's own scrape block, as far as it is supported; what is not is an error that says what is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import re2
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from detector.options import Duration, Options, Size, ms

Action = Literal[
    "replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase", "keepequal",
    "dropequal",
]  # fmt: skip
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def compiled(regex: str) -> Any:
    """RE2 as Prometheus 3 compiles it for relabelling (a dot matches newlines); raises ValueError with the reason."""
    settings = re2.Options()
    settings.log_errors = False  # RE2 writes to stderr by default
    settings.dot_nl = True
    try:
        return re2.compile(regex, settings)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"{regex[:80]!r} is not a regular expression of RE2: {reason}") from None


def _regex(text: Any) -> str:
    compiled(str(text))
    return str(text)


def _text(value: Any) -> str:
    """YAML reads 5 and true as what they are; as the value of a label they are texts."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float | str) else ""


Text = Annotated[str, BeforeValidator(_text)]


class RelabelConfig(Options):
    """One step of relabelling."""

    source_labels: tuple[str, ...] = ()
    separator: Text = ";"
    target_label: str = ""
    regex: Annotated[str, BeforeValidator(_regex)] = "(.*)"
    modulus: int = Field(0, ge=0)
    replacement: Text = "$1"
    action: Action = "replace"

    @model_validator(mode="after")
    def _complete(self) -> RelabelConfig:
        needs = self.action in ("replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal")
        if needs and not self.target_label:
            raise ValueError(f"relabel action {self.action} needs target_label")
        if self.action == "hashmod" and not self.modulus:
            raise ValueError("relabel action hashmod needs a modulus above 0")
        plain = self.action in ("hashmod", "lowercase", "uppercase", "keepequal", "dropequal")
        if plain and not _LABEL.fullmatch(self.target_label):
            raise ValueError(f"{self.target_label!r} is not a label name")
        return self


class BasicAuth(Options):
    username: str = ""
    username_file: Path | None = None
    password: SecretStr | None = None
    password_file: Path | None = None


class Authorization(Options):
    type: str = "Bearer"
    credentials: SecretStr | None = None
    credentials_file: Path | None = None


class TlsConfig(Options):
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str = ""
    insecure_skip_verify: bool = False


class HttpClientOptions(Options):
    """How a target or a Prometheus is asked."""

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    bearer_token: SecretStr | None = None
    bearer_token_file: Path | None = None
    tls_config: TlsConfig = TlsConfig()
    follow_redirects: bool = True

    @model_validator(mode="after")
    def _one_way_in(self) -> HttpClientOptions:
        given = [n for n in ("basic_auth", "authorization", "bearer_token", "bearer_token_file") if getattr(self, n)]
        if len(given) > 1:
            raise ValueError(f"give at most one of {', '.join(given)}")
        return self


class StaticConfig(Options):
    targets: tuple[str, ...]
    labels: dict[str, Text] = Field(default_factory=dict)


class FileSdConfig(Options):
    files: tuple[str, ...]
    """Paths or globs of .json, .yml and .yaml files, relative to the configuration."""
    refresh_interval: Duration = Field(ms("5m"), ge=1000)


def _job(name: str) -> str:
    if not name.strip():
        raise ValueError("job_name must not be empty")
    return name


class ScrapeConfig(HttpClientOptions):
    """One entry of ``scrape_configs``."""

    job_name: Annotated[str, AfterValidator(_job)]
    scrape_interval: Duration | None = Field(None, ge=100)
    scrape_timeout: Duration | None = Field(None, ge=10)
    metrics_path: str = "/metrics"
    scheme: Literal["http", "https"] = "http"
    params: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    honor_labels: bool = False
    honor_timestamps: bool = True
    sample_limit: int = Field(0, ge=0)
    label_limit: int = Field(0, ge=0)
    label_name_length_limit: int = Field(0, ge=0)
    label_value_length_limit: int = Field(0, ge=0)
    target_limit: int = Field(0, ge=0)
    body_size_limit: Size = 0
    enable_compression: bool = True
    static_configs: tuple[StaticConfig, ...] = ()
    file_sd_configs: tuple[FileSdConfig, ...] = ()
    relabel_configs: tuple[RelabelConfig, ...] = ()
    metric_relabel_configs: tuple[RelabelConfig, ...] = ()

    @model_validator(mode="after")
    def _times(self) -> ScrapeConfig:
        interval, timeout = self.scrape_interval, self.scrape_timeout
        if interval is not None and timeout is not None and timeout > interval:
            raise ValueError("scrape_timeout is greater than scrape_interval")
        return self


class GlobalOptions(Options):
    """Prometheus's ``global`` block, as far as it matters here."""

    scrape_interval: Duration = Field(ms("15s"), ge=100)
    scrape_timeout: Duration = Field(ms("10s"), ge=10)
    external_labels: dict[str, Text] = Field(default_factory=dict)


class BackfillOptions(HttpClientOptions):
    """A Prometheus whose history is read at start."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    url: str
    match: tuple[str, ...] = ('{__name__=~".+"}',)
    """Series selectors of what to read."""
    timeout: Duration = Field(ms("60s"), ge=1000)
    """For all of it: what was not read by then is left out."""
