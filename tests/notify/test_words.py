"""Numbers, times and foreign text as people read them."""

from __future__ import annotations

import unicodedata
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector import words
from detector.nouns import Impact
from tests.notify.tickets import HOUR, MINUTE, NOW, at, impact

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (1.4 * 2**30, "bytes", "1.4 GiB"),
        (0.0, "bytes", "0 B"),
        (1023.7, "bytes", "1 KiB"),
        (-3 * 2**20, "bytes", "-3 MiB"),
        (2.5 * 2**20, "bytes/s", "2.5 MiB/s"),
        (0.038, "seconds", "38 ms"),
        (0.0004, "seconds", "400 µs"),
        (2.4, "seconds", "2.4 s"),
        (400.0, "seconds", "6.67 min"),
        (5400.0, "seconds", "90 min"),
        (90_000.0, "seconds", "25 h"),
        (38.0, "milliseconds", "38 ms"),
        (0.12, "ratio", "12 %"),
        (0.0005, "ratio", "0.05 %"),
        (91.0, "percent", "91 %"),
        (71.26, "celsius", "71.3 °C"),
        (12480.0, "", "12,480"),
        (12480.0, "requests", "12,480 requests"),
        (0.0000123, "", "1.23e-05"),
        (float("nan"), "bytes", "no value"),
        (None, "", "no value"),
        (float("inf"), "", "∞"),
    ],
)
def test_quantities(value: float | None, unit: str, said: str) -> None:
    assert words.quantity(value, unit) == said


@pytest.mark.parametrize(
    ("metric", "unit"),
    [("node_filesystem_avail_bytes", "bytes"), ("process_cpu_seconds_total", ""), ("x_ratio", "ratio"), ("up", ""),
     ("request_duration_seconds", "seconds"), ("bytes", "")],
)  # fmt: skip
def test_a_metrics_name_declares_its_unit(metric: str, unit: str) -> None:
    assert words.unit_of(metric) == unit


@pytest.mark.parametrize(
    ("length", "said"),
    [(0, "0 s"), (45_000, "45 s"), (38 * MINUTE, "38 min"), (130 * MINUTE, "2 h 10 min"), (120 * MINUTE, "2 h"),
     (20 * HOUR + 20 * MINUTE, "20 h"), (3 * 24 * HOUR, "3 days"), (-38 * MINUTE, "38 min")],
)  # fmt: skip
def test_spans(length: int, said: str) -> None:
    assert words.span(length) == said


def test_relative_times() -> None:
    assert words.relative(NOW + 38 * MINUTE, NOW) == "in 38 min"
    assert words.relative(NOW - 4 * MINUTE, NOW) == "4 min ago"
    assert words.relative(NOW + 400, NOW) == "now"


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        (Impact(NOW + 31 * MINUTE, NOW + 38 * MINUTE, NOW + 52 * MINUTE), "in 38 min (31-52)"),
        (Impact(NOW + 150 * MINUTE, NOW + 180 * MINUTE, NOW + 250 * MINUTE), "in 3 h (2.5-4.2)"),
        (Impact(NOW - MINUTE, NOW + 40_000, NOW + 60_000), "in 40 s (0-60)"),
        (Impact(NOW + MINUTE * 5, NOW + MINUTE * 5, NOW + MINUTE * 5), "in 5 min"),
        (Impact(NOW + 31 * MINUTE, NOW + 38 * MINUTE, NOW + 10**11), "in 38 min (31 or more)"),
        (Impact(NOW - 20 * MINUTE, NOW - MINUTE, NOW + 12 * MINUTE), "any moment, within 12 min"),
        (Impact(NOW - 20 * MINUTE, NOW - 9 * MINUTE, NOW - 5 * MINUTE), "overdue by 5 min"),
    ],
)
def test_intervals_stay_intervals(expected: Impact, said: str) -> None:
    assert words.within(expected, NOW) == said


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        (impact("11:25", "11:40", "12:05"), "11:40 (11:25-12:05)"),
        (impact("11:00", "11:40", "12:05"), "11:40 (11:06-12:05)"),  # its beginning has passed
        (impact("10:00", "11:00", "12:05"), "by 12:05"),
        (impact("11:40", "11:40", "11:40"), "11:40"),
        (Impact(at("11:25"), at("11:40"), NOW + 10**11), "11:40 (11:25 or later)"),
        (Impact(at("23:30"), at("23:50"), at("23:50") + 40 * MINUTE), "23:50 (23:30-19 Nov 00:30)"),
        (
            Impact(at("11:00") + 24 * HOUR, at("12:00") + 24 * HOUR, at("14:00") + 24 * HOUR),
            "19 Nov 12:00 (11:00-14:00)",
        ),
        (
            Impact(at("23:00"), at("01:00") + 24 * HOUR, at("03:00") + 24 * HOUR),
            "19 Nov 01:00 (18 Nov 23:00-19 Nov 03:00)",
        ),
    ],
)
def test_absolute_times_carry_a_date_only_where_it_changes(expected: Impact, said: str) -> None:
    assert words.between(expected, NOW, UTC) == said


def test_times_are_the_readers_and_survive_a_change_of_the_clocks() -> None:
    assert words.clock(NOW, NOW, BERLIN) == "12:06"
    summer = 1_782_000_000_000  # 2026-06-21 00:00 UTC
    assert words.clock(summer, NOW, BERLIN) == "21 Jun 02:00"
    assert words.clock(at("23:30"), NOW, BERLIN) == "19 Nov 00:30"


@settings(deadline=None)
@given(st.integers(-(10**20), 10**20), st.integers(0, 10**14))
def test_no_time_is_too_far(when: int, now: int) -> None:
    assert words.clock(when, now, BERLIN)
    assert words.within(Impact(when, when, when), now)
    assert words.between(Impact(when, when, when), now, BERLIN)


# --- foreign text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hostile", "said"),
    [
        ("a\r\nSubject: x\x00\x1b[2J", "a Subject: x [2J"),
        ("pay\u202egnp.exe", "paygnp.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("@here and @channel", "\uff20here and \uff20channel"),
        ("x@everyone", "x\uff20everyone"),
        ("write to anna@example.org", "write to anna@example.org"),
        ("lone \ud800 half", "lone \ufffd half"),
        ("  much \t white\u2028space ", "much white space"),
        ("family \U0001f468\u200d\U0001f469", "family \U0001f468\u200d\U0001f469"),
    ],
)
def test_foreign_text_cannot_change_what_surrounds_it(hostile: str, said: str) -> None:
    assert words.plain(hostile) == said


def test_piles_of_marks_are_flattened() -> None:
    assert words.plain("a" + "\u0301" * 500 + "b") == "a" + "\u0301" * 4 + "b"


@settings(deadline=None)
@given(st.text(), st.integers(1, 60))
def test_plain_text_is_one_line_within_its_limit(text: str, limit: int) -> None:
    said = words.plain(text, limit)
    assert len(said) <= limit
    assert all(unicodedata.category(char) not in ("Cc", "Zl", "Zp", "Cs") for char in said)
    assert said == said.strip()
    said.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "limit", "said"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("cafe\u0301s are", 5, "caf…"),  # not between e and its accent
        ("ab\U0001f468\u200d\U0001f469\u200d\U0001f467cd", 6, "ab…"),
        ("a\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", 4, "a\U0001f1e9\U0001f1ea…"),
        ("\U0001f44d\U0001f3fd!", 2, "…"),
        ("x", 0, ""),
    ],
)
def test_a_cut_never_parts_what_is_read_as_one_character(text: str, limit: int, said: str) -> None:
    assert words.cut(text, limit) == said
