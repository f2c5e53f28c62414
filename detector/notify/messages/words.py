"""The wording of numbers and times, by the name it has for those who word messages; it lives in :mod:`detector.words`
because charts need it too and rooms do not import each other."""

from detector.words import between, clock, cut, number, plain, quantity, relative, seconds, size, span, unit_of, within

__all__ = [
    "between", "clock", "cut", "number", "plain", "quantity", "relative", "seconds", "size", "span", "unit_of",
    "within",
]  # fmt: skip
