"""A reader of Prometheus's own PromQL test scripts (``load``, ``eval``, ``expect``): only what float cases need."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from detector.options import parse_duration

STALE = "stale"
HISTOGRAM = "histogram"
Sample = float | str | None
_EXPERIMENTAL = re.compile(
    r"(?<!@)(?<!@ )\b(end|histogram_quantiles|double_exponential_smoothing|info|max_of|min_of|mad_over_time|"
    r"ts_of_\w+_over_time|range|sort_by_label(_desc)?|start|start_timestamp|step|limitk|limit_ratio)\b"
    r"\s*((by|without)\s*\([^)]*\))?\s*\(|\b(anchored|smoothed)\b|\bfill(_left|_right)?\s*\(|</|>/"
    r"|\[[^\]]*[-+*/(^][^\]]*\]|\boffset\s*[-+]?\s*\("
)
_STRING = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)""")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_NUMBER = r"[+-]?(?:[iI][nN][fF]|[nN][aA][nN]|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_TOKEN = re.compile(rf"({_NUMBER})(?:([+-](?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))?(?:x(\d+))?")


@dataclass
class Load:
    step: int
    series: list[tuple[dict[str, str], list[Sample]]]
    converted: bool
    start_times: bool


@dataclass
class Case:
    """One ``eval``. ``end``/``step`` are 0 for an instant query."""

    line: int
    expr: str
    start: int
    end: int = 0
    step: int = 0
    fails: bool = False
    ordered: bool = False
    scalar: float | None = None
    string: str | None = None
    vector_range: tuple[int, int, int] | None = None
    expected: list[tuple[dict[str, str], list[Sample]]] = field(default_factory=list)
    histograms: bool = False


Command = Load | Case


def duration(text: str) -> int:
    text = text.strip()
    if text.startswith("-"):
        return -parse_duration(text[1:])
    return parse_duration(text)


def quoted(text: str, i: int) -> tuple[str, int]:
    """The Go string literal at ``text[i]`` and where it ends."""
    match = _STRING.match(text, i)
    assert match, text
    body = match[0][1:-1]
    if match[0][0] != "`":
        body = re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[0-7]{3}|.)", lambda m: _escape(m[1]), body)
    return body, match.end()


def _escape(code: str) -> str:
    if code[0] in "xu":
        return chr(int(code[1:], 16))
    if code.isdigit():
        return chr(int(code, 8))
    return {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}.get(code, code)


def metric(text: str) -> tuple[dict[str, str], str]:
    """``name{label="value"}`` and what follows it."""
    labels: dict[str, str] = {}
    i = 0
    if match := _NAME.match(text):
        labels["__name__"] = match[0]
        i = match.end()
    if text[i:].lstrip().startswith("{") and not text[i:].lstrip().startswith("{{"):
        i = text.index("{", i) + 1
        while True:
            while text[i] in " \t,":
                i += 1
            if text[i] == "}":
                i += 1
                break
            if text[i] in "\"'`":
                name, i = quoted(text, i)
            else:
                match = _NAME.match(text, i)
                assert match, text
                name, i = match[0], match.end()
            while text[i] in " \t":
                i += 1
            if text[i] != "=":
                labels["__name__"] = name
                continue
            i += 1
            while text[i] in " \t":
                i += 1
            labels[name], i = quoted(text, i)
    return {name: value for name, value in labels.items() if value}, text[i:]


def samples(text: str) -> list[Sample]:
    """``1+2x3 _ stale NaN``; native histograms become the text ``histogram``."""
    out: list[Sample] = []
    text = re.sub(r"\{\{.*?\}\}(?:[+-]\{\{.*?\}\})?(?:x\d+)?", " {{}} ", text)
    for token in text.split():
        if token == "{{}}":
            out.append(HISTOGRAM)
        elif token == "stale":
            out.append(STALE)
        elif token.startswith("_"):
            out += [None] * (int(token[2:]) if token.startswith("_x") else 1)
        else:
            match = _TOKEN.fullmatch(token)
            assert match, token
            value, step = float(match[1]), float(match[2] or 0)
            for _ in range(int(match[3] or 0) + 1):
                out.append(value)
                value += step
    return out


