"""The functions of alert templates: numbers as people read them, Go's ``printf``, and text.

What they do follows Prometheus's ``template/template.go`` and Go's ``fmt``; wrong arguments raise
:class:`TemplateError`, which becomes text in the annotation.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote_plus

import re2

from detector.options import parse_duration

MAX_TEXT = 65_536
_QUIET = re2.Options()
_QUIET.log_errors = False
_VERB = re.compile(r"%([-+# 0]*)(\d{0,3})(?:\.(\d{0,3}))?(.)", re.DOTALL)
_WORD = re.compile(r"\b[a-z]")


class TemplateError(Exception):
    """The template cannot be expanded; the message says why."""


def bounded(size: int) -> int:
    """``size``, if a text may be that long; before it is made."""
    if size > MAX_TEXT:
        raise TemplateError(f"the text is longer than {MAX_TEXT} characters")
    return size


def number(value: Any) -> float:
    """A template's number: a float, an int, or text that is one (also as a duration)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TemplateError(f"can't convert {type(value).__name__} to float")
    try:
        return float(value)
    except ValueError:
        raise TemplateError(f'strconv.ParseFloat: parsing "{value}": invalid syntax') from None
    except OverflowError:
        return math.inf


def shortest(value: float, digits: int | None = None) -> str:
    """Go's ``%g``: shortest when ``digits`` is None, else that many significant digits."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if digits is not None:
        return f"{value:.{digits}g}"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    scientific = _scientific(value)
    if -4 <= int(scientific.partition("e")[2]) < 6:
        return format(Decimal(scientific), "f")
    return scientific


def _scientific(value: float) -> str:
    """The shortest digits that read back, as d.ddde+XX."""
    exact = (f"{value:.{digits}e}" for digits in range(17))
    return next(text for text in exact if float(text) == value)


def text_of(value: Any) -> str:
    """As Go's ``%v`` prints it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return shortest(value)
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{k}:{text_of(v)}" for k, v in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(text_of(v) for v in value) + "]"
    return str(value)


def printf(pattern: Any, *args: Any) -> str:
    """Go's ``Sprintf`` for the verbs that annotations use; a wrong verb shows as ``%!d(float64=1.5)``."""
    if not isinstance(pattern, str):
        raise TemplateError("printf needs a format")
    rest = list(args)
    size = len(pattern)

    def verb(match: re.Match[str]) -> str:
        nonlocal size
        if match[4] == "%":
            return "%"
        if not rest:
            return f"%!{match[4]}(MISSING)"
        text = _formatted(match[1], int(match[2] or 0), match[3], match[4], rest.pop(0))
        size = bounded(size + len(text))
        return text

    out = _VERB.sub(verb, pattern)
    if rest:
        extra = ", ".join(f"{_go_type(value)}={text_of(value)}" for value in rest)
        out += f"%!(EXTRA {extra})"
    return out


def _formatted(flags: str, width: int, precision: str | None, verb: str, value: Any) -> str:
    number_ = isinstance(value, int | float) and not isinstance(value, bool)
    if verb in "feEgG" and isinstance(value, float):
        body = _float_verb(verb, precision, value)
    elif verb == "d" and isinstance(value, int) and not isinstance(value, bool):
        body = str(value)
    elif verb in "xX" and isinstance(value, int) and not isinstance(value, bool):
        body = format(value, verb)
    elif verb == "t" and isinstance(value, bool):
        body = text_of(value)
    elif verb == "q" and isinstance(value, str):
        body = '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    elif verb == "s" and not number_:
        body = text_of(value)[: int(precision) if precision else None]
    elif verb == "v":
        body = text_of(value)
    else:
        return f"%!{verb}({_go_type(value)}={text_of(value)})"
    if number_ and not body.startswith(("-", "+")):
        body = "+" + body if "+" in flags else " " + body if " " in flags else body
    if "-" in flags:
        return body.ljust(width)
    if "0" in flags and number_ and math.isfinite(float(value)):
        return body.zfill(width)
    return body.rjust(width)


def _float_verb(verb: str, precision: str | None, value: float) -> str:
    if not math.isfinite(value):
        return shortest(value)
    if verb in "gG":
        return shortest(value, None if precision is None else max(1, int(precision or 0)))
    return f"{value:.{6 if precision is None else int(precision or 0)}{verb}}"


