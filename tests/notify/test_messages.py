"""A message in full: the second line, evidence, runbook, link, and the same in every format."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from detector.clock import rfc3339
from detector.notify.messages import incident, render, trial_message
from detector.notify.messages.formats import link_target
from detector.nouns import Evidence, Ticket, TimelineEntry
from tests.notify.test_headline import any_ticket
from tests.notify.tickets import NOW, at, errors, filling, impact, notification, symptom, ticket

URL = "https://detector.example.org"


def test_a_message_says_what_it_means_who_holds_it_and_where_to_go() -> None:
    about = filling(runbook="https://runbooks.example.org/disk")
    assert render(notification(about), NOW, URL, UTC).text.splitlines() == [
        "P1 checkout: disk /data WILL be full 11:40 (11:25-12:05)",
        "Users are not hurt yet; at this rate they will be in 33 min (18-58). Nobody holds it yet (L3 storage), "
        "respond by 11:11.",
        "- Free space on /data falls, 286 MiB, since 10:56",
        "Runbook: https://runbooks.example.org/disk",
        "INC-42 https://detector.example.org/incidents/INC-42",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"assignee": "anna"}, "anna holds it (L3 storage)."),
        ({"phase": "disrupting", "disrupted_at": at("11:00")}, "Users are hurt now. Nobody holds it yet"),
        ({"phase": "recovering"}, "Its symptoms are quiet; it is over when they stay so."),
        ({"phase": "over", "state": "resolved", "resolved_at": at("11:05")}, "Nothing is left to do since 11:05."),
        ({"state": "merged", "merged_into": "INC-7"}, "Goes on in INC-7."),
        ({"impact": None}, "Users are not hurt yet. Nobody"),
        ({"impact": impact("10:00", "11:00", "11:20")}, "they will be any moment, within 13 min."),
    ],
)
def test_the_second_line_follows_the_state(changes: dict[str, object], said: str) -> None:
    assert said in render(notification(filling(**changes)), NOW, URL, UTC).text.splitlines()[1]


def test_a_message_about_what_became_worse_begins_with_that() -> None:
    worse = notification(filling(), event="worse", reason="priority P2 becomes P1")
    assert (
        render(worse, NOW, URL, UTC).text.splitlines()[1].startswith("Priority P2 becomes P1. Users are not hurt yet")
    )


def test_evidence_has_at_most_three_lines_and_says_how_many_more_there_are() -> None:
    many = [symptom(id=f"{i:016}", summary=f"sign number {i}", first_at=NOW - i * 60_000) for i in range(9)]
    lines = render(notification(ticket(*many)), NOW, URL, UTC).text.splitlines()
    evidence = [line for line in lines if line.startswith("- ")]
    assert len(evidence) == 3
    assert evidence[-1].endswith("(and 6 more)")


def test_what_hurts_leads_once_users_are_hurt() -> None:
    about = ticket(symptom(impact=impact("11:25", "11:40", "12:05")), errors(disruption=True, id="f" * 16),
                   phase="disrupting", category="errors", disrupted_at=at("11:00"))  # fmt: skip
    lines = render(notification(about), NOW, URL, UTC).text.splitlines()
    assert lines[0] == "P1 checkout: IS failing: 5xx 12 % of requests since 11:00"
    assert lines[2] == "- Requests fail, 12 %, since 10:56"


def test_a_runbook_of_the_rule_is_used_when_the_ticket_has_none() -> None:
    about = ticket(symptom(annotations={"runbook_url": "https://runbooks.example.org/x"}))
    assert "Runbook: https://runbooks.example.org/x" in render(notification(about), NOW, URL, UTC).text


def test_a_restricted_ticket_gives_nothing_away_in_any_format() -> None:
    secret = filling(restricted=True, service="payroll", runbook="leak", team="forensics", title="Laptop stolen")
    message = render(notification(secret), NOW, URL, UTC)
    everything = " ".join([message.subject, message.title, message.text, message.html, message.markdown,
        message.service,
                           message.category, json.dumps(message.facts)])  # fmt: skip
    for word in ("payroll", "data WILL", "leak", "forensics", "Laptop", "capacity"):
        assert word not in everything
    assert message.link in message.text


def test_severity_follows_priority_and_a_message_knows_that_it_is_over() -> None:
    for priority, severity in (
        ("P1", "critical"),
        ("P2", "error"),
        ("P3", "warning"),
        ("P4", "info"),
        (None, "warning"),
    ):
        assert render(notification(filling(priority=priority)), NOW, URL, UTC).severity == severity
    assert not render(notification(filling()), NOW, URL, UTC).over
    assert render(notification(filling(phase="over")), NOW, URL, UTC).over


def test_the_same_notification_is_worded_the_same_under_the_same_names() -> None:
    owed = notification(filling(), thread="first")
    first, second = (render(replace(owed, attempts=n), NOW, URL, UTC) for n in (0, 3))
    assert first == second
    assert (first.dedup_key, first.idempotency_key, first.thread) == ("INC-42/ops", "INC-42/ops/1", "first")


def test_a_trial_says_that_nothing_is_to_be_done() -> None:
    message = trial_message("ops", NOW, URL)
    assert message.subject == "Test: the detector reaches ops"
    assert "nothing is to be done" in message.text


def test_facts_have_the_names_of_the_api() -> None:
    about = filling(acknowledged_at=NOW)
    facts = incident(about)
    assert facts["predicted_disruption_between"] == [rfc3339(at("11:25")), rfc3339(at("12:05"))]
    assert facts["title"] == "disk /data WILL be full"
    assert facts["symptoms"][0]["time_to_impact_seconds"] == (at("11:40") - NOW) // 1000
    assert facts["clocks"] == [{"name": "response", "due_at": rfc3339(NOW + 300_000), "state": "running"}]
    assert "timeline" in facts
    told = TimelineEntry(NOW, "anna", "noted", {"text": "looking"})
    assert incident(about, [told])["timeline"] == [
        {"at": rfc3339(NOW), "who": "anna", "what": "noted", "data": {"text": "looking"}}
    ]
    odd = incident(ticket(symptom(value=float("nan"), score=float("inf"), lower=0.5)))
    assert odd["symptoms"][0]["value"] is None
    assert odd["symptoms"][0]["expected"] == {"lower": 0.5, "upper": None}


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://runbooks.example.org/a?b=c#d", True),
        ("http://10.0.0.1:8080/x", True),
        ("javascript:alert(1)", False),
        ("https://bank.example@evil.example/", False),
        ("https://x/](http://evil)", False),
        ('https://x/"onclick=', False),
        ("https://", False),
        ("https://[::1", False),
        ("see https://x", False),
    ],
)
def test_only_plain_addresses_become_links(url: str, taken: bool) -> None:
    assert bool(link_target(url)) is taken


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.targets: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert {name for name, _ in attrs} <= {"style", "href"}
        self.targets += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.words += data


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(any_ticket(), st.sampled_from([URL, ""]))
def test_no_ticket_breaks_a_message_in_any_format(about: Ticket, external: str) -> None:
    message = render(notification(about, event="worse", reason="<b>@here</b>"), NOW, external, UTC)
    text = message.text.splitlines()
    assert text[0] == message.subject
    assert len(text) <= 7
    assert all(len(line) <= 1200 for line in text)
    json.dumps(message.facts, allow_nan=False)

    page = _Tags()
    page.feed(message.html)
    assert page.tags <= {"div", "p", "b", "ul", "li", "a"}
    allowed = {message.link, about.runbook, *(s.annotations.get("runbook_url", "") for s in about.symptoms)}
    for target in page.targets:
        assert target.startswith(("http://", "https://"))
        assert target in allowed
    assert message.subject in page.words

    tokens = MarkdownIt("commonmark").parse(message.markdown)
    inline = [child for token in tokens for child in token.children or []]
    kinds = {token.type for token in [*tokens, *inline]}
    assert kinds <= {"paragraph_open", "paragraph_close", "inline", "text", "strong_open", "strong_close", "softbreak",
                     "hardbreak", "link_open", "link_close", "bullet_list_open", "bullet_list_close", "list_item_open",
                     "list_item_close", "text_special"}  # fmt: skip
    shown = "".join(token.content for token in inline)
    assert message.subject in shown
    links = [str(token.attrGet("href")) for token in inline if token.type == "link_open"]
    assert len(links) <= 2
    for sign in ("@here", "<!channel>", "<!here>"):
        assert sign not in message.markdown


def test_a_value_beside_words_without_a_number() -> None:
    told = symptom(summary="Free space falls", value=3e8, evidence=Evidence((), (), unit="bytes"))
    numbered = symptom(summary="Free space is 286 MiB", value=3e8)
    assert "- Free space falls, 286 MiB, since 10:56" in render(notification(ticket(told)), NOW, URL, UTC).text
    assert "- Free space is 286 MiB, since 10:56" in render(notification(ticket(numbered)), NOW, URL, UTC).text
