"""The first line: what somebody woken at night reads on a locked phone.

``P1 checkout: disk /data WILL be full 03:40 (03:25-04:05)``. Never longer than 120 characters; what gives way is the
place, then the detail, then the subject: never the priority, the service, WILL or IS, or the time.
"""

from __future__ import annotations

from datetime import tzinfo

from detector.notify.messages.story import Story, story
from detector.nouns import Ticket
from detector.words import between, clock, cut, plain

LENGTH = 120
_SERVICE, _LEAST = 30, 10


def headline(ticket: Ticket, now: int, zone: tzinfo) -> str:
    """The subject of every message about ``ticket``, seen at ``now`` (ms) by a reader in ``zone``."""
    if ticket.restricted:
        # Whoever may read it follows the link; a subject is read over shoulders and kept by mail servers.
        return f"{ticket.priority or 'P?'} restricted ticket {plain(ticket.key, 20)} needs you"
    told = _titled(ticket, story(ticket))
    subject, rest = _sentence(ticket, told)
    tail = _when(ticket, now, zone)
    # The service in full is worth more than the rest of a long subject, but less than the time.
    room = LENGTH - len(f"P1 : {rest} {tail} ") - _LEAST
    service = plain(ticket.service, min(_SERVICE, max(_LEAST, room))) or "unknown"
    return _fit(f"{ticket.priority or 'P?'} {service}: ", subject, rest, tail, told)


def title(ticket: Ticket) -> str:
    """The ticket in one line without priority, service and time, which a list shows in columns of their own.

    For readers who may see the ticket: a restricted one is not hidden here.
    """
    if ticket.title:
        return plain(ticket.title, LENGTH)
    told = story(ticket)
    subject, rest = _sentence(ticket, told)
    return _fit("", subject, rest, "", told)


def _titled(ticket: Ticket, told: Story) -> Story:
    """A title that a person gave stands for subject and detail."""
    if not ticket.title or not ticket.symptoms:
        return told
    name = plain(ticket.title, 100)
    return Story("", "WILL be disrupted", "IS disrupted", name, name)


def _sentence(ticket: Ticket, told: Story) -> tuple[str, str]:
    """Subject and the rest of the sentence, without its time."""
    ended = {"merged": "merged into " + (ticket.merged_into or "another ticket"), "resolved": "resolved",
             "closed": "closed"}.get(ticket.state)  # fmt: skip
    how = f" ({ticket.resolution})" if ticket.resolution else ""
    if ticket.state == "merged":
        return told.trouble, f"is {ended}"
    if ticket.phase == "over":
        return told.trouble, f"is over{how}"
    if ended:
        return told.trouble, f"is {ended}{how}"
    if ticket.phase == "recovering":
        return "", f"IS recovering: {cut(told.trouble, 50)}"
    if ticket.phase != "predicted":
        return told.subject, told.state
    if ticket.impact is None and told.will.startswith("WILL"):
        return told.subject, f"{told.will} if this goes on"
    return told.subject, told.will


def _when(ticket: Ticket, now: int, zone: tzinfo) -> str:
    if ticket.phase == "over" or ticket.state in ("merged", "resolved", "closed"):
        return ""
    if ticket.phase == "predicted":
        if ticket.impact is not None:
            return between(ticket.impact, now, zone)
        since = ticket.first_symptom_at
    elif ticket.phase == "recovering":
        return f"quiet since {clock(ticket.quiet_since, now, zone)}" if ticket.quiet_since is not None else ""
    else:
        since = ticket.disrupted_at or ticket.first_symptom_at or ticket.reported_at
    return f"since {clock(since if since is not None else ticket.opened_at, now, zone)}"


def _fit(head: str, subject: str, rest: str, tail: str, told: Story) -> str:
    """Put the parts together; the detail only while it is not yet over, the place only where there is room."""
    room = LENGTH - len(head) - len(rest) - len(tail) - 3
    subject = cut(subject, max(_LEAST, room))
    body = f"{subject} {rest}".lstrip()
    if "WILL" in rest and " if this" not in rest:
        # A promise needs its time before its reasons.
        body, tail = f"{body} {tail}".rstrip(), ""
    ended = rest.startswith(("is over", "is resolved", "is closed", "is merged", "IS recovering"))
    room = LENGTH - len(head) - len(body) - len(tail) - 3
    if told.detail and not ended and room >= 8:
        body += f": {cut(told.detail, room)}"
    text = f"{head}{body} {tail}".rstrip()
    if told.place and not ended and len(text) + 1 + len(told.place) <= LENGTH:
        text += f" {told.place}"
    return cut(text, LENGTH)
