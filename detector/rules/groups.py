"""Prometheus's rule files, unchanged: text in, checked groups and problems out.

A bad rule is a :class:`Problem` that names file, line and rule; the rest of its group loads. The only file of the room
that knows YAML: it is read as nodes (``compose``), which keep their lines and expand no aliases.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from detector.options import parse_duration
from detector.rules import templates
from detector.rules.promql.adapter import parse
from detector.rules.promql.ast import Expr, Selector, type_of, walk
from detector.rules.promql.errors import PromQLError
from detector.rules.promql.spans import required_span
from detector.rules.template_functions import TemplateError

MAX_FILE = 16 << 20
MAX_DEPTH = 50
DEFAULT_INTERVAL_MS = 15_000
DEFAULT_SPAN_MS = 65 * 60_000
"""What rings hold anyhow: an hour of evidence, and the look-back."""
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_GROUP_KEYS = frozenset({"name", "interval", "query_offset", "limit", "labels", "rules"})
_RULE_KEYS = frozenset({"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"})


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in a rule file, where (``line`` from 1; 0: the whole file), and with which rule or group."""

    file: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.rule}: {self.message}" if self.rule else f"{place}: {self.message}"


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A recording rule (``alerting`` False) or an alerting rule; ``hold`` is its ``for`` and ``keep`` its
    ``keep_firing_for``, ms. Labels hold the group's too. ``digest`` identifies its content: what did not change in a
    reload keeps its state."""

    name: str
    alerting: bool
    expr: Expr
    text: str
    labels: tuple[tuple[str, templates.Template], ...]
    annotations: tuple[tuple[str, templates.Template], ...]
    hold: int
    keep: int
    line: int
    digest: str

    @property
    def metric(self) -> str:
        """The first metric that the expression names, or empty."""
        names = (node.metric for node in walk(self.expr) if isinstance(node, Selector))
        return next((name for name in names if name), "")


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Rules evaluated one after the other at every multiple of ``interval`` ms, of the data ``offset`` ms before."""

    name: str
    file: str
    interval: int
    offset: int
    limit: int
    rules: tuple[Rule, ...]

    @property
    def key(self) -> str:
        return f"{self.file};{self.name}"


@dataclass(frozen=True, slots=True)
class Loaded:
    groups: tuple[Group, ...]
    problems: tuple[Problem, ...]


def read_text(path: Path) -> str:
    """The file's text; raises OSError or UnicodeDecodeError."""
    return path.read_text(encoding="utf-8")


def load(paths: Iterable[Path], interval: int = DEFAULT_INTERVAL_MS, read: Callable[[Path], str] = read_text) -> Loaded:
    """All groups of the files ``paths``, in order. ``interval`` (ms) is for groups that name none."""
    groups: list[Group] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            text = read(path)
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(str(path), 0, "", f"cannot be read: {error}"))
            continue
        loaded = load_text(text, str(path), interval)
        groups += loaded.groups
        problems += loaded.problems
    return Loaded(tuple(groups), tuple(problems))


def load_text(text: str, file: str, interval: int = DEFAULT_INTERVAL_MS) -> Loaded:
    """One rule file's groups and problems."""
    reader = _Reader(file, interval)
    reader.read(text)
    return Loaded(tuple(reader.groups), tuple(reader.problems))


def spans(groups: Sequence[Group], default: int = DEFAULT_SPAN_MS) -> tuple[int, dict[str, int]]:
    """Ring depth for these rules: the look-back (ms) that every metric needs, at least ``default``; and the metrics
    that need more. Group offset and two intervals (an evaluation may come late) are included."""
    metrics: dict[str, int] = {}
    for group in groups:
        slack = group.offset + 2 * group.interval
        for rule in group.rules:
            for metric, span in required_span(rule.expr).items():
                if metric is None:
                    default = max(default, span + slack)
                else:
                    metrics[metric] = max(metrics.get(metric, 0), span + slack)
    return default, {metric: span for metric, span in metrics.items() if span > default}


class _Invalid(Exception):
    """A problem of the thing at hand: the node where it shows, and the message."""

    def __init__(self, node: yaml.Node, message: str) -> None:
        super().__init__(message)
        self.line = node.start_mark.line + 1


