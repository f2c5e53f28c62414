"""Which series runs towards which limit: told by the names of metrics, without a word of configuration.

Two metrics of one stem and one set of labels that differ by *used, current, open, in_use, depth, working_set, ...*
against *max, limit, size, capacity* are a pair (``process_open_fds`` / ``process_max_fds``, ``app_db_pool_in_use`` /
``app_db_pool_size``); ``*_avail_bytes``, ``*_files_free`` and their like run out at 0. Pure functions on names and
label sets; :mod:`detector.anomaly.resources` finds the series.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from detector.anomaly.options import Category

Role = Literal["used", "limit", "free", "bare"]


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


USED = _set("used current open opened inuse depth active busy allocated usage in-use working-set")
LIMIT = _set("max maximum limit capacity size")
FREE = _set("avail available free")
SILENT = _set("spec config configured")
"""Words that say where a number comes from, not what it is: ``container_spec_memory_limit_bytes``."""
SPACE = _set("filesystem fs disk volume storage space files inodes inode")
NOT_A_LEVEL = _set("seconds duration latency time peak recent highest lowest age ratio percent rate")
"""A maximum of these is a high-water mark, and nothing runs out."""
COUNTED = ("_total", "_count", "_sum", "_bucket", "_created", "_info")
TOTALS = _set("total size capacity")

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_CATEGORIES: tuple[tuple[Category, frozenset[str]], ...] = (
    ("capacity/file-descriptors", _set("fd fds filefd descriptors files")),
    ("capacity/disk", _set("filesystem fs disk volume storage inode inodes space")),
    ("capacity/connections", _set("connection connections conn conns conntrack clients sessions socket sockets "
                                       "pool sockstat orphan")),
    ("capacity/queue", _set("queue queued queues backlog mailbox buffer tasks jobs pending")),
    ("capacity/memory", _set("memory mem heap rss ram swap metaspace")),
    ("capacity/cpu", _set("cpu cpus")),
)  # fmt: skip
_PLACES = ("mountpoint", "persistentvolumeclaim", "volume", "device", "container", "name", "queue", "topic", "pool",
           "datname", "db", "area", "id")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """What a metric's name says: its possible stems (names without the words of its role) and its role."""

    metric: str
    role: Role
    stems: frozenset[tuple[str, ...]]
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class Pair:
    """``used`` runs up to ``limit``, or, ``falling``, down to 0 from ``total``, the metric of how much there is."""

    used: str
    limit: str | None
    total: str | None
    falling: bool
    category: Category


def words(metric: str) -> tuple[str, ...]:
    """The words of a name, small; ``in_use`` and ``working_set`` are one word each."""
    out: list[str] = []
    for part in re.split(r"[_:.]+", metric):
        out += [word.lower() for word in _WORD.findall(part)]
    joined: list[str] = []
    for word in out:
        if joined and (joined[-1], word) in (("in", "use"), ("working", "set")):
            joined[-1] = f"{joined[-1]}-{word}"
        else:
            joined.append(word)
    return tuple(joined)


def read(metric: str) -> Reading | None:
    """The role of ``metric``; None for one that cannot be either side (a counter, a duration)."""
    if metric.endswith(COUNTED):
        return None
    all_words = words(metric)
    every = frozenset(all_words)
    if every & NOT_A_LEVEL:
        return None
    plain = tuple(word for word in all_words if word not in SILENT)
    if every & FREE and (every & {"avail", "available"} or every & SPACE) and not every & {"max", "limit"}:
        role, mine = "free", FREE
    elif every & (LIMIT - {"size"}) or ("size" in every and not every & USED):
        role, mine = "limit", LIMIT
    elif every & USED:
        role, mine = "used", USED
    else:
        return Reading(metric, "bare", frozenset({plain}), every)
    stems = {tuple(word for word in plain if word not in mine)}
    if role == "limit":
        # app_queue_max_size beside app_queue_current_size: either word may belong to the stem.
        stems |= {plain[:i] + plain[i + 1 :] for i, word in enumerate(plain) if word in mine}
    if role == "used":
        stems |= {tuple(word for word in plain if word not in mine and word != "size")}
    return Reading(metric, role, frozenset(stems), every)  # type: ignore[arg-type]


def category(metric: str) -> Category:
    """The category of what runs out when ``metric`` does."""
    every = set(words(metric))
    if every & {"filesystem", "volume", "inode", "inodes"}:
        return "capacity/disk"
    return next((name for name, marks in _CATEGORIES if every & marks), "saturation")


def pairs(metrics: Iterable[str]) -> list[Pair]:
    """Every pair among the names of ``metrics``, sorted by the used metric."""
    return paired([reading for name in sorted(set(metrics)) if (reading := read(name)) is not None])


def paired(readings: Sequence[Reading]) -> list[Pair]:
    """Every pair among ``readings``, which are sorted by their metric."""
    limits: dict[tuple[str, ...], str] = {}
    sizes: dict[tuple[str, ...], str] = {}
    for reading in readings:
        if reading.role == "limit":
            for stem in sorted(reading.stems):
                # A stated limit beats a size of the same stem.
                if stem not in limits or "size" in words(limits[stem]):
                    limits[stem] = reading.metric
        if reading.words & TOTALS or reading.role == "bare":
            stem = tuple(word for word in words(reading.metric) if word not in TOTALS)
            sizes.setdefault(stem, reading.metric)
    out = []
    for reading in readings:
        stem = min(reading.stems)
        if reading.role == "free":
            if "free" in reading.words and _has_available(readings, stem):
                continue  # node_filesystem_free_bytes counts what only root may use
            out.append(Pair(reading.metric, None, sizes.get(stem), True, category(reading.metric)))
        elif reading.role in ("used", "bare"):
            limit = next((limits[stem] for stem in sorted(reading.stems) if stem in limits), None)
            # Without a word that says "used", only a stated limit of that very name will do.
            if limit is not None and (reading.role == "used" or set(words(limit)) & (LIMIT - {"size"})):
                out.append(Pair(reading.metric, limit, limit, False, category(reading.metric)))
    return out


def _has_available(readings: Sequence[Reading], stem: tuple[str, ...]) -> bool:
    return any(other.role == "free" and stem in other.stems and "free" not in other.words for other in readings)


def item(labels: Mapping[str, str]) -> str:
    """The resource in words of its labels: a pod, else the instance and the place in it."""
    pod = labels.get("pod")
    where = [labels.get("namespace", ""), pod] if pod else [labels.get("instance", "")]
    place = next((labels[name] for name in _PLACES if labels.get(name)), "")
    return " ".join(part for part in (*where, place) if part)
