"""Expositions decode to what a plain parser reads; what vanishes ends; any bytes are survived."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from detector.ingest.decode import Rejected, exposition_text
from detector.ingest.decode.exposition import Exposition, ExpositionDecoder
from detector.nouns import Batch, LabelSet
from detector.series.blocks import STALE_BITS
from detector.series.labels import Index
from detector.series.limits import Limits

TEXT = "text/plain; version=0.0.4"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TARGET = (("instance", "a:1"), ("job", "node"))
AT = 1_700_000_000_000


@dataclass(frozen=True)
class Scrape:
    body: bytes = b""
    content_type: str = TEXT
    at: int = AT
    target: str = "node/a:1"
    labels: LabelSet = TARGET
    seconds: float = 0.25
    error: str = ""
    gone: bool = False
    honor_timestamps: bool = True
    sample_limit: int = 0
    relabel: Callable[[LabelSet], LabelSet | None] | None = None


def read(scrape: Scrape, index: Index | None = None, decoder: ExpositionDecoder | None = None) -> Exposition:
    result = (decoder or ExpositionDecoder()).decode(scrape, index or Index(), Limits())
    assert isinstance(result, Exposition), result
    return result


def refused(scrape: Scrape, limits: Limits | None = None) -> Rejected:
    result = ExpositionDecoder().decode(scrape, Index(), limits or Limits())
    assert isinstance(result, Rejected), result
    return result


def samples(found: Exposition | Batch, index: Index) -> list[tuple[LabelSet, int, float]]:
    labels = [tuple(index.labels_of(id).items()) for id in found.series.tolist()]
    return list(zip(labels, found.at.tolist(), found.value.tolist(), strict=True))


names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,6}", fullmatch=True)
label_names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,4}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1, max_size=6)
label_sets = st.dictionaries(label_names, texts, max_size=3)
numbers = st.one_of(
    st.floats(width=64), st.floats(0, 1e6).map(lambda v: round(v, 3)), st.integers(-(10**20), 10**20).map(float)
)
rows = st.lists(
    st.tuples(names, label_sets, numbers, st.one_of(st.none(), st.integers(-(10**12), 10**13))), max_size=12
)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def written(name: str, labels: dict[str, str], value: float, at: int | None) -> str:
    block = ",".join(f'{k}="{escaped(v)}"' for k, v in labels.items())
    spelt = repr(value).replace("inf", "Inf").replace("nan", "NaN")
    return f"{name}{{{block}}} {spelt}" + (f" {at}" if at is not None else "")


def bits(value: float) -> bytes:
    return b"nan" if math.isnan(value) else struct.pack("<d", value)


@settings(max_examples=200, deadline=None)
@given(rows, st.booleans(), st.booleans())
def test_what_is_exposed_is_what_is_read(
    exposed: list[tuple[str, dict[str, str], float, int | None]], honor: bool, returns: bool
) -> None:
    body = "".join(written(*row) + ("\r\n" if returns else "\n") for row in exposed).encode()
    index, decoder = Index(), ExpositionDecoder()
    expected = [
        (tuple(sorted({**labels, "__name__": name}.items())), at if honor and at is not None else AT, bits(value))
        for name, labels, value, at in exposed if "__name__" not in labels
    ]  # fmt: skip
    for _ in range(2):
        found = read(Scrape(body, honor_timestamps=honor), index, decoder)
        assert [(labels, at, bits(v)) for labels, at, v in samples(found, index)] == expected


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.binary(max_size=200), st.text('# TYPEHLUNIO{}=",\\ax1.e+-\n ', max_size=120).map(str.encode)),
    st.sampled_from([TEXT, OPEN, ""]),
)
def test_any_bytes_are_read_or_refused(body: bytes, content_type: str) -> None:
    decoder, index = ExpositionDecoder(), Index()
    for _ in range(2):
        result = decoder.decode(Scrape(body, content_type), index, Limits())
        assert isinstance(result, Exposition) or (result.status, result.reason) == (400, "bad-exposition")
        batch = decoder.scrape(Scrape(body, content_type), index, Limits()).batch
        assert len(batch.series) >= 5


@settings(max_examples=300, deadline=None)
@given(st.from_regex(rb"[+-]?[0-9]{0,20}\.?[0-9]{0,24}([eE][+-]?[0-9]{1,3})?", fullmatch=True))
def test_numbers_are_read_to_the_last_bit(text: bytes) -> None:
    scrape = Scrape(b"x " + text + b"\n")
    try:
        expected = exposition_text.number(text)
    except ValueError:
        assert refused(scrape).status == 400
        return
    assert bits(float(read(scrape).value[0])) == bits(expected)


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    counter = Counter("requests", 'With "quotes"\nand lines', ["path"], registry=registry)
    counter.labels('/a "b"\\c\n').inc(3, exemplar={"trace": "x # y"})
    Gauge("temperature_celsius", "Now", unit="celsius", registry=registry).set(-3.25)
    Histogram("latency_seconds", "How long", registry=registry).observe(0.3)
    Summary("size", "How big", registry=registry).observe(7)
    return registry


def test_a_real_exposition_reads_as_the_client_library_reads_it(registry: CollectorRegistry) -> None:
    text = generate_latest(registry)
    index = Index()
    found = {labels: value for labels, _, value in samples(read(Scrape(text), index), index)}
    expected = {
        tuple(sorted({"__name__": s.name, **s.labels}.items())): s.value
        for family in text_string_to_metric_families(text.decode()) for s in family.samples
    }  # fmt: skip
    assert found == expected
    assert index.types.type_of("requests_total") == "counter"
    assert index.types.type_of("latency_seconds_bucket") == "histogram"
    assert index.types.get("requests_total").help == 'With "quotes"\nand lines'


def test_openmetrics_with_exemplars_units_and_seconds(registry: CollectorRegistry) -> None:
    text = generate_openmetrics(registry)
    index = Index()
    found = {dict(labels)["__name__"]: value for labels, _, value in samples(read(Scrape(text, OPEN), index), index)}
    assert found["requests_total"] == 3
    assert found["temperature_celsius"] == -3.25
    assert index.types.get("temperature_celsius").unit == "celsius"
    body = b'a{b="c"} 1 1520879607.789 # {trace="x"} 2 3\nb 2 1.5e9\nc 3\n# EOF\n'
    assert read(Scrape(body, OPEN)).at.tolist() == [1520879607789, 1_500_000_000_000, AT]
    assert read(Scrape(body, OPEN)).stamped.tolist() == [True, True, False]


def test_openmetrics_that_was_cut_off_or_goes_on_is_refused() -> None:
    assert "cut off" in refused(Scrape(b"a 1\n", OPEN)).detail
    assert "line 3" in refused(Scrape(b"a 1\n# EOF\nb 1\n", OPEN)).detail


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"a",
        b"a{",
        b'a{b="c} 1',
        b"a{b=c} 1",
        b"a b",
        b"a 1 x",
        b"a 1 2 3",
        b"1a 1",
        b"a 1_0",
        b"a 0x1",
        b'a{b="c"d="e"} 1',
        b'{b="c"} 1 \xff',
        b"a 1 1e300",
    ],
)
def test_a_bad_line_fails_the_scrape_and_is_named(line: bytes) -> None:
    result = refused(Scrape(b"ok 1\n" + line + b"\n"))
    assert result.reason == "bad-exposition"
    assert "line 2" in result.detail


def test_bad_series_cost_only_themselves() -> None:
    index, decoder = Index(), ExpositionDecoder()
    for _ in range(2):
        decoded = decoder.scrape(Scrape(b'a{b="\xff"} 1\nc{d="1",d="2"} 1\nok 1\n'), index, Limits())
        assert decoded.rejected == {"bad-utf8": 1, "duplicate-label": 1}
        assert samples(decoded.batch, index)[0][0] == (("__name__", "ok"),)


def test_limits_of_samples_and_bytes() -> None:
    body = b"a 1\nb 2\nc 3\n"
    assert refused(Scrape(body, sample_limit=2)).reason == "sample-limit"
    assert refused(Scrape(body), Limits(body_bytes=5)).status == 413
    assert refused(Scrape(body), Limits(samples_per_request=2)).reason == "too-many-samples"
    dropped = Scrape(body, sample_limit=2, relabel=lambda labels: None if ("__name__", "a") in labels else labels)
    assert len(read(dropped).series) == 2


def test_relabelling_runs_once_a_series() -> None:
    calls = []

    def relabel(labels: LabelSet) -> LabelSet | None:
        calls.append(labels)
        return None if ("__name__", "drop") in labels else (*labels, ("job", "node"))

    index, decoder = Index(), ExpositionDecoder()
    for _ in range(3):
        found = read(Scrape(b"# HELP a b\na 1\ndrop 2\n", relabel=relabel), index, decoder)
        assert samples(found, index) == [((("__name__", "a"), ("job", "node")), AT, 1.0)]
        assert (found.scraped, found.kept) == (2, 1)
    assert len(calls) == 2


ABOUT = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
]


def scraped(decoder: ExpositionDecoder, index: Index, scrape: Scrape) -> dict[str, float | str]:
    """Metric to value; "stale" for a marker."""
    batch = decoder.scrape(scrape, index, Limits()).batch
    stale = batch.value.view(np.int64) == STALE_BITS
    named = [dict(labels)["__name__"] for labels, _, _ in samples(batch, index)]
    return {n: "stale" if s else v for n, s, v in zip(named, stale.tolist(), batch.value.tolist(), strict=True)}


def test_a_scrape_tells_about_itself_and_what_vanishes_ends() -> None:
    index, decoder = Index(), ExpositionDecoder()
    first = Scrape(b"a 1\nb 2\nstamped 3 1600000000000\n")
    assert scraped(decoder, index, first) == {
        "a": 1,
        "b": 2,
        "stamped": 3,
        **dict(zip(ABOUT, [1, 0.25, 3, 3, 3], strict=True)),
    }
    assert scraped(decoder, index, replace(first, body=b"a 1\n", at=AT + 15_000)) == {
        "a": 1,
        "b": "stale",
        **dict(zip(ABOUT, [1, 0.25, 1, 1, 0], strict=True)),
    }
    assert scraped(decoder, index, replace(first, body=b"", error="refused", at=AT + 30_000)) == {
        "a": "stale",
        **dict(zip(ABOUT, [0, 0.25, 0, 0, 0], strict=True)),
    }
    assert scraped(decoder, index, replace(first, body=b"", error="refused", at=AT + 45_000)) == dict(
        zip(ABOUT, [0, 0.25, 0, 0, 0], strict=True)
    )
    assert scraped(decoder, index, replace(first, at=AT + 60_000))["a"] == 1
    assert scraped(decoder, index, replace(first, body=b"", gone=True, at=AT + 75_000)) == {
        "a": "stale",
        "b": "stale",
        **dict.fromkeys(ABOUT, "stale"),
    }


def test_a_body_that_cannot_be_read_is_a_failed_scrape() -> None:
    index, decoder = Index(), ExpositionDecoder()
    decoder.scrape(Scrape(b"a 1\n"), index, Limits())
    decoded = decoder.scrape(Scrape(b"a one\n", at=AT + 1), index, Limits())
    assert decoded.rejected == {"bad-exposition": 1}
    assert "node/a:1: line 1: 'one' is not a number" in decoded.first[0]
    found = samples(decoded.batch, index)
    assert (found[1][0], found[1][2]) == ((("__name__", "up"), ("instance", "a:1"), ("job", "node")), 0.0)


def test_series_of_a_target_share_the_cohort_that_remote_write_would_give_them() -> None:
    index, decoder = Index(), ExpositionDecoder()
    scrape = Scrape(b"a 1\n", relabel=lambda labels: tuple(sorted(labels + TARGET)))
    batch = decoder.scrape(scrape, index, Limits()).batch
    assert {index.target_of(id) for id in batch.series.tolist()} == {"node\xffa:1"}
    assert {b.labels for b in batch.born} == {tuple(index.labels_of(id).items()) for id in batch.series.tolist()}
