"""What a reporter is written, and whoever else is asked to a call, in plain text and HTML: pure. What people of the
desk write among themselves is never in it; of a restricted ticket it is only the way to the page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from detector.notify.messages.message import Attachment, Envelope, Message
from detector.nouns import Notification, Ticket
from detector.words import ANSWER_ABOVE, plain

_TITLE = 100
_LINES = 200
_STYLE = "font:15px/1.45 system-ui,-apple-system,'Segoe UI',sans-serif"
_BY_HAND = ("replied", "question")
_SAID: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "received": (
        ("We have your report. Its number is {key}.",),
        ("A machine wrote this; a person reads your report and answers you.",),
    ),
    "replied": ((), ()),
    "question": (("We need an answer of yours to go on.",), ("Answer this mail, or on your report's page.",)),
    "resolved": (
        ("We think that your problem is solved.",),
        ("Is it? Please say so on your report's page: solved, or not solved.",),
    ),
    "call": (
        ("You are asked to join a call about this.",),
        ("It is attached for your calendar. Should the time not suit you, answer this mail.",),
    ),
    "published": (("This is what we say of it on our status page:",), ()),
    "merged": (("Others reported the same. Your report is handled together with theirs.",), ()),
    "closed": (
        ("Your report is closed.",),
        ("Should the problem come back, answer this mail: it opens a new report.",),
    ),
}
"""Before and after what a person wrote."""


def letter(
    notification: Notification, link: str, envelope: Envelope, call: Sequence[str] = (),
    attachments: tuple[Attachment, ...] = (),
) -> Message:  # fmt: skip
    """Word a letter to the reporter of ``notification.ticket``; ``link``: the reporter's own page, empty for whoever
    else is asked to a call. ``call``: when and where that is."""
    ticket = notification.ticket
    key = plain(ticket.key, 40)
    if ticket.restricted:
        subject, paragraphs = "Your report", [["There is something new about your report."]]
    else:
        subject = f"[{key}] {_title(ticket)}"
        before, after = _SAID.get(notification.event, ((), ()))
        said = [plain(line, 2000) for line in notification.text.splitlines()[:_LINES]]
        paragraphs = [[line.format(key=key) for line in before], said, list(call), list(after)]
    paragraphs = [paragraph for paragraph in paragraphs if any(paragraph)]
    return Message(
        subject=subject, title=subject, text=_text(paragraphs, link), html=_html(paragraphs, link), markdown="",
        link=link, dedup_key=notification.dedup_key, idempotency_key=notification.idempotency_key,
        event=notification.event, urgency=notification.urgency, severity="info", created_at=notification.created_at,
        key=key, thread=notification.thread, envelope=envelope,
        attachments=() if ticket.restricted else attachments,
    )  # fmt: skip


def is_automatic(event: str) -> bool:
    """Whether a machine decided on the letter, whatever a person wrote into it."""
    return event not in _BY_HAND


def _title(ticket: Ticket) -> str:
    first = next((line for line in (ticket.description or "").splitlines() if line.strip()), "")
    return plain(ticket.title, _TITLE) or plain(first, _TITLE) or "Your report"


def _text(paragraphs: Sequence[Sequence[str]], link: str) -> str:
    parts = [f"--- Please {ANSWER_ABOVE} ---", *("\n".join(paragraph) for paragraph in paragraphs)]
    if link:
        parts.append(f"Your report's page, on which to read and answer:\n{link}\nWhoever has this address can do so.")
    return "\n\n".join(parts) + "\n"


def _html(paragraphs: Sequence[Sequence[str]], link: str) -> str:
    e = html.escape
    parts = [f'<div style="{_STYLE}">', f'<p style="font-size:13px">--- Please {ANSWER_ABOVE} ---</p>']
    parts += [f"<p>{'<br>'.join(e(line) for line in paragraph)}</p>" for paragraph in paragraphs]
    if link:
        parts.append(f'<p><a href="{e(link)}">Your report&#x27;s page</a>, on which to read and answer.<br>')
        parts.append("Whoever has this address can do so.</p>")
    return "\n".join([*parts, "</div>"])
