"""What a subscriber of the status page is written, in plain text and HTML: what was published, nothing else. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence

from detector.notify.messages.message import Envelope, Message
from detector.nouns import Notification
from detector.words import plain

_TITLE = 100
_LINES = 200
_STYLE = "font:15px/1.45 system-ui,-apple-system,'Segoe UI',sans-serif"


def asked(notification: Notification, page: str, components: Sequence[str], link: str, envelope: Envelope) -> Message:
    """Ask whether the address wants to be told; ``link``: where that is said."""
    what = f"{plain(page, _TITLE)}: {_of(components)}"
    paragraphs = [
        [f"Somebody, probably you, asked to be told by mail what is published on {what}."],
        ["Do you want that? Then say so here:", link],
        ["If you do nothing, you are not written to again."],
    ]
    return _message(notification, f"{plain(page, _TITLE)}: do you want to be told?", paragraphs, link, envelope)


def known(notification: Notification, page: str, components: Sequence[str], link: str, envelope: Envelope) -> Message:
    """Say that it is told already; ``link``: where that is ended."""
    paragraphs = [
        [f"Somebody, probably you, asked to be told what is published on {plain(page, _TITLE)}."],
        [f"You are told already, of {_of(components)}. To be told of something else, end it and ask anew:", link],
    ]
    return _message(notification, f"{plain(page, _TITLE)}: you are told already", paragraphs, link, envelope)


def told(
    notification: Notification, page: str, title: str, status: str, body: str, components: Sequence[str], link: str,
    envelope: Envelope,
) -> Message:  # fmt: skip
    """A word to the public; ``link``: where the page has it."""
    name = plain(title, _TITLE)
    lines = [plain(line, 2000) for line in body.splitlines()[:_LINES]]
    paragraphs = [[f"{status.capitalize()}: {name}"], lines]
    if components:
        paragraphs.append([f"It concerns {_of(components)}."])
    paragraphs.append(["All that is said of it:", link])
    return _message(notification, f"{plain(page, _TITLE)}: {name} ({status})", paragraphs, link, envelope)


def _of(components: Sequence[str]) -> str:
    names = [plain(name, 100) for name in components[:20]]
    more = [f"{len(components) - 20} more"] if len(components) > 20 else []
    return ", ".join([*names, *more]) or "all services"


def _message(
    notification: Notification, subject: str, paragraphs: Sequence[Sequence[str]], link: str, envelope: Envelope
) -> Message:
    end = ["You are told because you asked for it. To end it:", envelope.unsubscribe]
    whole = [part for part in (*paragraphs, end) if any(part)]
    return Message(
        subject=subject, title=subject, text="\n\n".join("\n".join(part) for part in whole) + "\n",
        html=_html(whole, {link, envelope.unsubscribe}), markdown="", link=link, dedup_key=notification.dedup_key,
        idempotency_key=notification.idempotency_key, event=notification.event, urgency="notify", severity="info",
        created_at=notification.created_at, envelope=envelope,
    )  # fmt: skip


def _html(paragraphs: Sequence[Sequence[str]], links: set[str]) -> str:
    e = html.escape
    parts = [f'<div style="{_STYLE}">']
    for paragraph in paragraphs:
        lines = [f'<a href="{e(line)}">{e(line)}</a>' if line in links else e(line) for line in paragraph]
        parts.append(f"<p>{'<br>'.join(lines)}</p>")
    return "\n".join([*parts, "</div>"])
