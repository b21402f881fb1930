"""Filters of runs: what can be written, what it means, and how a mistake is told."""

from __future__ import annotations

import math

import pytest

from shared.tracking.errors import FilterError
from shared.tracking.filters import (
    AllOf,
    Comparison,
    Field,
    IsThere,
    Not,
    OneOf,
    parse_filter,
    parse_order,
)

RATE = Field("metrics", "success_rate")
TEAM = Field("tags", "team")


def test_conditions_are_joined_with_and_before_or() -> None:
    assert parse_filter("metrics.success_rate > 0.8 and tags.team = 'web' or success = true") == (
        OneOf(
            (
                AllOf((Comparison(RATE, ">", (0.8,)), Comparison(TEAM, "=", ("web",)))),
                Comparison(Field("", "success"), "=", (True,)),
            )
        )
    )


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("tags.team in ('web', 'it''s')", Comparison(TEAM, "in", ("web", "it's"))),
        ("tags.team NOT IN ('web')", Not(Comparison(TEAM, "in", ("web",)))),
        ("tags.team is null", IsThere(TEAM, no=True)),
        ("tags.team IS NOT NULL", IsThere(TEAM, no=False)),
        ("not (tags.team ILIKE 'w%')", Not(Comparison(TEAM, "ilike", ("w%",)))),
        ("metrics.success_rate == -1.5e-3", Comparison(RATE, "=", (-0.0015,))),
        ("metrics.success_rate <= inf", Comparison(RATE, "<=", (math.inf,))),
        ("metrics.`pass @ 1`>0", Comparison(Field("metrics", "pass @ 1"), ">", (0.0,))),
        ('params."a.b" = 1', Comparison(Field("params", "a.b"), "=", (1.0,))),
        ("metrics.val/loss < 1", Comparison(Field("metrics", "val/loss"), "<", (1.0,))),
        ("((((status = 'failed'))))", Comparison(Field("", "status"), "=", ("failed",))),
        ("tags.trueish = 'x'", Comparison(Field("tags", "trueish"), "=", ("x",))),
    ],
)
def test_what_can_be_written(text: str, meant: object) -> None:
    assert parse_filter(text) == meant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("metrics.success_rate >", r"at its end \(character 23\): expected .*a number"),
        ("metrics.success_rate > > 1", r"at '> 1' \(character 24\)"),
        ("tags.team = web", r"at 'web'.*text in 'single quotes'"),
        ("tags.team = 'web", 'at "\'web"'),
        ("metric.x > 1", r"no field 'metric.x': did you mean metrics\.\?"),
        ("stats = 'x'", r"no field 'stats': did you mean status\?"),
        ("success_rate > 0.8", r"did you mean metrics.success_rate or params.success_rate"),
        ("and", "cannot be read"),
        ("x" * 10_001, "10001 characters; at most 10000"),
        ("tags.a = '\x00'", "NUL"),
        ("not " * 2_000 + "success = true", "nested too deeply"),
        (" or ".join(["success = true"] * 101), "101 conditions; at most 100"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_its_place(text: str, told: str) -> None:
    with pytest.raises(FilterError, match=told) as refused:
        parse_filter(text)
    assert len(str(refused.value).splitlines()) == 1


def test_an_order_is_a_field_and_a_direction() -> None:
    assert parse_order("metrics.success_rate desc") == (RATE, True)
    assert parse_order("started_at") == (Field("", "started_at"), False)
    for wrong in ("", "started_at down", "a b c", "begun"):
        with pytest.raises(FilterError):
            parse_order(wrong)
