"""A ticket in words: facts in, text out; pure, no I/O, nothing kept.

The first line is a subject of at most 120 characters (priority, service, WILL or IS, what, by when); then what it means
and who holds it, at most three lines of evidence, the runbook, one link. Labels, annotations and reports are hostile:
they pass :func:`detector.words.plain` on their way in and the format's escaping on their way out.
"""

from detector.notify.messages.facts import incident
from detector.notify.messages.headline import headline, title
from detector.notify.messages.letter import letter
from detector.notify.messages.message import Attachment, Envelope, Message, Severity
from detector.notify.messages.render import render, trial_message
from detector.notify.messages.sentences import sentence

__all__ = [
    "Attachment", "Envelope", "Message", "Severity", "headline", "incident", "letter", "render", "sentence", "title",
    "trial_message",
]  # fmt: skip
