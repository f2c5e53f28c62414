"""What can go wrong with an expression."""

from __future__ import annotations


class PromQLError(Exception):
    """The expression cannot be used; the message is for the person who wrote it."""


class ParseError(PromQLError):
    """The text is not PromQL, or uses what this engine cannot do (then the message names it)."""


class ExecutionError(PromQLError):
    """The expression is right and its evaluation failed, such as many-to-many matching."""


class BudgetExceeded(PromQLError):
    """The evaluation would touch more samples, or take longer, than the caller allows."""
