"""How people read numbers, times and foreign text: one wording for messages, pages, charts and the terminal.

Pure functions over plain values. Times are ms UTC; the zone is the reader's. Text from labels, annotations and reports
is hostile until :func:`plain` has seen it; escaping for a format (HTML, Markdown) comes after that, at the format.
"""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import UTC, datetime, tzinfo

from detector.nouns import Impact

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LAST = 253_402_000_000_000  # late in the year 9999: what datetime can hold in every zone


# --- foreign text ---------------------------------------------------------------------------------------------------

# Bidi controls (they can turn a sentence round), zero-width characters other than the joiners that scripts and emoji
# need, tags, and interlinear annotation: nothing a person would miss.
_INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# "@here" rings a whole company in most chats. A full-width sign reads the same and rings nobody; addresses stay.
_MENTION = re.compile(r"(?<![\w.+-])@(?=\w)|@(?=(?:here|channel|everyone|all|room|group|team)\b)", re.IGNORECASE)
_MARKS_KEPT = 4


def plain(text: str, limit: int = 2000) -> str:
    """One line of text that cannot change what surrounds it, cut to ``limit`` characters.

    Control characters and line ends become spaces, bidi and zero-width characters go, lone surrogates become U+FFFD,
    mentions (``@here``) are taken apart, piles of combining marks are cut to four, white space is collapsed.
    """
    # Far more than is kept is never looked at: a label of a megabyte costs no more than one of a few kilobytes.
    text = _CONTROL.sub(" ", text[: limit * 4 + 256])
    text = _SURROGATE.sub("\ufffd", _INVISIBLE.sub("", text))
    text = _MENTION.sub("\uff20", _flatten(text))
    return cut(" ".join(text.split()), limit)


def _flatten(text: str) -> str:
    """At most ``_MARKS_KEPT`` combining marks in a row, so that a label cannot write over the lines around it."""
    if text.isascii():
        return text
    out, marks = [], 0
    for char in text:
        marks = marks + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        if marks <= _MARKS_KEPT:
            out.append(char)
    return "".join(out)


ANSWER_ABOVE = "write your answer above this line"
"""What our letters say at their head, and what an answer is cut at: what follows is ours."""

_MAILBOX = re.compile(r"[^\s<>()\[\]\\,;:@\"\x00-\x1f\x7f]{1,64}@[^\s<>()\[\]\\,;:@\"\x00-\x1f\x7f]{1,253}")


