"""Alert templates: the part of Go's template language that annotations and labels use, written anew.

A template comes from a rule file and the labels it prints from anybody's metrics: expansion is bounded in steps,
depth and output, functions are a fixed table, and a failure becomes text (``<error expanding template: ...>``) as in
Prometheus, never an exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from detector.rules.template_functions import FUNCTIONS, TemplateError, bounded, text_of

MAX_STEPS = 10_000
MAX_DEPTH = 32
MAX_SOURCE = 65_536

_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"""
    r"""|(?P<declare>:=)|(?P<assign>=)|(?P<pipe>\|)|(?P<open>\()|(?P<close>\))|(?P<comma>,)"""
    r"""|(?P<variable>\$\w*)|(?P<field>\.(?:\w+)?)|(?P<word>\w+))"""
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_PRELUDE = (
    ("labels", "Labels"),
    ("externalLabels", "ExternalLabels"),
    ("externalURL", "ExternalURL"),
    ("value", "Value"),
)


# --- the tree ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Literal:
    value: Any


@dataclass(frozen=True, slots=True)
class _Path:
    """``$name.a.b``, ``.a.b`` (``variable`` is None), or ``(pipeline).a``; ``fields`` are looked up in turn."""

    variable: str | None
    fields: tuple[str, ...]
    inner: _Pipeline | None = None


@dataclass(frozen=True, slots=True)
class _Word:
    name: str


_Operand = _Literal | _Path | _Word


@dataclass(frozen=True, slots=True)
class _Pipeline:
    """Commands, each a list of operands; the value of one is the last argument of the next."""

    commands: tuple[tuple[_Operand, ...], ...]
    variables: tuple[str, ...] = ()
    declares: bool = False


@dataclass(frozen=True, slots=True)
class _Block:
    """``if``, ``range`` or ``with``."""

    keyword: str
    pipeline: _Pipeline
    body: tuple[_Node, ...]
    otherwise: tuple[_Node, ...]


