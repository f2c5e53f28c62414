"""What a ticket is about, in the words of its category: *what* WILL happen or IS happening.

One :class:`Story` per ticket, from its leading symptom and its category. Every text in it is plain already.
"""

from __future__ import annotations

from dataclasses import dataclass

from detector.nouns import Symptom, Ticket
from detector.words import plain, quantity, unit_of


@dataclass(frozen=True, slots=True)
class Story:
    """``subject`` (may be empty: then the service itself) + ``will`` or ``state`` make the sentence, ``detail`` says
    how bad, ``place`` where; ``trouble`` names the whole for "... is over"."""

    subject: str
    will: str
    state: str
    trouble: str
    detail: str = ""
    place: str = ""


def story(ticket: Ticket) -> Story:
    lead = leading(ticket)
    if lead is None:
        return _told(ticket)
    category = ticket.category or ""
    if category.startswith("capacity/") and lead.kind in _KINDS:
        category = lead.category or _KINDS[lead.kind]  # a queue was filling up; by now requests fail: that is the story
    if category.startswith("capacity/") or (not category and lead.kind == "exhaustion"):
        return _capacity(ticket, lead, category.removeprefix("capacity/"))
    return _signal(ticket, lead, category)


def leading(ticket: Ticket) -> Symptom | None:
    """The symptom that tells the story: active before ended; once users are hurt what hurts them, before that what runs
    out first; then the strongest word (rule and alert before model), then the earliest."""
    if not ticket.symptoms:
        return None
    hurting = ticket.phase in ("disrupting", "recovering")
    strength = ("rule", "alert", "forecast", "silence", "group", "anomaly")

    def rank(s: Symptom) -> tuple[bool, bool, float, int, int, str]:
        due = float(s.impact.likely) if s.impact is not None else float("inf")
        return (not s.active, s.disruption != hurting, 0.0 if hurting else due, strength.index(s.detector), s.first_at,
                s.id)  # fmt: skip

    return min(ticket.symptoms, key=rank)


# --- a resource that runs out ---------------------------------------------------------------------------------------

_RESOURCES = {"memory": "memory", "cpu": "CPU", "file-descriptors": "file descriptors", "connections": "connections"}
_HERE = ("localhost", "127.0.0.1", "[::1]")
_WHO = ("pod", "container", "database", "datname", "name", "instance")


def _capacity(ticket: Ticket, lead: Symptom, resource: str) -> Story:
    count = len({s.item for s in ticket.symptoms if s.kind == lead.kind and s.item and (s.active or not lead.active)})
    if resource == "disk":
        return _disk(lead, count)
    if resource == "queue":
        queue = f"queue {_label(lead, 'queue', 'topic', 'name') or plain(lead.metric, 60)}".rstrip()
        subject = queue if count < 2 else f"{count} queues ({queue.removeprefix('queue ')} first)"
        return Story(subject, "WILL be full", "IS full", queue)
    noun = _RESOURCES.get(resource) or plain(resource.replace("-", " "), 16) or "capacity"
    who = _who(ticket, lead)
    subject = who if count < 2 else f"{count} instances ({who} first)"
    trouble = f"{noun} shortage" + (f" of {subject}" if subject else "")
    return Story(subject, f"WILL run out of {noun}", f"IS out of {noun}", trouble)


def _disk(lead: Symptom, count: int) -> Story:
    mount = _label(lead, "mountpoint", "path", "device", "persistentvolumeclaim", "volume") or plain(lead.item, 60)
    host = _host(_label(lead, "instance", "node", "host"))
    inodes = "files_free" in lead.metric or "inode" in lead.metric
    if count > 1:
        subject, place = f"{count} disks ({mount} first)" if mount else f"{count} disks", ""
    else:
        subject, place = f"disk {mount}".rstrip(), f"on {host}" if host and host != mount else ""
    if inodes:
        return Story(subject, "WILL run out of inodes", "IS out of inodes", f"{subject} (inodes)", place=place)
    return Story(subject, "WILL be full", "IS full", subject, place=place)