def mailbox(text: str) -> str:
    """``text`` where it is one plain mail address, else empty: nothing that could be two, or end a header."""
    text = text.strip()
    return text if _MAILBOX.fullmatch(text) and ".." not in text and not _SURROGATE.search(text) else ""


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters, the last one ``…`` when something was left out; never inside what is read as one
    character (base and marks, joined emoji, flags, Hangul syllables; the main rules of UAX #29)."""
    if len(text) <= limit:
        return text
    if limit <= 0:
        return ""
    end = limit - 1
    while end > 0 and _joined(text, end):
        end -= 1
    return text[:end].rstrip() + "…"


def _joined(text: str, at: int) -> bool:
    """Whether a cut before ``text[at]`` would part what is read as one character."""
    left, right = text[at - 1], text[at]
    if unicodedata.category(right) in ("Mn", "Mc", "Me") or right == "\u200d" or left == "\u200d":
        return True
    if "\U0001f3fb" <= right <= "\U0001f3ff":  # skin tones
        return True
    if _is_flag_half(left) and _is_flag_half(right):
        run = at
        while run > 0 and _is_flag_half(text[run - 1]):
            run -= 1
        return (at - run) % 2 == 1
    return "\u1160" <= right <= "\u11ff" and "\u1100" <= left <= "\u11ff"


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


# --- quantities -----------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """``12,480``, ``38``, ``2.4``, ``0.032``: three significant digits below a thousand, never an exponent people
    have to read unless the number is beyond 10^15 or below 10^-4."""
    if math.isnan(value):
        return "no value"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e15 or size < 1e-4:
        return f"{value:.2e}"
    if size >= 999.5:
        return f"{value:,.0f}"
    digits = 2 - math.floor(math.log10(size))
    text = f"{value:.{max(0, digits)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def size(value: float) -> str:
    """Bytes as ``1.4 GiB``."""
    step = 0
    while abs(value) >= 1023.5 and step < 6 and math.isfinite(value):
        value, step = value / 1024, step + 1
    return f"{number(value)} {('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB')[step]}"


def seconds(value: float) -> str:
    """A duration measured in seconds as ``38 ms``, ``2.4 s``, ``6 min``, ``1.5 h``."""
    length = abs(value)
    if value == 0 or not math.isfinite(value):
        return f"{number(value)} s"
    for factor, below, unit in ((1e6, 1e-3, "µs"), (1e3, 0.9995, "ms"), (1, 119.5, "s"), (1 / 60, 7170, "min")):
        if length < below:
            return f"{number(value * factor)} {unit}"
    return f"{number(value / 3600)} h" if length < 172_800 else f"{number(value / 86_400)} days"


_UNITS = {"ratio": "%", "percent": "%", "celsius": "°C", "bytes/s": "/s", "seconds/s": "/s"}


def quantity(value: float | None, unit: str = "") -> str:
    """A value with its unit as people read it.

    ``unit``: bytes, bytes/s, seconds, milliseconds, ratio, percent, celsius; anything else is written behind the number
    as it is, and must be plain.
    """
    if value is None or math.isnan(value):
        return "no value"
    match unit:
        case "bytes" | "bytes/s":
            return size(value) + unit[5:]
        case "seconds":
            return seconds(value)
        case "milliseconds":
            return seconds(value / 1000)
        case "ratio":
            return f"{number(value * 100)} %"
        case _:
            return f"{number(value)} {_UNITS.get(unit, unit)}".rstrip()


_SUFFIXES = (("_bytes", "bytes"), ("_seconds", "seconds"), ("_milliseconds", "milliseconds"), ("_ms", "milliseconds"),
             ("_ratio", "ratio"), ("_percent", "percent"), ("_celsius", "celsius"))  # fmt: skip


def unit_of(metric: str) -> str:
    """The unit that a metric's name declares by Prometheus's naming rules, else ``""``. Counters have none here: what
    is looked at is their rate."""
    return next((unit for suffix, unit in _SUFFIXES if metric.endswith(suffix)), "")


# --- times ----------------------------------------------------------------------------------------------------------


def span(length: int) -> str:
    """A duration in ms as ``45 s``, ``38 min``, ``2 h 10 min``, ``3 days``."""
    length = abs(length)
    if length < 90 * SECOND:
        return f"{round(length / SECOND)} s"
    if length < 119.5 * MINUTE:
        return f"{round(length / MINUTE)} min"
    if length < 2 * DAY:
        hours, minutes = divmod(round(length / MINUTE), 60)
        return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{round(length / HOUR)} h"
    return f"{round(length / DAY):,} days"


def relative(at: int, now: int) -> str:
    """``in 38 min``, ``4 min ago``, ``now``."""
    if abs(at - now) < SECOND:
        return "now"
    return f"in {span(at - now)}" if at > now else f"{span(now - at)} ago"


def within(impact: Impact, now: int) -> str:
    """When it is expected, seen from now: ``in 38 min (31-52)``; ``any moment, within 12 min`` once the likely time
    has passed; ``overdue by 5 min`` once the interval has."""
    if impact.latest <= now:
        return f"overdue by {span(now - impact.latest)}"
    left = impact.likely - now
    if left <= 0:
        return f"any moment, within {span(impact.latest - now)}"
    unit, word = _scale(left)
    low, mid, high = (number(round(max(0, at - now) / unit, 1 if unit >= HOUR else 0))
                      for at in (impact.earliest, impact.likely, impact.latest))  # fmt: skip
    if low == high:
        return f"in {mid} {word}"
    return f"in {mid} {word} ({low} or more)" if _is_open(impact, now) else f"in {mid} {word} ({low}-{high})"


def _is_open(impact: Impact, now: int) -> bool:
    """The slowest way is so slow that its time says nothing: trends that may yet end have years for their latest."""
    return impact.latest - now > max(20 * (impact.likely - now), DAY)


def _scale(length: int) -> tuple[int, str]:
    if length < 90 * SECOND:
        return SECOND, "s"
    if length < 120 * MINUTE:
        return MINUTE, "min"
    return (HOUR, "h") if length < 2 * DAY else (DAY, "days")


def in_calendar(at: int) -> int:
    """``at`` (ms), brought to the calendar's ends where no calendar holds it: forecasts can be far off."""
    return min(max(at, DAY), _LAST)


def moment(at: int, zone: tzinfo) -> datetime:
    """``at`` (ms) in the reader's zone."""
    return datetime.fromtimestamp(in_calendar(at) / 1000, UTC).astimezone(zone)


def clock(at: int, now: int, zone: tzinfo) -> str:
    """``03:40`` today, ``25 Nov 03:40`` on another day, ``25 Nov 2027 03:40`` in another year, in the reader's zone."""
    then, today = moment(at, zone), moment(now, zone)
    text = f"{then.hour:02d}:{then.minute:02d}"
    if then.date() == today.date():
        return text
    year = f" {then.year}" if then.year != today.year else ""
    return f"{then.day} {_MONTHS[then.month - 1]}{year} {text}"


def between(impact: Impact, now: int, zone: tzinfo) -> str:
    """The likely time with its interval, never a false exactness: ``03:40 (03:25-04:05)``.

    The ends carry a date only where it differs from the one before them. Once the likely time has passed it is
    ``by 04:05``; a latest time that is out of all proportion is ``03:40 (03:25 or later)``.
    """
    if impact.likely <= now:
        return f"by {clock(max(impact.latest, impact.likely), now, zone)}"
    likely = clock(impact.likely, now, zone)
    earliest = clock(max(impact.earliest, now), impact.likely, zone)
    latest = clock(impact.latest, max(impact.earliest, now), zone)
    if clock(impact.earliest, impact.likely, zone) == clock(impact.latest, impact.likely, zone):
        return likely
    return f"{likely} ({earliest} or later)" if _is_open(impact, now) else f"{likely} ({earliest}-{latest})"
