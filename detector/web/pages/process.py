"""The steps of the process that a ticket may take, as forms: data that the incident page draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from detector.nouns import Priority, Ticket
from detector.tickets.acts import CHECKLIST
from detector.tickets.lifecycle import ENDED, TIERS
from detector.tickets.public import STATUSES

WAITS: Mapping[str, str] = {"user": "the user", "supplier": "a supplier", "change": "a change"}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form: a line, several, a choice of ``options``, or a box to tick."""

    name: str
    label: str
    kind: Literal["line", "text", "choice", "box"] = "text"
    options: tuple[tuple[str, str], ...] = ()
    required: bool = False
    value: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """An act that is offered: what the button says, what pressing it does."""

    action: str
    label: str
    effect: str
    button: str
    fields: tuple[Field, ...] = ()


def process(
    ticket: Ticket, categories: Sequence[str], basics: Sequence[str] = (), people: Sequence[str] = ()
) -> list[Form]:
    """The steps of the process that this ticket may take now, beside those that every ticket has."""
    if ticket.state == "merged":
        return []
    forms: list[Form] = []
    if ticket.state not in ENDED:
        forms += _calling(ticket, people) + _decisions(ticket) + _investigation(ticket) + _handling(ticket, categories)
    if ticket.state not in ENDED:
        forms += _calls(ticket) + _relations(ticket)
    if ticket.reporter is not None and ticket.state not in ENDED:
        left = [text for text in basics if text not in {q.text for q in ticket.questions}]
        asked = Field("questions", "Questions, one a line", required=True, value="\n".join(left))
        forms.insert(0, Form("ask", "Ask", "the ticket waits for the answers", "Ask the reporter", (asked,)))
    if ticket.reporter is not None:
        text = Field("text", "What the reporter should know", required=True)
        forms.insert(0, Form("reply", "Reply", "the reporter can read it", "Send it to the reporter", (text,)))
    if not ticket.restricted and ticket.kind != "request":
        forms += _communication(ticket)
    if ticket.tier == TIERS[-1] and ticket.kind != "request":
        fields = tuple(
            Field(name, label, required=True, value=value)
            for name, label, value in (
                ("cause", "Cause", ticket.cause),
                ("fix", "Fix", ticket.fix),
                ("prevention", "Prevention: what keeps it from coming back", ticket.prevention),
            )
        )
        forms.append(Form("record", "Record the cause", "L3 closes with it only", "Record cause and fix", fields))
    return forms


def _calling(ticket: Ticket, people: Sequence[str]) -> list[Form]:
    """Where people are called in person."""
    if not people:
        return []
    why = (Field("reason", "Why it is not yours", "line", required=True),)
    forms = [Form("not-mine", "Not mine", "the next one is called at once", "Give it back", why)]
    if others := tuple((name, name) for name in people if name != ticket.assignee):
        fields = (Field("person", "Whom", "choice", others), Field("text", "What for"))
        forms.append(Form("help", "Help", "somebody is called as well", "Call them; it stays where it is", fields))
    return forms


def _decisions(ticket: Ticket) -> list[Form]:
    forms: list[Form] = []
    fields: tuple[Field, ...]
    if ticket.kind != "incident" or not ticket.symptoms:
        others = [kind for kind in ("incident", "request") if kind != ticket.kind]
        options = tuple((kind, f"a{'n' if kind == 'incident' else ''} {kind}") for kind in others)
        fields = (Field("kind", "It is", "choice", options),)
        forms.append(Form("decide", "Decide", "an incident or a request", "Decide", fields))
    if ticket.breach is not None:
        found = Field("text", "What was found", required=True)
        verdicts = (("confirmed", "confirmed"), ("dismissed", "dismissed"))
        verdict = Field("verdict", "The suspicion is", "choice", verdicts)
        forms.append(Form("judge", "Judge the suspicion", "confirmed or dismissed", "Judge", (verdict, found)))
        if left := tuple((item, item.replace("-", " ")) for item in CHECKLIST if item not in ticket.checklist):
            fields = (Field("item", "Done", "choice", left), Field("text", "How"))
            forms.append(Form("check", "Checklist", f"{len(left)} of {len(CHECKLIST)} to be done", "Done", fields))
    return forms