def _bounded(text: str) -> None:
    """Raises ValueError for what libyaml's composer, which recurses in C, would crash on."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")


class _Reader:
    """Collects the groups and the problems of one file."""

    def __init__(self, file: str, interval: int) -> None:
        self.groups: list[Group] = []
        self.problems: list[Problem] = []
        self._file = file
        self._interval = interval

    def _problem(self, line: int, rule: str, message: str) -> None:
        self.problems.append(Problem(self._file, line, rule, message))

    def read(self, text: str) -> None:
        if len(text) > MAX_FILE:
            self._problem(0, "", f"the file is larger than {MAX_FILE >> 20} MiB")
            return
        try:
            _bounded(text)
            root = yaml.compose(text, Loader=yaml.CSafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            self._problem(mark.line + 1 if mark else 0, "", f"not YAML: {error.problem or error}")
            return
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            self._problem(0, "", f"not YAML: {error}")
            return
        if root is None:
            return
        try:
            items = _sequence(_mapping(root, frozenset({"groups"})).get("groups"))
        except _Invalid as error:
            self._problem(error.line, "", str(error))
            return
        seen: set[str] = set()
        for item in items:
            self._group(item, seen)

    def _group(self, node: yaml.Node, seen: set[str]) -> None:
        name = ""
        try:
            fields = _mapping(node, _GROUP_KEYS)
            name = _text(fields.get("name"))
            if not name:
                raise _Invalid(node, "the group has no name")
            if name in seen:
                raise _Invalid(node, f'the group name "{name}" is used twice in this file')
            interval = _duration(fields.get("interval")) or self._interval
            offset = _duration(fields.get("query_offset"))
            limit = _integer(fields.get("limit"))
            common = _pairs(fields.get("labels"))
            items = _sequence(fields.get("rules"))
        except _Invalid as error:
            self._problem(error.line, name, str(error))
            return
        seen.add(name)
        rules = [rule for item in items if (rule := self._rule(item, common)) is not None]
        self.groups.append(Group(name, self._file, interval, offset, limit, tuple(rules)))

    def _rule(self, node: yaml.Node, common: Mapping[str, str]) -> Rule | None:
        name = ""
        try:
            loose = _mapping(node, None)
            name = _text(loose.get("alert")) or _text(loose.get("record"))
            return _rule(node, _mapping(node, _RULE_KEYS), common)
        except _Invalid as error:
            self._problem(error.line, name, str(error))
            return None


def _rule(node: yaml.Node, fields: Mapping[str, yaml.Node], common: Mapping[str, str]) -> Rule:
    alert, record = _text(fields.get("alert")), _text(fields.get("record"))
    if bool(alert) == bool(record):
        raise _Invalid(node, "exactly one of `record` and `alert` must be set")
    if "expr" not in fields or not (text := _text(fields["expr"])).strip():
        raise _Invalid(node, "field `expr` must be set")
    if record:
        for key in ("for", "keep_firing_for", "annotations"):
            if key in fields:
                raise _Invalid(fields[key], f"`{key}` is for alerting rules only")
        if _METRIC.fullmatch(record) is None:
            raise _Invalid(fields["record"], f"invalid recording rule name {record!r}")
    hold, keep = _duration(fields.get("for")), _duration(fields.get("keep_firing_for"))
    labels = {**common, **_pairs(fields.get("labels"))}
    annotations = _pairs(fields.get("annotations"))
    expr = _expression(fields["expr"], text)
    parts = (alert, record, text, str(hold), str(keep), repr(sorted(labels.items())), repr(sorted(annotations.items())))
    return Rule(
        name=alert or record,
        alerting=bool(alert),
        expr=expr,
        text=text.strip(),
        labels=_templates(fields.get("labels", node), labels, parse_them=bool(alert)),
        annotations=_templates(fields.get("annotations", node), annotations, parse_them=True),
        hold=hold,
        keep=keep,
        line=node.start_mark.line + 1,
        digest=hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest(),
    )


def _expression(node: yaml.Node, text: str) -> Expr:
    try:
        expr = parse(text)
    except PromQLError as error:
        raise _Invalid(node, f"could not parse expression: {error}") from None
    if type_of(expr) not in ("vector", "scalar"):
        raise _Invalid(node, f"a rule needs a vector or a scalar, not a {type_of(expr)}")
    return expr


def _templates(
    node: yaml.Node, texts: Mapping[str, str], *, parse_them: bool
) -> tuple[tuple[str, templates.Template], ...]:
    out = []
    for name, text in sorted(texts.items()):
        if _LABEL.fullmatch(name) is None or name == "__name__":
            raise _Invalid(node, f"invalid label or annotation name {name!r}")
        try:
            out.append((name, templates.parse(text) if parse_them else templates.Template(text, (text,))))
        except TemplateError as error:
            raise _Invalid(node, f"the template of {name!r}: {error}") from None
    return tuple(out)


# --- YAML nodes ---------------------------------------------------------------------------------------------------


def _mapping(node: yaml.Node, allowed: frozenset[str] | None) -> dict[str, yaml.Node]:
    """Keys and nodes; refuses what is not ``allowed`` (None: anything) and what is said twice."""
    if not isinstance(node, yaml.MappingNode):
        raise _Invalid(node, "a mapping is expected")
    out: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = _text(key)
        if allowed is not None and name not in allowed:
            raise _Invalid(key, f"unknown field {name!r}; allowed are {', '.join(sorted(allowed))}")
        if name in out and allowed is not None:
            raise _Invalid(key, f"the key {name!r} is there twice")
        out[name] = value
    return out


def _sequence(node: yaml.Node | None) -> list[yaml.Node]:
    if node is None or _null(node):
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise _Invalid(node, "a list is expected")
    return list(node.value)


def _null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _text(node: yaml.Node | None) -> str:
    if node is None or _null(node):
        return ""
    if not isinstance(node, yaml.ScalarNode):
        raise _Invalid(node, "a text is expected")
    return str(node.value)


def _pairs(node: yaml.Node | None) -> dict[str, str]:
    if node is None or _null(node):
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise _Invalid(node, "a mapping of texts is expected")
    return {_text(key): _text(value) for key, value in node.value}


def _duration(node: yaml.Node | None) -> int:
    if node is None or _null(node):
        return 0
    try:
        return parse_duration(_text(node))
    except ValueError as error:
        raise _Invalid(node, str(error)) from None


def _integer(node: yaml.Node | None) -> int:
    if node is None or _null(node):
        return 0
    text = _text(node)
    if re.fullmatch(r"\d{1,9}", text) is None:
        raise _Invalid(node, f"{text!r} is not a number of results")
    return int(text)
