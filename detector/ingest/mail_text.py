"""What somebody wrote, out of what a mail program made of it: HTML to text, without quoted mails and signatures. Pure,
linear in the length of the text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from detector.words import ANSWER_ABOVE as MARK

_LINES = frozenset({"br", "p", "div", "tr", "li", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "pre", "hr"})
_DROPPED = frozenset({"script", "style", "head", "title", "template", "noscript", "svg"})
_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9]{0,20})")
_QUOTE_STARTS = re.compile(
    r"(?i)(?:class|id)\s*=\s*[\"']?(?:gmail_quote|gmail_quote_container|yahoo_quoted|divRplyFwdMsg|appendonsend|"
    r"protonmail_quote|moz-cite-prefix|OLK_SRC_BODY_SECTION)"
)
_WROTE = re.compile(
    r"(?i)^(?:on|am|le|el|il|op|den|em)\b.{4,200}\b(?:wrote|schrieb|a écrit|escribió|ha scritto|schreef|skrev|escreveu)"
    r"\b.{0,120}:$"
)
_ORIGINAL = re.compile(r"(?i)^-{2,}\s*(?:original message|original appointment|ursprüngliche nachricht|"
                       r"message d'origine|mensaje original|messaggio originale)\s*-{2,}$")  # fmt: skip
_FROM = re.compile(r"(?i)^\*?(?:from|von|de|da|van|från)\*?:\s*\S")
_SENT = re.compile(
    r"(?i)^\*?(?:sent|date|gesendet|datum|envoyé|enviado|inviato|verzonden|skickat|to|an|à|para)\*?:\s*\S"
)
_SENT_FROM = re.compile(r"(?i)^(?:sent from my |von meinem .{2,40} gesendet|envoyé de mon |get outlook for )")
_MOST_LINES = 20_000


def from_html(text: str) -> str:
    """The text that a reader of the HTML would see, one line for each of its blocks; quoted mails are marked."""
    out: list[str] = []
    at = 0
    while (start := text.find("<", at)) >= 0:
        out.append(text[at:start])
        if text.startswith("<!--", start):
            end = text.find("-->", start + 4)
            at = len(text) if end < 0 else end + 3
            continue
        end = text.find(">", start)
        if end < 0:
            at = len(text)
            break
        tag = _TAG.match(text, start)
        name = tag[1].lower() if tag else ""
        at = end + 1
        if name and _QUOTE_STARTS.search(text, start, min(end, start + 2000)):
            out.append(f"\n{MARK}\n")
        if name in _DROPPED and text[start + 1] != "/":
            close = re.compile(f"(?i)</{name}").search(text, at)
            at = len(text) if close is None else close.start()
        elif name == "blockquote":
            out.append("\n" if text[start + 1] == "/" else "\n> ")
        elif name in _LINES:
            out.append("\n- " if name == "li" and text[start + 1] != "/" else "\n")
        elif name in ("td", "th"):
            out.append(" ")
    out.append(text[at:])
    lines = (" ".join(line.split()) for line in _broken("".join(out)))
    return html.unescape("\n".join(lines)).replace("\xa0", " ")


def _broken(text: str) -> list[str]:
    return text.replace("\r", "").split("\n")


def own_words(text: str, is_answer: bool) -> str:
    """Without the signature; of an answer also without the mail that it answers, unless nothing would be left."""
    lines = [line.rstrip() for line in _broken(text.replace("\0", ""))[:_MOST_LINES]]
    kept = _unsigned(_unquoted(lines)) if is_answer else _unsigned([line for line in lines if MARK not in line])
    # Some write below what they answer, and some send nothing else.
    below = [line for line in lines if not line.lstrip().startswith(">") and not _wrote(line.strip())]
    return _tidy(kept) or _tidy(line for line in below if MARK not in line) or _tidy(lines)


def _unquoted(lines: list[str]) -> list[str]:
    kept: list[str] = []
    for n, line in enumerate(lines):
        bare = line.strip()
        following = next((later.strip() for later in lines[n + 1 : n + 3] if later.strip()), "")
        if MARK in bare or _ORIGINAL.match(bare[:400]):
            break
        # Mail programs break the line "On Monday, Ann wrote:" where it grows too long.
        if _wrote(bare) or (following and _wrote(f"{bare[:200]} {following[:200]}")):
            break
        if _FROM.match(bare[:400]) and _SENT.match(following[:400]):
            break
        if not bare.startswith(">"):
            kept.append(line)
    while kept and re.fullmatch(r"[_\-\s]*", kept[-1]):
        kept.pop()
    return kept


def _wrote(line: str) -> bool:
    return line.endswith(":") and _WROTE.match(line[:400]) is not None


def _unsigned(lines: list[str]) -> list[str]:
    for n, line in enumerate(lines):
        # "-- " by the book; its blank is often lost on the way.
        if n and (line == "--" or (n >= len(lines) - 4 and _SENT_FROM.match(line[:200]))):
            return lines[:n]
    return lines


def _tidy(lines: Iterable[str]) -> str:
    """Without empty lines at both ends, and no more than one between."""
    text = "\n".join(lines)
    return re.sub(r"\n{3,}", "\n\n", text).strip()
