"""The formats' own escaping, and paragraphs put together in each: plain text, HTML for mail, Markdown for chat.

Everything handed in is :func:`detector.words.plain` already: what is left to do is to keep the format's own signs from
meaning anything.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

# CommonMark lets a backslash take the meaning from any ASCII punctuation. Escaped is what opens something inside a
# line; "#", "-" or "1." open something only where a line or an item begins.
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&$])")
_OPENING = re.compile(r"^(\s*)(?:(\d+)(?=[.)](?:\s|$))|(?=[#+=-]))")
_URL = re.compile(r"https?://[!-~]+")


def markdown(text: str) -> str:
    """CommonMark in which ``text`` is only text; Slack's ``<!here>`` and links come out of it taken apart as well."""
    return _MARKDOWN.sub(r"\\\1", text)


def _line(text: str) -> str:
    """As :func:`markdown`, for where a line or an item begins."""
    return _OPENING.sub(r"\1\2\\", markdown(text))


def link_target(url: str) -> str:
    """``url`` when it is a plain http(s) address that may be made clickable, else empty.

    Refused: other schemes, user names in it (they disguise the host), and signs that end a link in some format.
    """
    if len(url) > 2000 or not _URL.fullmatch(url) or any(sign in url for sign in "<>\"'`()[]{}|\\^*"):
        return ""
    try:
        parts = urlsplit(url)
        return url if parts.hostname and "@" not in parts.netloc else ""
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message before it has a format. ``runbook`` is an address or a sentence; ``link`` is the product's own."""

    subject: str
    meaning: str
    evidence: tuple[str, ...]
    runbook: str
    key: str
    link: str
    act: str = ""
    asks: str = "Acknowledge"
    """What the signed link ``act`` is for."""


def as_text(draft: Draft) -> str:
    lines = [draft.subject, draft.meaning, *(f"- {line}" for line in draft.evidence)]
    if draft.runbook:
        lines.append(f"Runbook: {draft.runbook}")
    if draft.act:
        lines.append(f"{draft.asks}: {draft.act}")
    lines.append(f"{draft.key} {draft.link}".strip())
    return "\n".join(line for line in lines if line)


def as_markdown(draft: Draft) -> str:
    # Two spaces end a line in CommonMark without opening a paragraph; chats show them as a line end too.
    lines = [f"**{markdown(draft.subject)}**", _line(draft.meaning), *(f"- {_line(e)}" for e in draft.evidence)]
    if draft.runbook:
        target = link_target(draft.runbook)
        lines.append(f"\nRunbook: {f'<{target}>' if target else markdown(draft.runbook)}")
    if draft.act:
        lines.append(f"\n[{markdown(draft.asks)}]({draft.act})")
    if draft.link:
        lines.append(f"\n[{markdown(draft.key or 'open')}]({draft.link})")
    return "  \n".join(line for line in lines if line)


# Mail clients drop style sheets: the few styles are in place, and no colour is set, so that light and dark both hold.
_BODY = "font:15px/1.45 system-ui,-apple-system,'Segoe UI',sans-serif"


def as_html(draft: Draft) -> str:
    e = html.escape
    parts = [f'<div style="{_BODY}">', f'<p style="font-size:18px;margin:0 0 8px"><b>{e(draft.subject)}</b></p>']
    if draft.meaning:
        parts.append(f'<p style="margin:0 0 12px">{e(draft.meaning)}</p>')
    if draft.evidence:
        items = "".join(f"<li>{e(line)}</li>" for line in draft.evidence)
        parts.append(f'<ul style="margin:0 0 12px;padding-left:20px">{items}</ul>')
    if draft.runbook:
        target = link_target(draft.runbook)
        shown = f'<a href="{e(target)}">{e(target)}</a>' if target else e(draft.runbook)
        parts.append(f'<p style="margin:0 0 12px">Runbook: {shown}</p>')
    if draft.act:
        parts.append(f'<p style="margin:0 0 12px"><a href="{e(draft.act)}"><b>{e(draft.asks)}</b></a></p>')
    if draft.link:
        parts.append(f'<p style="margin:0"><a href="{e(draft.link)}">{e(draft.key or "open")}</a></p>')
    return "\n".join([*parts, "</div>"])
