"""Every mistake in a configuration is named with file, line, key and what would be allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from detector.config.load import ConfigError, parse, read, validate
from detector.options import Duration, Options, Size, ms


class Console(Options):
    type: Literal["console"]
    colour: Literal["auto", "never"] = "auto"


class Webhook(Options):
    type: Literal["webhook"]
    url: str


class Evaluation(Options):
    interval: Duration = ms("15s")


class Root(Options):
    evaluation: Evaluation = Evaluation()
    body: Size = 1024
    channels: dict[str, Annotated[Console | Webhook, Field(discriminator="type")]] = Field(default_factory=dict)
    hosts: tuple[str, ...] = ()


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(parse(text, "d.yml"), Root)
    return [str(problem) for problem in caught.value.problems]


def test_an_empty_file_and_an_empty_mapping_are_valid() -> None:
    assert validate(parse("", "d.yml"), Root) == validate(parse("{}", "d.yml"), Root) == Root()


def test_an_unknown_key_is_named_with_its_line_and_a_guess() -> None:
    assert problems("body: 1KB\nevaluation:\n  intervall: 5s\n") == [
        "d.yml:3: evaluation.intervall: unknown key; did you mean interval? known here: interval"
    ]


def test_an_unknown_key_inside_a_union_lists_what_that_member_knows() -> None:
    found = problems("channels:\n  ops:\n    type: webhook\n    url: x\n    uri: y\n")
    assert len(found) == 1
    assert found[0].startswith("d.yml:5: channels.ops.uri: unknown key; did you mean url? known here:")


def test_a_value_that_is_not_allowed_is_shown_with_those_that_are() -> None:
    assert problems("channels:\n  ops: {type: console, colour: pink}\n") == [
        "d.yml:2: channels.ops.colour: 'pink' is not allowed; allowed: 'auto' or 'never'"
    ]
    assert problems("channels:\n  ops: {type: pigeon}\n") == [
        "d.yml:2: channels.ops: 'pigeon' is not allowed; allowed: 'console', 'webhook'"
    ]


def test_a_duration_needs_a_unit_and_a_size_too() -> None:
    assert problems("evaluation:\n  interval: 15\nbody: 3 bytes\n") == [
        "d.yml:2: evaluation.interval: a duration needs a unit, such as 15s, 5m or 1h30m",
        "d.yml:3: body: '3 bytes' is not a size such as 512KB, 16MiB or 1GiB",
    ]


def test_a_missing_key_is_reported_where_it_should_stand() -> None:
    assert problems("channels:\n  ops:\n    type: webhook\n") == ["d.yml:2: channels.ops.url: required, but missing"]


def test_a_key_given_twice_is_refused() -> None:
    assert problems("body: 1\nbody: 2\n") == ["d.yml:2: body: given twice"]


def test_a_syntax_error_names_its_line() -> None:
    assert problems("body: 1\nhosts: [a\n")[0].startswith("d.yml:3: YAML:")


def test_tags_are_refused_and_never_run() -> None:
    assert problems("body: !!python/object/apply:os.system ['true']\n")[0].startswith("d.yml:1: body")


def test_aliases_that_unfold_beyond_bounds_are_refused() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for name, before in zip("bcdefgh", "abcdefg", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    assert "more than 200000 values" in problems(bomb)[0]


def test_nesting_beyond_bounds_is_refused() -> None:
    assert "deep" in problems("a: " + "[" * 60 + "]" * 60)[0]


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "{a: " * 100_000])
def test_nesting_without_end_does_not_end_the_process(text: str) -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        parse(text, "f.yml")


def test_a_list_at_the_top_is_refused() -> None:
    assert "keys and values" in problems("- a\n")[0]


def test_a_file_that_cannot_be_read_or_is_not_text_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read(tmp_path / "missing.yml")
    (tmp_path / "binary.yml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"binary\.yml:2: not UTF-8"):
        read(tmp_path / "binary.yml")


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_any_text_is_a_configuration_or_a_named_problem(text: str) -> None:
    try:
        validate(parse(text, "d.yml"), Root)
    except ConfigError as error:
        assert error.problems
        assert all(problem.message for problem in error.problems)
