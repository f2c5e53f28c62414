"""iCalendar out and in: what a calendar program reads, and what people's calendars hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from icalendar import Calendar

from detector.config.compose import load
from detector.config.load import ConfigError
from detector.oncall.ical import MAX_BYTES, calendar, of_person, of_schedule, read, with_files
from detector.oncall.options import OnCallOptions, Override
from detector.oncall.schedule import on_call, shifts
from tests.rows import DAY, HOUR

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


NOW = at("2026-10-20T12:00:00+02:00")
SPAN = (NOW - 30 * DAY, NOW + 90 * DAY)
OPTIONS = OnCallOptions.model_validate(
    {
        "people": [{"name": "ann", "channels": ["a"]}, {"name": "ben", "channels": ["b"]}],
        "schedules": [
            {"name": "web", "zone": "Europe/Berlin", "layers": [{"people": ["ann", "ben"], "since": "2026-10-19"}]}
        ],
    }
)


def ics(*events: str) -> bytes:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//y//EN"]
    for number, event in enumerate(events):
        own = event.strip().splitlines()
        uid = [] if any(line.strip().startswith("UID") for line in own) else [f"UID:{number}"]
        lines += ["BEGIN:VEVENT", *uid, "DTSTAMP:20261001T000000Z", *(line.strip() for line in own), "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""]).encode()


def spans(found: list[Override]) -> list[tuple[str, str, float]]:
    out = []
    for one in found:
        start, end = one.start.astimezone(UTC), one.end.astimezone(UTC)
        out.append((one.who, f"{start:%m-%d %H:%M}", (end - start) / timedelta(hours=1)))
    return out


def test_ninety_days_of_shifts_are_events_that_follow_each_other_without_a_gap() -> None:
    schedule = OPTIONS.schedules[0]
    made = Calendar.from_ical(calendar("web", of_schedule(schedule, NOW), NOW))
    events = [(e.decoded("DTSTART"), e.decoded("DTEND"), str(e["SUMMARY"])) for e in made.walk("VEVENT")]
    assert events[0][0] == datetime.fromtimestamp(NOW / 1000, UTC)
    assert events[-1][1] == datetime.fromtimestamp(NOW / 1000, UTC) + timedelta(90)
    assert all(one[1] == other[0] and one[2] != other[2] for one, other in pairwise(events))
    hours = {(end - start) / timedelta(hours=1) for start, end, _ in events[1:-1]}
    assert hours == {168.0}
    assert (events[0][1]).astimezone(BERLIN).hour == 9, "a week with 25 hours on Sunday ends at nine as well"
    assert len({str(e["UID"]) for e in made.walk("VEVENT")}) == len(events)


def test_a_persons_calendar_is_theirs_alone_and_reads_back_as_it_was() -> None:
    mine = of_person(OPTIONS, "ben", NOW)
    found = read(calendar("ben", mine, NOW), BERLIN, *SPAN)
    assert [(one.who, one.start, one.end) for one in found] == [
        ("ben", datetime.fromtimestamp(s.start / 1000, UTC), datetime.fromtimestamp(s.end / 1000, UTC)) for _, s in mine
    ]


def test_zones_whole_days_and_durations() -> None:
    raw = ics(
        "SUMMARY:ann\nDTSTART;TZID=America/New_York:20261021T090000\nDTEND;TZID=America/New_York:20261021T170000",
        "SUMMARY:ben\nDTSTART:20261022T090000\nDURATION:PT8H",
        "SUMMARY:ann\nDTSTART;VALUE=DATE:20261025\nDTEND;VALUE=DATE:20261026",
        "SUMMARY:ann\nSTATUS:CANCELLED\nDTSTART:20261027T090000\nDTEND:20261027T100000",
        "SUMMARY:ben\nDTSTART:20200101T090000\nDTEND:20200101T100000",
    )
    assert spans(read(raw, BERLIN, *SPAN)) == [
        ("ann", "10-21 13:00", 8.0), ("ben", "10-22 07:00", 8.0), ("ann", "10-24 22:00", 25.0),
    ]  # fmt: skip


def test_what_recurs_keeps_its_wall_time_and_its_exceptions() -> None:
    raw = ics(
        "UID:w\nSUMMARY:ann\nDTSTART;TZID=Europe/Berlin:20261012T090000\nDTEND;TZID=Europe/Berlin:20261013T090000\n"
        "RRULE:FREQ=WEEKLY;BYDAY=MO;UNTIL=20261110T000000Z\nEXDATE;TZID=Europe/Berlin:20261019T090000",
        "UID:w\nSUMMARY:ben\nRECURRENCE-ID;TZID=Europe/Berlin:20261102T090000\n"
        "DTSTART;TZID=Europe/Berlin:20261102T100000\nDTEND;TZID=Europe/Berlin:20261102T120000",
        "UID:d\nSUMMARY:ben\nDTSTART;TZID=Europe/Berlin:20261024T220000\nDTEND;TZID=Europe/Berlin:20261025T060000\n"
        "RRULE:FREQ=DAILY;COUNT=2",
    )
    assert spans(read(raw, BERLIN, *SPAN)) == [
        ("ann", "10-12 07:00", 24.0), ("ben", "10-24 20:00", 9.0), ("ben", "10-25 21:00", 8.0),
        ("ann", "10-26 08:00", 24.0), ("ben", "11-02 09:00", 2.0), ("ann", "11-09 08:00", 24.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"hello", "it is no iCalendar"),
        (b"BEGIN:VCALENDAR\r\n\xff\xfe", "it is no iCalendar"),
        (ics("DTSTART:20261021T090000\nDTEND:20261021T100000"), "it has no summary"),
        (ics("SUMMARY:ann\nDTSTART:20261021T090000"), "event 'ann': it has neither DTEND nor DURATION"),
        (ics("SUMMARY:ann\nDTEND:20261021T090000"), "event 'ann': it has no DTSTART"),
        (ics("SUMMARY:ann\nDTSTART:20261021T090000\nDTEND:20261021T080000"), "ends before it starts"),
        (ics("SUMMARY:ann\nDTSTART:20261021T090000\nDTEND:20261021T100000\nRRULE:FREQ=SECONDLY"), "it recurs secondly"),
    ],
)
def test_what_is_no_calendar_of_shifts_is_refused_with_the_event(raw: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(raw, BERLIN, *SPAN)


def test_more_shifts_than_anybody_works_are_refused() -> None:
    daily = "SUMMARY:ann\nDTSTART:20261021T000000\nDTEND:20261021T000100\nRRULE:FREQ=DAILY;BYHOUR=" + ",".join(
        map(str, range(24))
    )
    with pytest.raises(ValueError, match="more than 1000"):
        read(ics(daily), BERLIN, *SPAN)


def test_a_layer_follows_a_file_and_gaps_of_it_fall_to_the_layer_below(tmp_path: Path) -> None:
    (tmp_path / "web.ics").write_bytes(
        ics("SUMMARY:ben\nDTSTART;TZID=Europe/Berlin:20261021T090000\nDTEND;TZID=Europe/Berlin:20261021T210000")
    )
    layers = [{"people": ["ann"]}, {"ical_file": "web.ics"}]
    given = OnCallOptions.model_validate(
        OPTIONS.model_dump(exclude={"schedules"}, exclude_defaults=True)
        | {"schedules": [{"name": "web", "zone": "Europe/Berlin", "layers": layers}]}
    )
    filled, paths = with_files(given, tmp_path, NOW)
    assert paths == (tmp_path / "web.ics",)
    begins = at("2026-10-21T09:00:00+02:00")
    assert [(s.start, s.people) for s in shifts(filled.schedules[0], NOW, NOW + 2 * DAY)] == [
        (NOW, ("ann",)), (begins, ("ben",)), (begins + 12 * HOUR, ("ann",)),
    ]  # fmt: skip
    assert on_call(filled.schedules[0], begins) == ("ben",)


CONFIG = """
channels: [{name: a, type: console}]
oncall:
  people: [{name: ann, channels: [a]}]
  schedules: [{name: web, layers: [{ical_file: web.ics}]}]
