"""Prometheus's relabelling: a label set in, a label set or None (dropped) out. Pure.

Source: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import re2

from detector.ingest.options import RelabelConfig, compiled

_REFERENCE = re.compile(r"\$(?:(\$)|\{([0-9A-Za-z_]+)\}|([0-9A-Za-z_]+))")  # $1x is ${1x}, as in Go
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Relabeller:
    """The steps of one configuration, compiled once."""

    def __init__(self, steps: Sequence[RelabelConfig]) -> None:
        self._steps = [(step, compiled(step.regex)) for step in steps]

    def __bool__(self) -> bool:
        return bool(self._steps)

    def __call__(self, labels: Mapping[str, str]) -> dict[str, str] | None:
        """The relabelled set without empty values; None when a step drops it."""
        current = dict(labels)
        for step, pattern in self._steps:
            changed = _apply(step, pattern, current)
            if changed is None:
                return None
            current = changed
        return {name: value for name, value in current.items() if value}


def _apply(step: RelabelConfig, pattern: Any, labels: dict[str, str]) -> dict[str, str] | None:
    value = step.separator.join(labels.get(name, "") for name in step.source_labels)
    match step.action:
        case "keep":
            return labels if pattern.fullmatch(value) else None
        case "drop":
            return None if pattern.fullmatch(value) else labels
        case "keepequal":
            return labels if labels.get(step.target_label, "") == value else None
        case "dropequal":
            return None if labels.get(step.target_label, "") == value else labels
        case "replace":
            return _replace(step, pattern, labels, value)
        case "lowercase":
            return labels | {step.target_label: value.lower()}
        case "uppercase":
            return labels | {step.target_label: value.upper()}
        case "hashmod":
            number = int.from_bytes(hashlib.md5(value.encode(), usedforsecurity=False).digest()[8:], "big")
            return labels | {step.target_label: str(number % step.modulus)}
        case "labelmap":
            found = ((name, pattern.fullmatch(name)) for name in list(labels))
            return labels | {_expand(step.replacement, m): labels[name] for name, m in found if m}
        case "labeldrop":
            return {name: text for name, text in labels.items() if not pattern.fullmatch(name)}
        case "labelkeep":
            return {name: text for name, text in labels.items() if pattern.fullmatch(name)}


def _replace(step: RelabelConfig, pattern: Any, labels: dict[str, str], value: str) -> dict[str, str]:
    match = pattern.fullmatch(value)
    if match is None:
        return labels
    target = _expand(step.target_label, match)
    if not _LABEL.fullmatch(target):
        return labels
    text = _expand(step.replacement, match)
    if text:
        return labels | {target: text}
    return {name: old for name, old in labels.items() if name != target}


def _expand(template: str, match: Any) -> str:
    """Go's ``Regexp.Expand``: ``$1``, ``${1}``, ``$name``; an unknown group is empty, ``$$`` is ``$``."""

    def group(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        try:
            return match.group(int(name) if name.isdigit() else name) or ""
        except (IndexError, KeyError, re2.error):
            return ""

    return _REFERENCE.sub(group, template)
