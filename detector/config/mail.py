"""The mail with those who report: what two rooms need of it, side by side."""

from __future__ import annotations

from email.utils import parseaddr
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from detector.ingest.imap import ImapOptions
from detector.notify.channels.letters import SmtpOptions
from detector.options import Options
from detector.words import mailbox, plain


def _sender(text: str) -> str:
    address = parseaddr(text)[1] if len(text) <= 400 and text.isprintable() else ""
    if not mailbox(address) or not address.isascii():
        raise ValueError(f"{plain(text, 80)!r} is no sender such as Service desk <desk@example.org>")
    return text


def _address(text: str) -> str:
    if not mailbox(text):
        raise ValueError(f"{plain(text, 80)!r} is no mail address such as security@example.org")
    return mailbox(text)


class MailOptions(Options):
    """``mail:``; without ``smtp`` nobody is written to, without ``imap`` no mailbox is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)

    sender: Annotated[str, AfterValidator(_sender)] | None = Field(None, alias="from")
    """Name and address that letters come from, and answers go to."""
    security_address: Annotated[str, AfterValidator(_address)] | None = None
    """A mail to it is a confidential report."""
    smtp: SmtpOptions | None = None
    imap: ImapOptions | None = None

    @model_validator(mode="after")
    def _whose(self) -> MailOptions:
        if self.smtp is not None and self.sender is None:
            raise ValueError("smtp: set mail.from, the address that letters come from")
        return self

    @property
    def name_and_address(self) -> tuple[str, str]:
        """Of the sender; both empty where there is none."""
        return parseaddr(self.sender or "")

    @property
    def own(self) -> frozenset[str]:
        """The addresses that nobody but we write from."""
        return frozenset(a.casefold() for a in (self.name_and_address[1], self.security_address or "") if a)
