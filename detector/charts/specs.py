"""Symptom -> Vega-Lite specification and one sentence of alt text. Pure; no data is fetched, no expression is built
from foreign text.

History is solid ink, the expected band filled, points outside it marked, the forecast dashed amber with its interval
as a fan, the limit a labelled line, "now" a hairline. Labels stand at what they name; there is no legend.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Literal

from detector.charts.series import Prepared, prepare, tick_labels, unit
from detector.nouns import Symptom
from detector.words import between, clock, cut, moment, plain, quantity

Theme = Literal["light", "dark"]
Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Colours, contrast measured against the background."""

    background: str
    ink: str
    muted: str
    hairline: str
    forecast: str
    disrupting: str
    band: str


TOKENS: dict[Theme, Tokens] = {
    "light": Tokens("#ffffff", "#1a1f27", "#576070", "#d9dee6", "#8a5300", "#b3261e", "#cfe0f3"),
    "dark": Tokens("#12161c", "#e8ecf2", "#9aa6b8", "#2e3744", "#f2b04c", "#ff8a80", "#23405e"),
}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_SMALL = 13
_MOST_MARKS = 40


def symptom_spec(
    symptom: Symptom, now: int, theme: Theme = "light", *, zone: tzinfo = UTC, width: int = 480, height: int = 240,
    changed: Sequence[int] = (),
) -> Spec:  # fmt: skip
    """The chart of ``symptom`` seen at ``now`` (ms) by a reader in ``zone``, ``width`` x ``height`` CSS pixels over
    all.

    ``changed``: when (ms) something was changed on the service, marked at the foot. Legible when a phone shows 480
    pixels on its width; pages with more room ask for more.
    """
    tokens = TOKENS[theme]
    prepared = prepare(symptom, now)
    spec: Spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": alt_text(symptom, now, zone=zone),
        "width": width,
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": 8,
        "background": tokens.background,
        "title": _title(symptom, prepared, now, zone, tokens, width),
        "config": _config(tokens),
    }
    if prepared is None:
        return spec | {"data": {"values": [{}]}, "mark": {"type": "text", "text": "no samples were kept"}}
    # Vega knows the machine's zone and UTC; times are moved so that UTC reads as the reader's clock.
    offset = moment(now, zone).utcoffset()
    shift = int(offset.total_seconds() * 1000) if offset is not None else 0
    marks = tuple(sorted({at for at in changed if prepared.x[0] <= at <= prepared.x[1]}))[-_MOST_MARKS:]
    canvas = _Canvas(prepared, tokens, shift, now, zone, width, marks)
    return spec | {"encoding": canvas.axes(), "layer": canvas.layers(symptom)}


def _config(tokens: Tokens) -> Spec:
    text = {"font": _FONT, "fontSize": _SMALL, "color": tokens.muted}
    return {
        "font": _FONT,
        "view": {"stroke": None},
        "text": text,
        "axis": {"labelFont": _FONT, "labelFontSize": _SMALL, "labelColor": tokens.muted, "gridColor": tokens.hairline,
                 "domainColor": tokens.hairline, "tickColor": tokens.hairline, "title": None},
        "title": {"anchor": "start", "font": _FONT, "fontSize": 15, "fontWeight": 600, "color": tokens.ink, "offset":
        10,
                  "subtitleFont": _FONT, "subtitleFontSize": 14, "subtitleColor": tokens.muted, "subtitlePadding": 5},
    }  # fmt: skip


