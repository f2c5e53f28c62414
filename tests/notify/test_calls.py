"""Messages to a person: the link that takes it, many incidents in one message, memos that are about none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

from detector.notify.deliver import Deliverer
from detector.notify.messages import render, trial_message
from tests.notify.test_deliver import Scripted, house, owed, settled
from tests.notify.tickets import NOW, filling, notification

URL = "https://detector.example.org"
ACT = f"{URL}/a/1.YW5u.abc.sign"


def test_a_call_has_the_link_in_every_format_and_when_all_else_is_refused() -> None:
    message = render(notification(filling()), NOW, URL, UTC, ACT)
    assert f"Acknowledge: {ACT}" in message.text
    assert f'<a href="{ACT}"><b>Acknowledge</b></a>' in message.html
    assert f"[Acknowledge]({ACT})" in message.markdown
    assert message.brief == f"{message.subject}\n{ACT}"
    assert ACT not in str(message.facts)


def test_many_are_one_message_with_every_headline_and_the_most_urgent_first() -> None:
    others = tuple(replace(filling(), key=f"INC-{n}", priority="P2") for n in (50, 51, 52))
    first = replace(filling(), key="INC-49", priority="P2")
    message = render(replace(notification(first), also=(*others, filling())), NOW, URL, UTC, ACT)
    assert message.subject.startswith("5 incidents need you: P1 checkout: disk /data WILL be full")
    assert len(message.subject) <= 120
    for key in ("INC-42", "INC-49", "INC-50", "INC-51", "INC-52"):
        assert f"- {key} P" in message.text
    assert f"Acknowledge all: {ACT}" in message.text
    hidden = replace(filling(), key="INC-60", restricted=True, service="vault")
    assert "vault" not in render(replace(notification(first), also=(hidden,)), NOW, URL, UTC, ACT).text


def test_a_letter_is_its_subject_and_its_lines_and_no_more_than_text() -> None:
    said = ("Shift of <b>ann</b> is over", "1 opened\n\n- @here\x1b[2J")
    message = render(replace(notification(filling()), memo=said, event="report"), NOW, URL, UTC)
    assert message.subject == "Shift of <b>ann</b> is over"
    assert "&lt;b&gt;ann&lt;/b&gt;" in message.html
    assert "@here" not in message.text
    assert "\x1b" not in message.text
    assert (message.urgency, message.link, message.over) == ("notify", f"{URL}/oncall", True)
    assert "checkout" not in message.text


def test_a_test_message_asks_to_be_proven() -> None:
    message = trial_message("ops", NOW, URL, f"{URL}/proof/x")
    assert f"It arrived: {URL}/proof/x" in message.text
    assert "It arrived" not in trial_message("ops", NOW, URL).text


async def test_the_deliverer_signs_for_the_person_and_for_nobody_else() -> None:
    ops = Scripted("ops")
    async with house(ops) as h:
        deliverer: Deliverer = h.deliverer
        deliverer._sign = lambda keys, who, now: f"/a/{'-'.join(keys)}.{who}"
        h.outbox.owe(replace(owed(), recipient="ann"))
        h.outbox.owe(replace(owed(), id=2, idempotency_key="second"))
        deliverer.wake()
        await settled()
        acts = [message.act.rpartition("/")[2] for message in ops.taken]
        assert acts == ["INC-42.ann", ""]
