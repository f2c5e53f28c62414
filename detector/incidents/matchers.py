"""Alertmanager's matchers (``severity=~"critical|page"``), anchored RE2, parsed once when the configuration is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import re2
from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_TEXT = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^",\s{}]*))\s*', re.DOTALL)
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label; a label that is absent counts as empty."""

    name: str
    op: str
    value: str
    _pattern: Any = field(default=None, compare=False, repr=False)

    def __call__(self, labels: Mapping[str, str]) -> bool:
        text = labels.get(self.name, "")
        if self._pattern is not None:
            if not text.isascii():  # RE2 takes UTF-8, which cannot hold half a surrogate pair
                text = text.encode("utf-8", "replace").decode()
            return (self._pattern.fullmatch(text) is not None) == (self.op == "=~")
        return (text == self.value) == (self.op == "=")

    def __str__(self) -> str:
        return f'{self.name}{self.op}"{self.value}"'


def parse(text: str) -> Matcher:
    """``name="value"``, ``name!="value"``, ``name=~"regex"``, ``name!~"regex"``; ValueError with an example."""
    match = _TEXT.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(f'{text[:80]!r} is not a matcher such as severity="page" or severity=~"critical|page"')
    name, op, quoted, bare = match.groups()
    return matcher(name, op, re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare)


def matcher(name: str, op: str, value: str) -> Matcher:
    """Of its parts; ValueError for an operator or a pattern that is none."""
    if op in ("=", "!="):
        return Matcher(name, op, value)
    if op not in ("=~", "!~"):
        raise ValueError(f"{op[:10]!r} is no operator of a matcher; there are =, !=, =~ and !~")
    try:
        return Matcher(name, op, value, re2.compile(value))
    except re2.error as error:
        raise ValueError(f"{value[:80]!r}: not a regular expression of RE2: {error}") from None


def every(matchers: Sequence[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether all of them match; none at all match nothing."""
    return bool(matchers) and all(matcher(labels) for matcher in matchers)


def _validated(value: Any) -> Matcher:
    if isinstance(value, Matcher):
        return value
    if not isinstance(value, str):
        raise ValueError('a matcher is a text such as severity="page"')
    return parse(value)


MatcherText = Annotated[
    Matcher,
    BeforeValidator(_validated),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ['severity=~"critical|page"']}),
]
"""A matcher in the file as text."""
