"""The catalogue as a picture: who needs whom, from left (what users meet) to right (what everything rests on). Pure.

Columns by the longest way from a service that nobody needs; inside a column by the middle of what a node is joined to
(the barycentre heuristic, Sugiyama 1981), so that lines cross less. Cycles are drawn back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BOX_W, BOX_H = 168, 40
GAP_X, GAP_Y = 72, 16
MOST = 80
"""Nodes of one picture; beyond it only what is in trouble and what is joined to it."""
_SWEEPS = 4


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    x: int
    y: int
    shape: str


@dataclass(frozen=True, slots=True)
class Picture:
    """``edges`` are (x, y) of the needing node's right side and of the needed one's left, and whether either is in
    trouble."""

    width: int
    height: int
    nodes: Sequence[Node]
    edges: Sequence[tuple[int, int, int, int, bool]]
    left_out: int


def picture(needs: Mapping[str, Sequence[str]], shapes: Mapping[str, str]) -> Picture | None:
    """``needs``: each service's dependencies; ``shapes``: those in trouble, by how. None where there is nothing to
    draw: no two services are joined."""
    joined = {name for name, others in needs.items() if others} | {o for others in needs.values() for o in others}
    if not joined:
        return None
    kept = _kept(joined, needs, shapes)
    edges = [(a, b) for a in sorted(kept) for b in needs.get(a, ()) if b in kept]
    columns = _ordered(_columns(kept, edges), edges)
    rows = max(len(column) for column in columns)
    height = rows * (BOX_H + GAP_Y) + GAP_Y
    at: dict[str, tuple[int, int]] = {}
    for number, column in enumerate(columns):
        space = height / len(column)
        for place, name in enumerate(column):
            at[name] = (number * (BOX_W + GAP_X), round(space * (place + 0.5) - BOX_H / 2))
    nodes = [Node(name, x, y, shapes.get(name, "")) for name, (x, y) in at.items()]
    half = BOX_H // 2
    lines = [
        (at[a][0] + BOX_W, at[a][1] + half, at[b][0], at[b][1] + half, a in shapes and b in shapes) for a, b in edges
    ]
    return Picture(len(columns) * (BOX_W + GAP_X) - GAP_X, height, nodes, lines, len(joined) - len(kept))


def _kept(joined: set[str], needs: Mapping[str, Sequence[str]], shapes: Mapping[str, str]) -> set[str]:
    if len(joined) <= MOST:
        return joined
    hurt = joined & set(shapes)
    near = {o for name in hurt for o in needs.get(name, ())} | {n for n in joined if hurt & set(needs.get(n, ()))}
    chosen = sorted(hurt) + sorted(near - hurt) + sorted(joined - near - hurt)
    return set(chosen[:MOST])


def _columns(kept: set[str], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Each node one column right of the last that needs it; what lies on a cycle no further than it was met."""
    level = dict.fromkeys(sorted(kept), 0)
    for _ in range(len(kept)):
        moved = False
        for a, b in edges:
            if level[b] <= level[a] < len(kept) - 1 and not _reaches(b, a, edges):
                level[b], moved = level[a] + 1, True
        if not moved:
            break
    columns: dict[int, list[str]] = {}
    for name, number in level.items():
        columns.setdefault(number, []).append(name)
    return [columns[number] for number in sorted(columns)]


def _reaches(start: str, end: str, edges: Sequence[tuple[str, str]]) -> bool:
    seen, todo = {start}, [start]
    while todo:
        name = todo.pop()
        if name == end:
            return True
        for a, b in edges:
            if a == name and b not in seen:
                seen.add(b)
                todo.append(b)
    return False


def _ordered(columns: list[list[str]], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    joined: dict[str, list[str]] = {}
    for a, b in edges:
        joined.setdefault(a, []).append(b)
        joined.setdefault(b, []).append(a)
    for _ in range(_SWEEPS):
        place = {name: (i + 0.5) / len(column) for column in columns for i, name in enumerate(column)}
        for column in columns:
            column.sort(key=lambda n: sum(place[o] for o in joined.get(n, [n])) / len(joined.get(n, [n])))
    return columns