def _who(ticket: Ticket, lead: Symptom) -> str:
    """Which of the service's items, or empty when that would only repeat the service."""
    name = next((_label(lead, label) for label in _WHO if _label(lead, label)), "") or plain(lead.item, 60)
    return "" if name == ticket.service else _host(name)


def _host(instance: str) -> str:
    """An instance without the port of whoever exports its metrics; nothing for this machine, which says nothing."""
    host, colon, port = instance.rpartition(":")
    host = host if colon and port.isdigit() and host else instance
    return "" if host in _HERE else host


# --- a signal that goes wrong ---------------------------------------------------------------------------------------

# category -> subject, will, state, trouble
_SIGNALS = {
    "availability": ("", "WILL be down", "IS down", "outage"),
    "errors": ("", "WILL fail", "IS failing", "failure"),
    "latency": ("", "WILL be too slow", "IS too slow", "slowness"),
    "traffic": ("traffic", "WILL hurt users", "IS hurting users", "unusual traffic"),
    "saturation": ("", "WILL be saturated", "IS saturated", "saturation"),
    "monitoring": ("monitoring", "IS blind", "IS blind", "gap in monitoring"),
    "security/data-breach": ("data breach", "WILL be investigated", "IS suspected", "suspected data breach"),
}
_KINDS = {"down": "availability", "absence": "availability", "silence": "availability", "errors": "errors",
          "latency": "latency", "traffic": "traffic", "saturation": "saturation"}  # fmt: skip


def _signal(ticket: Ticket, lead: Symptom, category: str) -> Story:
    family = category if category in _SIGNALS else _KINDS.get(lead.kind, "") if not category else ""
    detail = _detail(ticket, lead, family)
    if family:
        subject, will, state, trouble = _SIGNALS[family]
        return Story(subject, will, state, trouble, detail)
    if lead.detector in ("anomaly", "group") and not lead.disruption and lead.impact is None:
        # What a model alone has seen is a fact about now, not a promise about later.
        unusual = "IS behaving unusually"
        return Story("", unusual, unusual, "unusual behaviour", detail)
    name = plain(lead.name, 60)
    return Story("", "WILL be disrupted", "IS disrupted", name or "disruption", detail)


def _detail(ticket: Ticket, lead: Symptom, family: str) -> str:
    """How bad, shortest first: a share of requests, a latency, the items that are down, else the summary."""
    unit = lead.evidence.unit if lead.evidence is not None and lead.evidence.unit else unit_of(lead.metric)
    if lead.annotations.get("headline"):
        return plain(lead.annotations["headline"], 100)
    if lead.value is not None and family == "errors" and unit == "ratio":
        code = _label(lead, "code", "status", "status_code")
        return f"{code} {quantity(lead.value, unit)} of requests".lstrip()
    if lead.value is not None and family == "latency" and unit in ("seconds", "milliseconds"):
        return f"{_quantile(lead)} {quantity(lead.value, unit)}".lstrip()
    if family == "availability":
        items = sorted({_who(ticket, s) for s in ticket.symptoms if s.active} - {""})
        if items:
            return items[0] if len(items) == 1 else f"{len(items)} of its items, {items[0]} among them"
    return plain(lead.summary, 100) or plain(lead.name, 60)


def _quantile(lead: Symptom) -> str:
    try:
        quantile = float(lead.labels.get("quantile", ""))
    except ValueError:
        return ""
    return f"p{quantile * 100:g}" if 0 < quantile < 1 else ""


# --- what a person told ---------------------------------------------------------------------------------------------


def _told(ticket: Ticket) -> Story:
    words = plain(ticket.title or ticket.description or "", 100)
    if ticket.kind == "request":
        return Story("request", "WILL be decided", "IS waiting", "request", words)
    if ticket.kind == "undecided":
        return Story("report", "WILL be decided", "IS waiting for a decision", "report", words)
    return Story("", "WILL be disrupted", "IS disrupted", "disruption", words)


def _label(symptom: Symptom, *names: str) -> str:
    return next((text for name in names if (text := plain(symptom.labels.get(name, ""), 60))), "")