def sections(text: str) -> Iterator[list[Command]]:
    """The script's commands, one list per ``clear``."""
    lines = ["" if line.strip().startswith("#") else line.strip() for line in text.split("\n")]
    commands: list[Command] = []
    i = 0
    while i < len(lines):
        line = lines[i]
        i += 1
        if line == "clear":
            yield commands
            commands = []
        elif line.startswith("load"):
            head = line.split()
            body: list[str] = []
            while i < len(lines) and lines[i]:
                body.append(lines[i])
                i += 1
            commands.append(_load(head, body))
        elif line.startswith("eval"):
            case = _head(line, i)
            while i < len(lines) and lines[i]:
                i += 1
                if _expectation(case, lines[i - 1]):
                    break
            commands.append(case)
    yield commands


def _load(head: list[str], body: list[str]) -> Load:
    series: dict[tuple[tuple[str, str], ...], tuple[dict[str, str], list[Sample]]] = {}
    for line in body:
        if not re.match(r"\S+@st\s", line):
            labels, rest = metric(line)
            series[tuple(sorted(labels.items()))] = (labels, samples(rest))  # said twice: the later line counts
    start_times = any(re.match(r"\S+@st\s", line) for line in body)
    return Load(duration(head[1]), list(series.values()), head[0] != "load", start_times)


def _head(line: str, number: int) -> Case:
    match = re.match(r"eval(?:_(\w+))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(\S+)\s+(.+)", line)
    if match:
        start, end, step = (duration(match[i]) for i in (2, 3, 4))
        case = Case(number, match[5], start, end, step)
    else:
        match = re.match(r"eval(?:_(\w+))?\s+instant\s+(?:at\s+(\S+)\s+)?(.+)", line)
        assert match, line
        case = Case(number, match[3], duration(match[2] or "0"))
    case.fails, case.ordered = match[1] == "fail", match[1] == "ordered"
    return case


def _expectation(case: Case, line: str) -> bool:
    """Take one line after ``eval``; True when it was the last."""
    if line.startswith(("expected_fail_message", "expected_fail_regexp")):
        return True
    if match := re.match(r"expect range vector\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)", line):
        case.vector_range = (duration(match[1]), duration(match[2]), duration(match[3]))
        case.start = case.vector_range[1]
    elif line.startswith("expect string"):
        case.string = quoted(line.removeprefix("expect string").strip(), 0)[0]
    elif line.startswith("expect "):
        case.fails |= line.startswith("expect fail")
        case.ordered |= line.startswith("expect ordered")
    elif re.fullmatch(_NUMBER, line):
        case.scalar = float(line)
        return True
    else:
        labels, rest = metric(line)
        case.expected.append((labels, samples(rest)))
        case.histograms |= HISTOGRAM in case.expected[-1][1]
    return False


def unsupported(case: Case, native: set[str]) -> str | None:
    """Why a case is none of this engine's: native histograms, or experimental syntax; None when it is."""
    bare = _STRING.sub('""', case.expr)
    nameless = re.search(r"(?<![\w:\"\]])\{", re.sub(r"\b(by|without|on|ignoring)\s*\{", "", bare))
    if case.histograms or any(re.search(rf"(?<![\w:.]){re.escape(n)}(?![\w:.])", case.expr) for n in native):
        return "native histogram"
    if native and nameless:
        return "native histogram"
    if re.search(r"\bhistogram_(count|sum|avg|stddev|stdvar|fraction)\b", bare):
        return "native histogram"
    return "experimental" if _EXPERIMENTAL.search(bare) else None


def native_names(commands: list[Command]) -> set[str]:
    """Metrics that carry native histograms somewhere in a section."""
    names = set()
    for load in commands:
        if isinstance(load, Load):
            for labels, values in load.series:
                name = labels.get("__name__", "")
                names |= {name} if HISTOGRAM in values else set()
                names |= {re.sub(r"_(bucket|count|sum)$", "", name)} if load.converted else set()
    return names


def almost_equal(want: float, got: float) -> bool:
    """Upstream's comparison: a relative difference of 1e-6."""
    if math.isnan(want) or math.isnan(got):
        return math.isnan(want) and math.isnan(got)
    if want == got:
        return True
    if math.isinf(want) or math.isinf(got):
        return False
    return abs(want - got) / min(abs(want) + abs(got), 1.7e308) < 1e-6