def _calls(ticket: Ticket) -> list[Form]:
    """A call that leads the user through the fix, what came of it, and past solutions that were tried."""
    who = Field("attendees", "Who joins beside the reporter, one a line")
    fields: tuple[Field, ...] = (
        Field("link", "Link of the call", "line"), Field("dial_in", "Or a number to dial", "line"),
        Field("minutes", "For how many minutes", "line", value="60"), who,
    )  # fmt: skip
    forms = [Form("bridge", "Call", "by video or telephone, the reporter among them", "Open the call", fields)]
    if ticket.bridge is not None and not ticket.bridge.outcome:
        came = Field("text", "What came of it", required=True)
        forms.append(Form("end-bridge", "End the call", "its outcome is kept", "The call is over", (came,)))
    if offered := tuple((str(one["key"]), str(one["key"])) for one in ticket.similar):
        fields = (
            Field("solution", "The solution of", "choice", offered), Field("helped", "It helped", "box"),
            Field("text", "How"),
        )  # fmt: skip
        forms.append(Form("use", "Past solution used", "so that it is known which ones help", "Record it", fields))
    return forms


def _relations(ticket: Ticket) -> list[Form]:
    hows = (("related", "related to"), ("caused-by", "caused by"), ("causes", "the cause of"))
    fields: tuple[Field, ...] = (
        Field("to", "Key of an incident or a problem", "line", required=True), Field("how", "It is", "choice", hows)
    )  # fmt: skip
    forms = [Form("link", "Link", "with another incident, or a problem behind it", "Link them", fields)]
    if len(ticket.symptoms) > 1:
        options = tuple((s.id, s.summary or s.name) for s in ticket.symptoms)
        fields = (Field("symptoms", "Goes on in a ticket of its own", "choice", options), Field("reason", "Why"))
        forms.append(Form("split", "Split", "a symptom has another cause", "Split it off", fields))
    return forms


def _communication(ticket: Ticket) -> list[Form]:
    """The public hears what a person publishes; a draft waits for it."""
    waiting = ticket.draft
    last = waiting.status if waiting is not None else ticket.public[-1].status if ticket.public else "investigating"
    words = tuple((status, status) for status in STATUSES)
    fields = (
        Field("status", "Status", "choice", words, value=last),
        Field("title", "Headline", "line", value=ticket.public_title or f"{ticket.service} is disrupted"),
        Field("body", "What everybody may read", required=True, value=waiting.body if waiting is not None else ""),
    )
    effect = "everybody reads it on the status page"
    return [
        Form("publish", "Publish", effect, "Publish: everybody can read it", fields),
        Form("draft", "Draft for the public", "it waits for somebody to publish it", "Save the draft", fields),
    ]


def _investigation(ticket: Ticket) -> list[Form]:
    stated = Field("text", "It may be that", "line", required=True)
    forms = [Form("hypothesis", "Hypothesis", "what may be the cause", "State it", (stated,))]
    fields: tuple[Field, ...]
    if open_ones := tuple((str(h.number), h.text) for h in ticket.hypotheses if h.state == "stated"):
        fields = (
            Field("number", "Hypothesis", "choice", open_ones),
            Field("holds", "Confirmed (otherwise rejected)", "box"),
            Field("text", "What shows it"),
        )
        forms.append(Form("settle", "Confirm or reject", "a hypothesis is settled", "Settle it", fields))
    applied = Field("text", "What was applied", required=True)
    forms.append(Form("fix", "Fix applied", "a step with its own time", "It is applied", (applied,)))
    fields = (Field("text", "How it was checked"),)
    if any(symptom.active for symptom in ticket.symptoms):
        fields = (*fields, Field("force", "Although symptoms are active", "box"))
    return [*forms, Form("restore", "Restored", "the service works again", "It works again", fields)]


def _handling(ticket: Ticket, categories: Sequence[str]) -> list[Form]:
    forms: list[Form] = []
    fields: tuple[Field, ...]
    if ticket.waiting is not None:
        why = (Field("reason", "Why"),)
        forms.append(Form("resume", "Go on", "the resolution clock runs again", "Go on", why))
    waits = tuple(wait for wait in WAITS.items() if wait[0] != ticket.waiting)
    fields = (Field("reason", "For", "choice", waits), Field("text", "What for"))
    forms.append(Form("wait", "Wait", "the resolution clock stands still", "Wait", fields))
    others = tuple((tier, tier) for tier in TIERS if tier != ticket.tier)
    fields = (Field("tier", "Whom", "choice", others), Field("text", "What they should know"))
    forms.append(Form("inform", "Inform", "another tier is told, it stays here", "Inform them", fields))
    names = tuple((name, name) for name in categories)
    fields = (Field("category", "Category", "choice", names, value=ticket.category or ""),)
    forms.append(Form("categorise", "Category", "by hand, for good", "Set the category", fields))
    levels = tuple((priority, priority) for priority in get_args(Priority))
    fields = (
        Field("priority", "Priority", "choice", levels, value=ticket.priority or ""),
        Field("reason", "Why", required=True),
    )
    forms.append(Form("prioritise", "Priority", "by hand, for good", "Set the priority", fields))
    return forms
