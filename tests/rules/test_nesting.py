"""A rule file nested without end is a problem by name, not the end of the process."""

from __future__ import annotations

import pytest

from detector.rules.groups import load_text


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "{a: " * 100_000, "? " * 100_000])
def test_nesting_is_bounded_before_libyaml_recurses(text: str) -> None:
    loaded = load_text(text, "rules.yml")
    assert "nested more than 50 deep" in loaded.problems[0].message