def _title(symptom: Symptom, prepared: Prepared | None, now: int, zone: tzinfo, tokens: Tokens, width: int) -> Spec:
    """What the line is, and below it the one thing to know; both above the picture, where no line crosses them."""
    letters = max(16, width // 9)
    title: Spec = {"text": name(symptom, letters)}
    if prepared is None:
        return title
    said, colour = "", tokens.muted
    if prepared.limit is not None and symptom.impact is not None:
        said, colour = f"{_ending(symptom, prepared)} {_when(symptom, now, zone)}", tokens.forecast
    elif prepared.outside and prepared.band:
        _, low, high = prepared.band[-1]
        label = prepared.scale.label
        said = f"{label(prepared.history[-1][1])}, {label(low)} to {label(high)} expected"
        colour = tokens.disrupting if symptom.disruption else tokens.forecast
    elif prepared.limit is not None:
        said = f"{prepared.scale.label(prepared.history[-1][1])}, limit {prepared.scale.label(prepared.limit)}"
        colour = tokens.disrupting if symptom.disruption else tokens.muted
    note = "" if prepared.from_zero else "axis not from 0"
    lines = [line for line in (cut(said, width // 7), note) if line]
    return title | {"subtitle": lines, "subtitleColor": colour} if lines else title


def _ending(symptom: Symptom, data: Prepared) -> str:
    if data.limit == 0:
        return "nothing is left"
    return f"reaches {data.scale.label(data.limit or 0.0)}"


def name(symptom: Symptom, limit: int = 80) -> str:
    """What the line is: metric and item, plain."""
    item = next((symptom.labels[label] for label in ("mountpoint", "pod", "database", "queue", "topic", "container")
                 if symptom.labels.get(label)), "")  # fmt: skip
    where = symptom.labels.get("instance", "")
    parts = [plain(symptom.metric or symptom.name, 60), plain(item, 40), plain(where if where != item else "", 40)]
    return cut(" · ".join(part for part in parts if part), limit)


@dataclass(frozen=True, slots=True)
class _Canvas:
    """Layers of one chart, back to front."""

    data: Prepared
    tokens: Tokens
    shift: int
    now: int
    zone: tzinfo
    width: int
    changed: tuple[int, ...] = ()

    def axes(self) -> Spec:
        low, high = self.data.x
        days = high - low > 36 * 3_600_000
        form = "%d %b" if days else "%H:%M" if high - low > 8 * 60_000 else "%H:%M:%S"
        ticks = self.data.ticks
        labels = tick_labels(ticks, self.data.scale.word)
        return {
            "x": {
                "type": "temporal",
                "field": "t",
                "scale": {"type": "utc", "domain": [low + self.shift, high + self.shift], "nice": False},
                "axis": {"format": form, "grid": False, "tickCount": max(2, self.width // 110), "labelFlush": True},
            },
            "y": {
                "type": "quantitative",
                "field": "v",
                "scale": {"domain": list(self.data.y), "zero": False, "nice": False, "clamp": False},
                "axis": {
                    "values": list(ticks),
                    # Numbers and units only: no foreign text is in this expression.
                    "labelExpr": f"({json.dumps(labels)})[indexof({json.dumps(list(ticks))}, datum.value)]",
                    "domain": False,
                    "ticks": False,
                    "labelPadding": 6,
                },
            },
        }

    def layers(self, symptom: Symptom) -> list[Spec]:
        found = [
            *self._band(),
            *self._fan(),
            *self._limit(symptom),
            *self._now(),
            *self._changes(),
            *self._history(symptom),
        ]
        return [layer for layer in found if layer]

    def _rows(self, rows: Any, *names: str) -> Spec:
        return {"values": [{"t": row[0] + self.shift, **dict(zip(names, row[1:], strict=True))} for row in rows]}

    def _band(self) -> list[Spec]:
        if not self.data.band:
            return []
        mark = {"type": "area", "color": self.tokens.band, "opacity": 1, "clip": True, "line": False}
        area = {"data": self._rows(self.data.band, "v", "w"), "mark": mark, "encoding": {"y2": {"field": "w"}}}
        # Below the band's left end, where the line seldom is; above it when there is no room below.
        bottom, top = self.data.y
        corner = self.data.band[: max(1, len(self.data.band) // 6)]
        low, high = min(row[1] for row in corner), max(row[2] for row in corner)
        below = low - bottom > (top - bottom) * 0.12
        spot = (self.data.x[0], low if below else min(high, top))
        label = self._text([spot], "expected", self.tokens.muted, align="left", dx=4, dy=11 if below else -9)
        return [area, label]

    def _fan(self) -> list[Spec]:
        points = self.data.forecast
        if not points:
            return []
        fan = {
            "data": self._rows([(at, low, high) for at, low, _, high in points], "v", "w"),
            "mark": {"type": "area", "color": self.tokens.forecast, "opacity": 0.22, "clip": True},
            "encoding": {"y2": {"field": "w"}},
        }
        mark = {"type": "line", "color": self.tokens.forecast, "strokeWidth": 2.5, "strokeDash": [7, 5], "clip": True}
        line = {"data": self._rows([(at, likely) for at, _, likely, _ in points], "v"), "mark": mark}
        return [fan, line]

    def _limit(self, symptom: Symptom) -> list[Spec]:
        limit = self.data.limit
        if limit is None:
            return []
        rule = {
            "data": {"values": [{"v": limit}]},
            "mark": {"type": "rule", "color": self.tokens.ink, "strokeWidth": 1.5},
            "encoding": {"x": None},
        }
        # On the side of the line where the history is not.
        above = self._is_low(limit)
        side = -7 if above else 15
        label = self._text(
            [(self.data.x[0], limit)],
            f"limit {self.data.scale.label(limit)}",
            self.tokens.ink,
            align="left",
            dx=4,
            dy=side,
        )
        return [rule, label, *self._impact(symptom, limit)]

    def _is_low(self, value: float) -> bool:
        low, high = self.data.y
        return value - low < (high - low) * 0.5

    def _impact(self, symptom: Symptom, limit: float) -> list[Spec]:
        """A bar on the limit as long as the interval in which it is reached; the words are above the picture."""
        impact, (first, end) = symptom.impact, self.data.x
        if impact is None or impact.earliest > end:
            return []
        ends = {"t": max(impact.earliest, first) + self.shift, "v": limit, "u": min(impact.latest, end) + self.shift}
        mark = {"type": "rule", "color": self.tokens.forecast, "strokeWidth": 6, "clip": True}
        return [{"data": {"values": [ends]}, "mark": mark, "encoding": {"x2": {"field": "u"}}}]

    def _now(self) -> list[Spec]:
        first, end = self.data.x
        if not first <= self.now <= end:
            return []
        rule = {
            "data": {"values": [{"t": self.now + self.shift}]},
            "mark": {"type": "rule", "color": self.tokens.muted, "strokeWidth": 1},
            "encoding": {"y": None},
        }
        left = self.now - first > (end - first) * 0.8
        label = self._text(
            [(self.now, self.data.y[1])], f"now {clock(self.now, self.now, self.zone)}", self.tokens.muted,
            align="right" if left else "center", dy=-8,
        )  # fmt: skip
        return [rule, label]

    def _changes(self) -> list[Spec]:
        """A tick at the foot for each change, the last one named."""
        if not self.changed:
            return []
        foot = self.data.y[0]
        mark = {
            "type": "tick",
            "color": self.tokens.ink,
            "thickness": 3,
            "orient": "vertical",
            "size": 14,
            "yOffset": -7,
        }
        left = self.changed[-1] - self.data.x[0] > (self.data.x[1] - self.data.x[0]) * 0.8
        label = self._text(
            [(self.changed[-1], foot)], "changed", self.tokens.ink, align="right" if left else "left",
            dx=-5 if left else 5, dy=-9,
        )  # fmt: skip
        return [{"data": self._rows([(at, foot) for at in self.changed], "v"), "mark": mark}, label]

    def _history(self, symptom: Symptom) -> list[Spec]:
        line = {
            "data": self._rows(self.data.history, "v"),
            "mark": {"type": "line", "color": self.tokens.ink, "strokeWidth": 2, "strokeJoin": "round", "clip": True},
        }
        if not self.data.outside:
            return [line]
        colour = self.tokens.disrupting if symptom.disruption else self.tokens.forecast
        # A ring of the background keeps the mark apart from the line for eyes that do not tell the colours.
        mark = {"type": "point", "filled": True, "size": 42, "shape": "diamond", "color": colour, "opacity": 1,
                "stroke": self.tokens.background, "strokeWidth": 1}  # fmt: skip
        return [line, {"data": self._rows(self.data.outside, "v"), "mark": mark}]

    def _text(
        self, points: list[tuple[int, float]], text: str, colour: str, *, align: str, dx: int = 0, dy: int = 0
    ) -> Spec:
        # A ring of the background around the letters keeps them legible over lines.
        common = {"type": "text", "text": text, "align": align, "baseline": "middle", "dx": dx, "dy": dy}
        halo = common | {"stroke": self.tokens.background, "strokeWidth": 4, "strokeJoin": "round", "opacity": 0.85,
                         "color": self.tokens.background}  # fmt: skip
        return {"data": self._rows(points, "v"), "layer": [{"mark": halo}, {"mark": common | {"color": colour}}]}


# --- alt text ---------------------------------------------------------------------------------------------------------


def alt_text(symptom: Symptom, now: int, *, zone: tzinfo = UTC) -> str:
    """What the chart shows, in one sentence of plain text."""
    data = prepare(symptom, now)
    what = name(symptom)
    if data is None:
        return f"{what}: no samples were kept"

    def value(shown: float) -> str:
        return quantity(shown / data.scale.factor, unit(symptom))

    at, last = data.history[-1]
    said = f"{what} {_movement(data, symptom, now, zone)} and is {value(last)} at {clock(at, now, zone)}"
    if data.outside and data.band:
        _, low, high = data.band[-1]
        said += f", where {value(low)} to {value(high)} is expected"
    if data.limit is None:
        return said
    if symptom.impact is None:
        return f"{said}; its limit is {value(data.limit)}"
    ending = "nothing is left" if data.limit == 0 else f"it reaches its limit of {value(data.limit)}"
    return f"{said}; at this rate {ending} {_when(symptom, now, zone)}"


def _when(symptom: Symptom, now: int, zone: tzinfo) -> str:
    if symptom.impact is None:
        return ""
    when = between(symptom.impact, now, zone)
    return when if when.startswith("by ") else f"at {when}"


_RATES = ((180_000, 1000, "a second"), (10_800_000, 60_000, "a minute"), (259_200_000, 3_600_000, "an hour"))


def _movement(data: Prepared, symptom: Symptom, now: int, zone: tzinfo) -> str:
    """``falls 1.1 MiB a minute since 08:50``, from the symptom's first sample to the newest; or ``is level``."""
    since = [point for point in data.history if point[0] >= symptom.first_at] or list(data.history)
    (start, first), (end, last) = since[0], since[-1]
    values = [value for _, value in since]
    few = max(1, len(values) // 5)
    moved = abs(sum(values[-few:]) - sum(values[:few])) / few
    # Noise moves from sample to sample as well: it has gone somewhere when its ends are apart.
    if end <= start or moved <= 0.2 * (max(values) - min(values)) or moved == 0:
        return "is level"
    length, per = next(((ms, per) for below, ms, per in _RATES if end - start < below), (86_400_000, "a day"))
    rate = abs(last - first) / data.scale.factor / (end - start) * length
    verb = "falls" if last < first else "rises"
    return f"{verb} {quantity(rate, unit(symptom))} {per} since {clock(start, now, zone)}"


def telling(symptoms: Sequence[Symptom]) -> Symptom | None:
    """The symptom whose chart says most, for where there is room for one: with evidence, active before ended, what
    reaches a limit before what does not, then the strongest; None without evidence."""

    def rank(s: Symptom) -> tuple[bool, bool, float, float, int, str]:
        due = float(s.impact.likely) if s.impact is not None else float("inf")
        return not s.active, s.impact is None, due, -s.score, s.first_at, s.id

    return min((s for s in symptoms if s.evidence is not None and s.evidence.value), key=rank, default=None)
