"""Templates print what Go's would, and no template stalls, grows without end or raises."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.rules.template_functions import MAX_TEXT, TemplateError, shortest
from detector.rules.templates import Context, expand, parse

LABELS = {"instance": "db1.example.org:9100", "job": "node", "mountpoint": "/data"}


def query(text: str) -> list[dict[str, Any]]:
    return [] if text == "none" else [{"Labels": {"a": "x"}, "Value": 3.0}, {"Labels": {"a": "b"}, "Value": 4.5}]


def show(source: str, value: float = 0.912345) -> str:
    return expand(parse(source), Context(LABELS, value, {"cluster": "eu"}, query=query))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("{{ $labels.instance }} is at {{ $value }}", "db1.example.org:9100 is at 0.912345"),
        ("{{ .Labels.job | toUpper }} {{ .Value | humanizePercentage }}", "NODE 91.23%"),
        ("{{ $labels.nothing }}|{{ $externalLabels.cluster }}", "|eu"),
        ('{{ printf "%.2f%% of %s" $value $labels.job }}', "0.91% of node"),
        ('{{ printf "%5.1f|%-6s|%05d|%x|%q|%v" 3.14159 "ab" 42 255 "q" true }}', '  3.1|ab    |00042|ff|"q"|true'),
        ('{{ printf "%d" $value }}', "%!d(float64=0.912345)"),
        ('{{ printf "%s" }}{{ printf "x" 1 }}', "%!s(MISSING)x%!(EXTRA int=1)"),
        ("{{ humanize 1234567 }} {{ humanize 0.012 }} {{ humanize1024 1572864.0 }}", "1.235M 12m 1.5Mi"),
        ("{{ humanizeDuration 93784 }} {{ humanizeDuration 0.25 }}", "1d 2h 3m 4s 250ms"),
        ("{{ humanizeTimestamp 1700000000.5 }}", "2023-11-14 22:13:20.5 +0000 UTC"),
        ("{{ 1234567.0 }} {{ 100000.0 }} {{ 0.00001 }}", "1.234567e+06 100000 1e-05"),
        ("{{ if gt $value 0.9 }}high{{ else if gt $value 0.5 }}mid{{ else }}low{{ end }}", "high"),
        ("{{ range query `up` }}{{ .Labels.a }}={{ .Value }};{{ end }}", "x=3;b=4.5;"),
        ('{{ range query "none" }}x{{ else }}nothing{{ end }}', "nothing"),
        ('{{ with query "up" }}{{ . | first | value }}{{ end }}', "3"),
        ('{{ (query "up" | sortByLabel "a" | first).Labels.a }}', "b"),
        ("{{ range $name, $text := $labels }}{{ $name }},{{ end }}", "instance,job,mountpoint,"),
        ("{{ $n := 0 }}{{ range query `up` }}{{ $n = 7 }}{{ end }}{{ $n }}", "7"),
        ('{{ reReplaceAll "(.*):.*" "$1" $labels.instance }}', "db1.example.org"),
        ("{{ stripPort $labels.instance }} {{ stripDomain $labels.instance }}", "db1.example.org db1:9100"),
        ('{{ title "disk full" }} {{ match "^d" "disk" }}', "Disk Full true"),
        ("a {{- /* a comment */ -}} b {{- `c` }}", "abc"),
        ('{{ index $labels "job" }}{{ len $labels }}{{ eq $labels.job "x" "node" }}', "node3true"),
        ("{{ and 1 0 }}{{ or 0 2 }}{{ not true }}", "02false"),
        ("{{ .Value.x }}", "<error expanding template: can't evaluate field x in type float>"),
        ('{{ query "none" | first }}', "<error expanding template: first() called on vector with no elements>"),
        (
            "{{ humanize $labels.job }}",
            '<error expanding template: strconv.ParseFloat: parsing "node": invalid syntax>',
        ),
        ("{{ $nobody }}", '<error expanding template: undefined variable "$nobody">'),
    ],
)
def test_what_it_prints(source: str, text: str) -> None:
    assert show(source) == text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ $value", "unclosed action"),
        ("{{ nonsense $value }}", 'function "nonsense" not defined'),
        ("{{ if $value }}", "if without end"),
        ("{{ end }}", "unexpected {{end}}"),
        ("{{ define `x` }}{{ end }}", "define is not supported"),
        ("{{ }}", "missing value"),
        ("{{ (1 }}", "unclosed left parenthesis"),
        ("{{ if 1 }}" * 40 + "{{ end }}" * 40, "nested deeper"),
    ],
)
def test_what_is_refused_when_loading(source: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message.replace("{", "\\{").replace("(", "\\(")):
        parse(source)


def test_output_and_time_are_bounded() -> None:
    bomb = "{{ $s := `xxxxxxxxxxxxxxxx` }}" + "{{ $s = printf `%s%s` $s $s }}" * 60 + "{{ $s }}"
    begun = time.monotonic()
    assert show(bomb).startswith("<error expanding template")
    nested = "{{ range query `up` }}" * 30 + "x{{ $value }}" + "{{ end }}" * 30
    assert "more than" in show(nested) or "longer" in show(nested)
    assert time.monotonic() - begun < 2


@given(st.text(alphabet='{}$.|"` ()abif end range0123:=,-\n', max_size=80))
def test_no_template_raises(source: str) -> None:
    try:
        template = parse("{{" + source + "}}")
    except TemplateError:
        return
    assert len(expand(template, Context(LABELS, 1.5, query=query))) <= MAX_TEXT + 200


@given(st.floats())
def test_numbers_read_back(value: float) -> None:
    text = shortest(value)
    assert float(text) == value or value != value