"""


def test_the_configuration_reads_it_watches_it_and_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    config = tmp_path / "detector.yml"
    config.write_text(CONFIG)
    with pytest.raises(ConfigError, match=r"detector\.yml:3: oncall: schedule web: .*web\.ics: it cannot be read"):
        load(config)
    (tmp_path / "web.ics").write_bytes(ics("SUMMARY:zoe\nDTSTART:20991021T090000\nDTEND:20991021T100000"))
    assert load(config).root.oncall.schedules[0].layers[0].shifts == ()
    soon = f"{datetime.now(UTC) + timedelta(1):%Y%m%dT%H%M%SZ}"
    (tmp_path / "web.ics").write_bytes(ics(f"SUMMARY:zoe\nDTSTART:{soon}\nDURATION:PT1H"))
    with pytest.raises(ConfigError, match="zoe is not among people: an event's summary is a person's name"):
        load(config)
    (tmp_path / "web.ics").write_bytes(ics(f"SUMMARY:ann\nDTSTART:{soon}\nDURATION:PT1H"))
    loaded = load(config)
    assert loaded.root.oncall.schedules[0].layers[0].shifts[0].who == "ann"
    assert tmp_path / "web.ics" in loaded.watched
    (tmp_path / "web.ics").write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than"):
        load(config)
