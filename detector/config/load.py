"""YAML text to the validated root configuration; every mistake with file, line, key and what would be allowed.

In: a path, or text with a name. Out: :class:`Loaded`, or :class:`ConfigError` with *all* the mistakes found.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

MAX_BYTES = 4 * 1024 * 1024
MAX_NODES = 200_000
MAX_DEPTH = 50

Key = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. ``line`` counts from 1; 0 where the file as a whole is meant."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigError(Exception):
    """The configuration cannot be used; nothing of it was applied."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, problems)))


@dataclass(frozen=True, slots=True)
class Document:
    """Parsed YAML: plain data, and the line of every key path in it."""

    file: str
    data: Any
    lines: dict[Key, int]

    def line(self, key: Key) -> int:
        """The line of ``key``, or of the closest thing around it."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)


def parse(text: str, file: str) -> Document:
    """YAML to plain data. Duplicate keys, tags, and documents that unfold beyond bounds are refused."""
    try:
        _bounded(text)
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = mark.line + 1 if mark else 0
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "not valid YAML"
        raise ConfigError([Problem(file, line, "", f"YAML: {reason}")]) from None
    except RecursionError:
        raise ConfigError([Problem(file, 0, "", "YAML: nested too deeply")]) from None
    build = _Builder(file)
    data = {} if root is None else build.value(root, (), 0)
    if build.problems:
        raise ConfigError(build.problems)
    return Document(file, data, build.lines)


def _bounded(text: str) -> None:
    """Raises RecursionError for what libyaml's composer, which recurses in C, would crash on."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise RecursionError


class _Builder:
    """Walks the node graph once per use of a node, so that aliases are counted as often as they unfold."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Key, int] = {}
        self.problems: list[Problem] = []
        self._nodes = 0
        self._scalars = yaml.CSafeLoader("")

    def value(self, node: yaml.Node, key: Key, depth: int) -> Any:
        self._nodes += 1
        line = node.start_mark.line + 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            limit = f"more than {MAX_NODES} values" if self._nodes > MAX_NODES else f"nested over {MAX_DEPTH} deep"
            raise ConfigError([Problem(self.file, line, dotted(key), f"{limit} (aliases counted where used)")])
        self.lines.setdefault(key, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*key, i), depth + 1) for i, item in enumerate(node.value)]
        return self._scalar(node, key)

    def _mapping(self, node: yaml.MappingNode, key: Key, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode):
                self.problems.append(Problem(self.file, line, dotted(key), "a key must be a plain word"))
                continue
            name = str(name_node.value)
            if name in out:
                self.problems.append(Problem(self.file, line, dotted((*key, name)), "given twice"))
            self.lines[(*key, name)] = line
            out[name] = self.value(value_node, (*key, name), depth + 1)
        return out

    def _scalar(self, node: yaml.Node, key: Key) -> Any:
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag == "tag:yaml.org,2002:binary":
            self.problems.append(
                Problem(self.file, node.start_mark.line + 1, dotted(key), f"the tag {node.tag} is not supported")
            )
            return None
        if node.tag == "tag:yaml.org,2002:timestamp":
            return node.value
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            self.problems.append(Problem(self.file, node.start_mark.line + 1, dotted(key), f"YAML: {error}"))
            return None


def validate(document: Document, model: type[M]) -> M:
    """The document as ``model``; raises ConfigError with every mistake in it."""
    if not isinstance(document.data, dict):
        raise ConfigError([Problem(document.file, 1, "", "the file must hold keys and values, such as `listen: ...`")])
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        problems = dict.fromkeys(_translate(error.errors(include_url=False), document, model))
        raise ConfigError(sorted(problems, key=lambda p: p.line)) from None


def read(path: Path, file: str | None = None) -> Document:
    """The file at ``path``; raises ConfigError where it cannot be read or is not YAML."""
    name = file or str(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError([Problem(name, 0, "", f"cannot be read: {error.strerror}")]) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError([Problem(name, 0, "", f"larger than {MAX_BYTES // 1024**2} MiB")])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(name, line, "", "not UTF-8")]) from None
    return parse(text, name)


def dotted(key: Key) -> str:
    """``("channels", 0, "url")`` as people write it: ``channels[0].url``."""
    out = ""
    for part in key:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out


def _translate(errors: Sequence[ErrorDetails], document: Document, model: type[BaseModel]) -> Iterator[Problem]:
    for error in errors:
        written = _written(error["loc"], document)
        yield Problem(document.file, document.line(written), dotted(written), _message(error, model))


def _written(loc: Sequence[str | int], document: Document) -> Key:
    """pydantic's location without the tags and type names that are not in the file."""
    key: Key = ()
    for index, part in enumerate(loc):
        if (*key, part) in document.lines or index == len(loc) - 1:
            key = (*key, part)
    # The last part of a union's location may be a type's name: it is a key only where the file or the model has it.
    if key and key not in document.lines and not str(key[-1]).isidentifier():
        key = key[:-1]
    return key


def _message(error: ErrorDetails, model: type[BaseModel]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = sorted(_fields(model, error["loc"][:-1]))
        near = difflib.get_close_matches(str(error["loc"][-1]), known, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"unknown key; {hint}known here: {', '.join(known)}" if known else "unknown key"
    if kind == "missing":
        return "required, but missing"
    if kind in ("literal_error", "enum"):
        return f"{error['input']!r} is not allowed; allowed: {context['expected']}"
    if kind == "union_tag_invalid":
        return f"{context['tag']!r} is not allowed; allowed: {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"the key {context['discriminator']} is required"
    message = error["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _fields(model: Any, loc: Sequence[str | int]) -> set[str]:
    """Names of the fields that may stand at ``loc``, searched through containers and unions."""
    found: set[str] = set()
    for candidate in _models(model):
        if not loc:
            found |= {field.alias or name for name, field in candidate.model_fields.items()}
            continue
        head = loc[0]
        for name, field in candidate.model_fields.items():
            if head in (name, field.alias):
                found |= _fields(field.annotation, loc[1:])
    if not found and loc and not isinstance(model, type):
        # An index, a mapping's key or a union's tag: the same annotation, one part further.
        found = _fields(model, loc[1:])
    return found


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)