_Node = str | _Pipeline | _Block


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. ``static``: its text holds no action."""

    source: str
    nodes: tuple[_Node, ...]

    @property
    def static(self) -> bool:
        return all(isinstance(node, str) for node in self.nodes)


@dataclass(frozen=True, slots=True)
class Context:
    """What a template may see. ``query(text)`` evaluates PromQL to ``[{"Labels": {...}, "Value": float}]``."""

    labels: Mapping[str, str]
    value: float
    external_labels: Mapping[str, str] = field(default_factory=dict)
    external_url: str = ""
    query: Callable[[str], list[dict[str, Any]]] | None = None


# --- parsing -----------------------------------------------------------------------------------------------------


def parse(source: str) -> Template:
    """Raises :class:`TemplateError` where Go would refuse the template."""
    if len(source) > MAX_SOURCE:
        raise TemplateError(f"the template is longer than {MAX_SOURCE} characters")
    if "{{" not in source:
        return Template(source, (source,))
    pieces = _Pieces(source)
    nodes, end = _nodes(pieces, 0)
    if end is not None:
        raise TemplateError(f"unexpected {{{{{end}}}}}")
    return Template(source, nodes)


class _Pieces:
    """Text and actions in turn, white space trimmed where ``{{-`` and ``-}}`` ask for it."""

    def __init__(self, source: str) -> None:
        self._items: list[tuple[bool, str]] = []
        at, trim = 0, False
        for match in _ACTION.finditer(source):
            text = source[at : match.start()]
            text = text.lstrip() if trim else text
            self._items.append((False, text.rstrip() if match[1] else text))
            if not match[2].strip().startswith("/*"):
                self._items.append((True, match[2].strip()))
            at, trim = match.end(), bool(match[3])
        rest = source[at:]
        if "{{" in rest:
            raise TemplateError("unclosed action")
        self._items.append((False, rest.lstrip() if trim else rest))
        self._at = 0

    def __iter__(self) -> Iterator[tuple[bool, str]]:
        while self._at < len(self._items):
            self._at += 1
            yield self._items[self._at - 1]


def _nodes(pieces: _Pieces, depth: int) -> tuple[tuple[_Node, ...], str | None]:
    """Nodes up to ``end`` or ``else``; that keyword with what follows it, or None at the end of the text."""
    if depth > MAX_DEPTH:
        raise TemplateError(f"blocks are nested deeper than {MAX_DEPTH}")
    nodes: list[_Node] = []
    for is_action, text in pieces:
        if not is_action:
            if text:
                nodes.append(text)
            continue
        keyword, _, rest = text.partition(" ")
        if keyword in ("end", "else"):
            return tuple(nodes), text
        if keyword in ("if", "range", "with"):
            nodes.append(_block(pieces, keyword, rest, depth))
        elif keyword in ("template", "define", "block", "break", "continue"):
            raise TemplateError(f"{keyword} is not supported in templates")
        else:
            nodes.append(_pipeline(text))
    return tuple(nodes), None


def _block(pieces: _Pieces, keyword: str, head: str, depth: int) -> _Block:
    pipeline = _pipeline(head)
    body, end = _nodes(pieces, depth + 1)
    otherwise: tuple[_Node, ...] = ()
    if end is not None and end.startswith("else"):
        rest = end.removeprefix("else").strip()
        if rest:  # else if ...: a block of its own that shares our end
            nested, _, head = rest.partition(" ")
            if nested not in ("if", "with"):
                raise TemplateError(f"unexpected {{{{{end}}}}}")
            return _Block(keyword, pipeline, body, (_block(pieces, nested, head, depth + 1),))
        otherwise, end = _nodes(pieces, depth + 1)
    if end != "end":
        raise TemplateError(f"{keyword} without end")
    return _Block(keyword, pipeline, body, otherwise)


def _pipeline(text: str) -> _Pipeline:
    tokens = _tokens(text)
    variables: list[str] = []
    declares = False
    operators = [i for i, (kind, _) in enumerate(tokens[:4]) if kind in ("declare", "assign")]
    if operators and all(kind in ("variable", "comma") for kind, _ in tokens[: operators[0]]):
        variables = [value[1:] for kind, value in tokens[: operators[0]] if kind == "variable"]
        declares = tokens[operators[0]][0] == "declare"
        del tokens[: operators[0] + 1]
    commands = _commands(tokens, 0)
    if tokens:
        raise TemplateError(f"unexpected {tokens[0][1]!r} in {{{{{text}}}}}")
    return _Pipeline(commands, tuple(variables), declares)


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise TemplateError(f"unexpected {text[at : at + 10]!r} in {{{{{text}}}}}")
        value = match[match.lastgroup]
        # ``.b`` right after ``$a`` continues the path; after a space it is another operand.
        glued = match.lastgroup == "field" and at == match.start(match.lastgroup) and at > 0
        tokens.append(("glued" if glued and not text[at - 1].isspace() else match.lastgroup, value))
        at = match.end()
    return tokens


def _commands(tokens: list[tuple[str, str]], depth: int) -> tuple[tuple[_Operand, ...], ...]:
    """Consumes ``tokens`` up to a closing parenthesis."""
    if depth > MAX_DEPTH:
        raise TemplateError(f"parentheses are nested deeper than {MAX_DEPTH}")
    commands: list[tuple[_Operand, ...]] = []
    operands: list[_Operand] = []
    while tokens and tokens[0][0] != "close":
        kind, value = tokens.pop(0)
        if kind == "pipe":
            if not operands:
                raise TemplateError("missing value for command")
            commands.append(tuple(operands))
            operands = []
        else:
            operands.append(_operand(kind, value, tokens, depth))
    if not operands:
        raise TemplateError("missing value for command")
    return (*commands, tuple(operands))


def _operand(kind: str, value: str, tokens: list[tuple[str, str]], depth: int) -> _Operand:
    match kind:
        case "string":
            body = value[1:-1]
            if value[0] == '"':
                body = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), body)
            return _Literal(body)
        case "number":
            return _Literal(int(value) if re.fullmatch(r"[-+]?\d{1,18}", value) else float(value))
        case "word" if value in ("true", "false", "nil"):
            return _Literal({"true": True, "false": False}.get(value))
        case "word":
            if value not in FUNCTIONS and value not in _CONTEXT_FUNCTIONS:
                raise TemplateError(f'function "{value}" not defined')
            return _Word(value)
        case "variable":
            return _Path(value[1:], _fields(tokens))
        case "field":
            return _Path(None, (*filter(None, (value[1:],)), *_fields(tokens)))
        case "open":
            inner = _Pipeline(_commands(tokens, depth + 1))
            if not tokens:
                raise TemplateError("unclosed left parenthesis")
            tokens.pop(0)
            return _Path(None, _fields(tokens), inner)
    raise TemplateError(f"unexpected {value!r}")


def _fields(tokens: list[tuple[str, str]]) -> tuple[str, ...]:
    names = []
    while tokens and tokens[0][0] == "glued":
        names.append(tokens.pop(0)[1][1:])
    return tuple(names)


# --- expanding ---------------------------------------------------------------------------------------------------


def expand(template: Template, context: Context) -> str:
    """The text; ``<error expanding template: ...>`` when it cannot be made."""
    if template.static:
        return template.source
    try:
        return _Expansion(context).run(template)
    except TemplateError as error:
        return f"<error expanding template: {error}>"
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        return f"<error expanding template: {type(error).__name__}: {error}>"


def _query(expansion: _Expansion, text: Any) -> list[dict[str, Any]]:
    if expansion.context.query is None or not isinstance(text, str):
        raise TemplateError("query is not available here")
    return expansion.context.query(text)


def _first(expansion: _Expansion, value: Any) -> Any:
    if not isinstance(value, list) or not value:
        raise TemplateError("first() called on vector with no elements")
    return value[0]


def _sample(expansion: _Expansion, sample: Any) -> dict[str, Any]:
    if not isinstance(sample, dict) or "Labels" not in sample:
        raise TemplateError("a sample of a query is expected")
    return sample


def _sort_by_label(expansion: _Expansion, label: Any, samples: Any) -> list[Any]:
    return sorted(samples, key=lambda s: str(_sample(expansion, s)["Labels"].get(label, "")))


_CONTEXT_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "query": _query,
    "first": _first,
    "label": lambda e, name, sample: _sample(e, sample)["Labels"].get(name, ""),
    "value": lambda e, sample: _sample(e, sample)["Value"],
    "strvalue": lambda e, sample: _sample(e, sample)["Labels"].get("__value__", ""),
    "sortByLabel": _sort_by_label,
    "externalURL": lambda e: e.context.external_url,
    "pathPrefix": lambda e: "",
    "and": lambda e, *args: next((a for a in args if not a), args[-1]),
    "or": lambda e, *args: next((a for a in args if a), args[-1]),
}


class _Expansion:
    def __init__(self, context: Context) -> None:
        self.context = context
        self._out: list[str] = []
        self._size = 0
        self._steps = 0

    def run(self, template: Template) -> str:
        c = self.context
        root = {
            "Labels": c.labels, "ExternalLabels": c.external_labels, "ExternalURL": c.external_url, "Value": c.value,
        }  # fmt: skip
        variables = {name: root[key] for name, key in _PRELUDE}
        self._nodes(template.nodes, root, {"": root, **variables})
        return "".join(self._out)

    def _nodes(self, nodes: tuple[_Node, ...], dot: Any, scope: dict[str, Any]) -> None:
        for node in nodes:
            if isinstance(node, str):
                self._write(node)
            elif isinstance(node, _Block):
                self._block(node, dot, dict(scope), scope)
            else:
                value = self._pipeline(node, dot, scope)
                if node.variables:
                    scope[node.variables[0]] = value
                else:
                    self._write(text_of(value))

    def _block(self, node: _Block, dot: Any, inner: dict[str, Any], outer: dict[str, Any]) -> None:
        value = self._pipeline(node.pipeline, dot, outer)
        names = node.pipeline.variables
        if node.keyword == "range":
            self._range(node, value, dot, inner, outer)
            return
        if names:
            inner[names[0]] = value
        if _truth(value):
            self._nodes(node.body, value if node.keyword == "with" else dot, inner)
        else:
            self._nodes(node.otherwise, dot, inner)
        _keep_assignments(inner, outer, names)

    def _range(self, node: _Block, value: Any, dot: Any, inner: dict[str, Any], outer: dict[str, Any]) -> None:
        names = node.pipeline.variables
        if isinstance(value, Mapping):
            items: list[tuple[Any, Any]] = sorted(value.items())
        elif isinstance(value, list):
            items = list(enumerate(value))
        else:
            raise TemplateError(f"range can't iterate over {text_of(value)}")
        for key, item in items:
            if len(names) == 2:
                inner[names[0]], inner[names[1]] = key, item
            elif names:
                inner[names[0]] = item
            self._nodes(node.body, item, inner)
        if not items:
            self._nodes(node.otherwise, dot, inner)
        _keep_assignments(inner, outer, names)

    def _pipeline(self, pipeline: _Pipeline, dot: Any, scope: dict[str, Any]) -> Any:
        last: list[Any] = []
        for command in pipeline.commands:
            last = [self._command(command, dot, scope, last)]
        return last[0]

    def _command(self, command: tuple[_Operand, ...], dot: Any, scope: dict[str, Any], last: list[Any]) -> Any:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise TemplateError(f"more than {MAX_STEPS} steps")
        head, *rest = command
        if not isinstance(head, _Word):
            if rest or last:
                raise TemplateError("can't give argument to non-function")
            return self._value(head, dot, scope)
        args = [self._value(operand, dot, scope) for operand in rest] + last
        if head.name in _CONTEXT_FUNCTIONS:
            return _CONTEXT_FUNCTIONS[head.name](self, *args)
        try:
            value = FUNCTIONS[head.name](*args)
        except TypeError:
            raise TemplateError(f"wrong number of args for {head.name}: {len(args)}") from None
        if isinstance(value, str):
            bounded(len(value))
        return value

    def _value(self, operand: _Operand, dot: Any, scope: dict[str, Any]) -> Any:
        if isinstance(operand, _Literal):
            return operand.value
        if isinstance(operand, _Word):
            return self._command((operand,), dot, scope, [])
        if operand.inner is not None:
            value = self._pipeline(operand.inner, dot, scope)
        elif operand.variable is None:
            value = dot
        elif operand.variable in scope:
            value = scope[operand.variable]
        else:
            raise TemplateError(f'undefined variable "${operand.variable}"')
        for name in operand.fields:
            value = _field(value, name)
        return value

    def _write(self, text: str) -> None:
        self._size = bounded(self._size + len(text))
        self._out.append(text)


def _keep_assignments(inner: dict[str, Any], outer: dict[str, Any], own: tuple[str, ...]) -> None:
    """What a block assigned (``=``) to variables of its surroundings stays; what it declared goes."""
    for name in outer:
        if name not in own:
            outer[name] = inner[name]


def _truth(value: Any) -> bool:
    return bool(value)


def _field(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        if name in value:
            return value[name]
        if "Labels" in value and "Value" in value:
            raise TemplateError(f"can't evaluate field {name}")
        return ""
    raise TemplateError(f"can't evaluate field {name} in type {type(value).__name__}")