def _go_type(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float64", str: "string"}
    return names.get(type(value), type(value).__name__)


# --- numbers as people read them ---------------------------------------------------------------------------------


def humanize(value: Any) -> str:
    """``1234567`` -> ``1.235M``, ``0.012`` -> ``12m``."""
    v = number(value)
    if v == 0 or not math.isfinite(v):
        return shortest(v, 4)
    prefix = ""
    if abs(v) >= 1:
        for unit in "kMGTPEZY":
            if abs(v) < 1000:
                break
            prefix = unit
            v /= 1000
    else:
        v, prefix = _small(v)
    return shortest(v, 4) + prefix


def _small(v: float) -> tuple[float, str]:
    prefix = ""
    for unit in "munpfazy":
        if abs(v) >= 1:
            break
        prefix = unit
        v *= 1000
    return v, prefix


def humanize1024(value: Any) -> str:
    """``1572864`` -> ``1.5Mi``."""
    v = number(value)
    if abs(v) <= 1 or not math.isfinite(v):
        return shortest(v, 4)
    prefix = ""
    for unit in ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"):
        if abs(v) < 1024:
            break
        prefix = unit
        v /= 1024
    return shortest(v, 4) + prefix


def humanize_duration(value: Any) -> str:
    """Seconds: ``5400`` -> ``1h 30m 0s``, ``0.25`` -> ``250ms``."""
    v = number(value)
    if not math.isfinite(v):
        return shortest(v, 4)
    if v == 0:
        return shortest(v, 4) + "s"
    if abs(v) < 1:
        v, prefix = _small(v)
        return shortest(v, 4) + prefix + "s"
    sign, v = ("-", -v) if v < 0 else ("", v)
    minutes, seconds = divmod(int(v), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {seconds}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {seconds}s"
    if minutes:
        return f"{sign}{minutes}m {seconds}s"
    return f"{sign}{shortest(v, 4)}s"


def humanize_percentage(value: Any) -> str:
    """``0.1234`` -> ``12.34%``."""
    return shortest(number(value) * 100, 4) + "%"


def humanize_timestamp(value: Any) -> str:
    """Unix seconds as ``2026-11-24 08:30:00 +0000 UTC``."""
    v = number(value)
    if not math.isfinite(v):
        return shortest(v, 4)
    return _instant(v).strftime("%Y-%m-%d %H:%M:%S") + _fraction(v) + " +0000 UTC"


def _instant(seconds: float) -> datetime:
    if not 0 <= seconds < 253_402_300_800:
        raise TemplateError(f"{shortest(seconds)} cannot be represented as a time")
    return datetime.fromtimestamp(int(seconds), UTC)


def _fraction(seconds: float) -> str:
    ms = round((seconds - int(seconds)) * 1000)
    return f".{ms:03d}".rstrip("0") if 0 < ms < 1000 else ""


# --- text and the like -------------------------------------------------------------------------------------------


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TemplateError(f"wrong type for value; expected string; got {_go_type(value)}")
    return value


def _regex(pattern: Any) -> Any:
    try:
        return re2.compile(_string(pattern), _QUIET)
    except re2.error as error:
        raise TemplateError(f"bad regular expression: {error}") from None


def re_replace_all(pattern: Any, replacement: Any, text: Any) -> str:
    """RE2: linear in the text, whatever the pattern."""
    go = re.sub(r"\$(?:\{(\w+)\}|(\d+))", lambda m: f"\\g<{m[1] or m[2]}>", _string(replacement).replace("\\", "\\\\"))
    bounded((len(_string(text)) + 1) * max(1, len(go)) // 64)  # the longest that the result could be, nearly
    try:
        return str(_regex(pattern).sub(go, _string(text)))
    except (re2.error, IndexError, KeyError) as error:
        raise TemplateError(f"bad replacement: {error}") from None


def strip_port(text: Any) -> str:
    """``host:9100`` -> ``host``."""
    host = _string(text)
    match = re.fullmatch(r"\[(.*)\]:\d+|([^:]*):\d+", host)
    return host if match is None else match[1] or match[2] or ""


def strip_domain(text: Any) -> str:
    """``db1.example.org:9100`` -> ``db1:9100``; addresses stay."""
    host, colon, port = _string(text).rpartition(":") if re.search(r":\d+$", _string(text)) else (_string(text), "", "")
    if re.fullmatch(r"[0-9.]+|\[?[0-9a-fA-F:]+\]?", host):
        return _string(text)
    return host.split(".")[0] + colon + port


def _sprint(*args: Any) -> str:
    bounded(sum(len(a) for a in args if isinstance(a, str)))
    return " ".join(text_of(a) for a in args)


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, list | Mapping):
        return len(value)
    raise TemplateError(f"len of type {_go_type(value)}")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, "")
        elif isinstance(value, list | str) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise TemplateError(f"error calling index: cannot index {_go_type(value)} with {text_of(key)}")
    return value


def _compare(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def function(a: Any, b: Any) -> bool:
        if isinstance(a, str) != isinstance(b, str) or not isinstance(a, int | float | str):
            raise TemplateError("incompatible types for comparison")
        return holds(a, b)

    return function


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TemplateError("missing argument for comparison")
    return any(first == other for other in others)


def _duration_seconds(text: Any) -> float:
    try:
        return parse_duration(_string(text)) / 1000
    except ValueError as error:
        raise TemplateError(str(error)) from None


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "humanize": humanize,
    "humanize1024": humanize1024,
    "humanizeDuration": humanize_duration,
    "humanizePercentage": humanize_percentage,
    "humanizeTimestamp": humanize_timestamp,
    "toTime": humanize_timestamp,
    "parseDuration": _duration_seconds,
    "title": lambda text: _WORD.sub(lambda m: m[0].upper(), _string(text)),
    "toUpper": lambda text: _string(text).upper(),
    "toLower": lambda text: _string(text).lower(),
    "match": lambda pattern, text: _regex(pattern).search(_string(text)) is not None,
    "reReplaceAll": re_replace_all,
    "stripPort": strip_port,
    "stripDomain": strip_domain,
    "safeHtml": lambda text: text,
    "htmlEscape": lambda text: html.escape(text_of(text)),
    "html": lambda text: html.escape(text_of(text)),
    "urlquery": lambda text: quote_plus(text_of(text)),
    "urlQueryEscape": lambda text: quote_plus(text_of(text)),
    "printf": printf,
    "print": _sprint,
    "println": lambda *args: _sprint(*args) + "\n",
    "len": _length,
    "index": _index,
    "not": lambda value: not value,
    "eq": _equal,
    "ne": lambda a, b: not _equal(a, b),
    "lt": _compare(lambda a, b: a < b),
    "le": _compare(lambda a, b: a <= b),
    "gt": _compare(lambda a, b: a > b),
    "ge": _compare(lambda a, b: a >= b),
}
