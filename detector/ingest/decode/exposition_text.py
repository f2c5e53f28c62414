"""The texts of an exposition that are met once: ``name{label="value"}`` and comment lines."""

from __future__ import annotations

import re

_NAME = re.compile(rb"[a-zA-Z_:][a-zA-Z0-9_:]*")
_QUOTED = rb'"((?:[^"\\]|\\.)*)"'
_PAIR = re.compile(
    rb"[ \t]*(?:" + _QUOTED + rb"|([a-zA-Z_][a-zA-Z0-9_]*))[ \t]*(?:=[ \t]*" + _QUOTED + rb")?[ \t]*(,|$)", re.DOTALL
)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_COMMENT = re.compile(rb"#[ \t]+(TYPE|HELP|UNIT)[ \t]+(?:" + _QUOTED + rb"|([^ \t\"]+))(?:[ \t]+(.*))?", re.DOTALL)


class BadText(ValueError):
    """The text is not ``name{label="value",...}``."""


def _unescaped(text: bytes) -> bytes:
    if b"\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: b"\n" if match[1] == b"n" else match[1], text)


def label_pairs(text: bytes) -> list[tuple[bytes, bytes]]:
    """Names and values, the metric's name as ``__name__`` among them (``{"a.b"}`` is taken too); raises BadText."""
    out: list[tuple[bytes, bytes]] = []
    name = _NAME.match(text)
    at = name.end() if name else 0
    if name:
        out.append((b"__name__", name[0]))
    rest = text[at:].strip(b" \t")
    if not rest:
        return out
    if not (rest.startswith(b"{") and rest.endswith(b"}")):
        raise BadText("the metric's name is followed by something else than labels")
    inside, at = rest[1:-1], 0
    while inside[at:].strip(b" \t"):
        pair = _PAIR.match(inside, at)
        if pair is None or (pair[3] is None and (out or pair[1] is None)):
            raise BadText('a label must read name="value"')
        if pair[3] is None:
            out.append((b"__name__", _unescaped(pair[1])))
        else:
            out.append((_unescaped(pair[1]) if pair[1] is not None else pair[2], _unescaped(pair[3])))
        at = pair.end()
    if not out:
        raise BadText("a sample without a name")
    return out


def metadata(line: bytes) -> tuple[str, str, str] | None:
    """(TYPE, HELP or UNIT; metric family; what is said) of a comment line; None for any other comment."""
    match = _COMMENT.fullmatch(line)
    if match is None:
        return None
    family = _unescaped(match[2]) if match[2] is not None else match[3]
    text = _unescaped(match[4] or b"").strip()
    return match[1].decode(), family.decode("utf-8", "replace"), text.decode("utf-8", "replace")


def number(text: bytes) -> float:
    """A number as Go's ``ParseFloat`` reads it, without hexadecimals and underscores; ValueError names the text."""
    try:
        if b"_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        raise ValueError(f"{text[:40].decode('utf-8', 'replace')!r} is not a number") from None
