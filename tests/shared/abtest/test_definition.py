from __future__ import annotations

import itertools
from typing import Any

import pytest

from shared.abtest.definition import PAYLOAD_BYTES, define
from shared.abtest.states import AbStatus, AbTestError, Move, after

EVEN = [{"name": "control", "weight": 0.5}, {"name": "treatment", "weight": 0.5}]
WHOLE: dict[str, Any] = {
    "name": "prompt",
    "variants": EVEN,
    "coverage": 0.1,
    "targeting": [{"attribute": "country", "operator": "in", "value": ["DE"]}],
    "namespace": {"name": "checkout", "first": 0, "last": 0.5},
    "holdout": {"name": "all", "share": 0.05},
    "forced": {"tester": "treatment"},
    "starts_at": "2026-01-01T00:00:00Z",
    "ends_at": "2026-02-01T00:00:00Z",
    "sticky": True,
    "success_metric": "task_completion_rate",
}


def test_a_definition_is_its_json() -> None:
    definition = define(WHOLE)
    assert define(definition.model_dump(mode="json")) == definition
    assert definition.rules.holdout == definition.holdout


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"variants": [EVEN[0]]}, "1 variants; a test has 2 or more"),
        ({"variants": EVEN * 500}, "1000 variants; a test has 2 to 100"),
        ({"variants": [EVEN[0], EVEN[0]]}, "two variants are named 'control'; names must be dist"),
        ({"variants": [EVEN[0], EVEN[1] | {"weight": 0.6}]}, r"sum to 1\.1; they must sum to 1"),
        ({"variants": [EVEN[0] | {"weight": -0.5}, EVEN[1] | {"weight": 1.5}]}, r"weight -0\.5"),
        ({"variants": [EVEN[0], EVEN[1] | {"weight": "0.5"}]}, r"variants\.1\.weight: "),
        ({"variants": [EVEN[0], EVEN[1] | {"color": "red"}]}, r"variants\.1\.color: "),
        ({"variants": [EVEN[0], {"name": "", "weight": 0.5}]}, r"variants\.1\.name: "),
        ({"variants": [EVEN[0], EVEN[1] | {"payload": [1]}]}, r"variants\.1\.payload: "),
        (
            {"variants": [EVEN[0], EVEN[1] | {"payload": {"p": "x" * PAYLOAD_BYTES}}]},
            "at most 16384 bytes as JSON",
        ),
        ({"variants": [EVEN[0], EVEN[1] | {"payload": {"p": "\x00"}}]}, "a NUL character"),
        ({"coverage": 1.5}, "coverage: "),
        ({"coverage": float("nan")}, "coverage: "),
        ({"targeting": [{"attribute": "x", "operator": "less", "value": "a"}]}, "takes a number"),
        ({"namespace": {"name": "n", "first": 0.5, "last": 0.5}}, r"from 0\.5 to 0\.5 is empty"),
        ({"holdout": {"name": "n", "share": 2}}, r"holdout\.share: "),
        ({"forced": {"u": "nobody"}}, "forced variant 'nobody'; this test's are"),
        ({"forced": {"": "control"}}, "unit id '' of 0 characters: it must be 1 to 1000"),
        ({"forced": dict.fromkeys(map(str, range(1001)), "control")}, "forced: .*at most 1000"),
        ({"ends_at": "2025-01-01T00:00:00Z"}, "which is not after it starts at 2026-01-01"),
        ({"ends_at": "2026-02-01T00:00:00"}, "ends_at: .*timezone"),
        ({"success_metric": "two words"}, "success_metric: "),
        ({"name": ""}, "name: "),
        ({"name": "a\nb"}, "printable"),
        ({"environment": "a:b"}, "has a colon"),
        ({"colour": 1}, "colour: "),
    ],
)
def test_what_makes_no_test_is_refused_in_one_line(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(AbTestError, match=complaint) as refused:
        define(WHOLE | change)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("token: short", r"looks like a secret, and would be stored as 'token: \[redacted\]'"),
        ("treat\x85ment", "must be printable"),
        ("treat\x7fment", "must be printable"),
        ("\u202etnemtaert", "must be printable, in one direction"),
        ("two\u2028lines", "must be printable"),
    ],
)
def test_a_variant_has_the_name_under_which_what_it_was_shown_to_is_stored(
    name: str, complaint: str
) -> None:
    with pytest.raises(AbTestError, match=complaint) as refused:
        define(WHOLE | {"variants": [EVEN[0], {"name": name, "weight": 0.5}], "forced": {}})
    assert "\n" not in str(refused.value)
    assert str(refused.value).isprintable()


def test_the_moves_are_these_and_no_others() -> None:
    allowed, refused = {}, []
    for status, move in itertools.product(AbStatus, Move):
        try:
            allowed[status.value, move.value] = after(status, move).value
        except AbTestError as error:
            refused.append(str(error).startswith(f"it is {status}; {move} takes a test that is "))
    assert refused == [True] * (25 - len(allowed))
    assert allowed == {
        ("draft", "start"): "running",
        ("running", "start"): "running",
        ("running", "pause"): "paused",
        ("paused", "pause"): "paused",
        ("paused", "resume"): "running",
        ("running", "resume"): "running",
        ("running", "conclude"): "concluded",
        ("paused", "conclude"): "concluded",
        ("concluded", "conclude"): "concluded",
        ("running", "stop"): "stopped",
        ("paused", "stop"): "stopped",
        ("concluded", "stop"): "stopped",
        ("stopped", "stop"): "stopped",
    }
