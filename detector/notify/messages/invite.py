"""A call about a ticket for those who are asked to join: an iCalendar invitation (RFC 5545), and the same in a line."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from icalendar import Calendar, Event, vCalAddress, vText

from detector.nouns import Bridge, Ticket
from detector.words import DAY, clock, moment, plain, span


def invitation(ticket: Ticket, url: str, now: int) -> bytes | None:
    """The ticket's last call; None where there is none. It says where to join and what it is about, nothing more: it
    leaves the house."""
    call = ticket.bridge
    if call is None:
        return None
    calendar = Calendar()
    calendar.add("prodid", "-//proactive-detector//bridge//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    event = Event()
    event.add("uid", f"{ticket.key}-bridge-{call.number}@{url.partition('://')[2] or 'detector'}")
    event.add("dtstamp", _moment(now))
    event.add("dtstart", _moment(call.begins))
    event.add("dtend", _moment(call.ends))
    event.add("summary", f"{ticket.key}: call with the service desk")
    where = _where(call)
    event.add("location", where)
    if call.link:
        event.add("url", call.link)
    event.add("description", f"We lead through the fix of {ticket.key} together. Join: {where}")
    for name in call.attendees:
        if "@" in name and not any(char.isspace() for char in name):
            attendee = vCalAddress(f"mailto:{name}")
            attendee.params["ROLE"] = vText("REQ-PARTICIPANT")
            event.add("attendee", attendee, encode=False)
    calendar.add_component(event)
    made: bytes = calendar.to_ical()
    return made


def when_and_where(call: Bridge, now: int, zone: tzinfo) -> list[str]:
    """Lines for a letter, its times in ``zone``."""
    begins = moment(call.begins, zone)
    day = f"{begins:%A}, {clock(call.begins, call.begins - 400 * DAY, zone)} ({begins.tzname()})"
    when = "now" if call.begins <= now else day
    return [f"When: {when}, for {span(call.ends - call.begins)}", f"Where: {_where(call)}"]


def _where(call: Bridge) -> str:
    return " or ".join(part for part in (plain(call.link, 2000), plain(call.dial_in, 200)) if part)


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at // 1000, UTC)
