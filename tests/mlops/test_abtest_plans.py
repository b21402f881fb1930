"""`mlops ab` and `ConfigManager`: what is settled before a test begins, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from click.testing import Result

from mlops import ConfigManager
from mlops.console import Exit
from shared.abtest import copies
from shared.abtest.assignment import AssignmentError
from shared.abtest.guarding import pause_when_harmed
from shared.abtest.lifecycle import find
from shared.abtest.states import AbTestError
from shared.abtest.unit_analysis import judge_units
from shared.abtest.unit_sums import sum_units
from shared.database import TenantId, tenant_session
from shared.telemetry.events import Event, ExposureEvent, LlmCallEvent, TaskEndEvent
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.units import unit_digest

Command = Callable[..., Result]
SPLIT = ("--variant", "standard", "--variant", "concise")
PLAN = (
    *("--guardrail", "error_rate", "--guardrail", "cost_per_unit:5%"),
    *("--guardrail", "llm_latency:0.2", "--minimum-effect", "0.02", "--units", "20000"),
    *("--winsorize", "cost_per_unit=0.12", "--pause-when-harmed"),
    *("--own-metric", "retries=attempts/tasks:smaller"),
)


@pytest.fixture
def told(mlops: Command) -> Callable[..., Any]:
    """What a command that succeeds says on stdout: with --json what that means."""

    def run(*arguments: str) -> Any:
        answer = mlops("ab", *arguments)
        assert answer.exit_code == 0, answer.stderr
        return json.loads(answer.stdout) if "--json" in arguments else answer.stdout

    return run


@pytest.fixture
def refused(mlops: Command) -> Callable[..., None]:
    """A command ends with this code, one line on stderr that has the words, and nothing else."""

    def run(code: Exit, words: str, *arguments: str) -> None:
        answer = mlops("ab", *arguments)
        assert (answer.exit_code, answer.stdout) == (code, ""), answer.stderr
        assert answer.stderr.count("\n") == 1, answer.stderr
        assert words in answer.stderr

    return run


def put(tenant: TenantId, name: str, errors: int, units: int = 200) -> None:
    """Units of both variants with a task and a call each; of the second so many calls fail."""
    now = datetime.now(UTC) - timedelta(minutes=5)
    events: list[Event] = []
    with tenant_session(tenant) as session:
        test = find(session, name)
        for variant in ("standard", "concise"):
            for n in range(units):
                unit = {"occurred_at": now, "unit_id": unit_digest(f"{variant}-{n}")}
                failed = variant == "concise" and n < errors
                events += [
                    ExposureEvent(event_id=uuid4(), **unit, test_id=test.id, variant=variant),
                    TaskEndEvent(event_id=uuid4(), **unit, success=n % 2 == 0),
                    LlmCallEvent(
                        event_id=uuid4(),
                        **unit,
                        error_type="timeout" if failed else None,
                        latency_ms=100,
                        input_tokens=10**9 if n < 3 else 10**6 + n,
                    ),
                ]
        store(session, events, lambda call: CallCost(call.input_tokens, "a price"))
        while sum_units(session).more:
            pass


def test_a_plan_is_said_when_the_test_is_made_and_shown_with_what_has_become_of_it(
    told: Callable[..., Any], tenant: TenantId
) -> None:
    made = told("create", "prompt", *SPLIT, *PLAN, "--json")
    assert made["plan"]["guardrails"][1] == {
        "metric": "cost_per_unit", "margin": 0.0, "relative_margin": 0.05,
    }  # fmt: skip
    before = told("show", "prompt")
    assert "plan: compared by task_completion_rate, where 2 points matter; 20000 units" in before
    assert "llm_latency (0.2 s tolerated, open); one that is harmed pauses the test" in before
    assert "cost_per_unit is capped at 0.12 $" in before
    assert "retries is attempts per tasks; smaller is better" in before
    told("start", "prompt")
    put(tenant, "prompt", errors=150)
    after = told("show", "prompt")
    assert "error_rate (harmed by concise), cost_per_unit (5 % tolerated, open)" in after
    assert "llm_latency (0.2 s tolerated, held)" in after
    assert "capped at 0.12 $; above are 3 units of standard, 3 units of concise" in after
    assert (
        "by now a difference of 43.9 points would be told; what matters takes 49386 units in all"
    ) in after
    assert "20000 units are planned, and it takes 49386 of all variants together to show" in after
    found = told("show", "prompt", "--json")
    assert {one["metric"]: one["standing"] for one in found["comparisons"]} == {
        "task_completion_rate": None, "error_rate": "harmed", "cost_per_unit": "open",
        "llm_latency": "held", "retries": None,
    }  # fmt: skip


def test_a_test_that_was_paused_for_a_harm_says_so(
    told: Callable[..., Any], tenant: TenantId
) -> None:
    told("create", "prompt", *SPLIT, "--pause-when-harmed")
    told("start", "prompt")
    put(tenant, "prompt", errors=150)
    with tenant_session(tenant) as session:
        test = find(session, "prompt")
        assert pause_when_harmed(session, test, judge_units(session, test, datetime.now(UTC)))
    text = told("show", "prompt")
    assert "prompt is paused" in text
    assert "it was paused because error_rate of concise was harmed" in text


def test_a_draft_is_redefined_piece_by_piece_and_a_test_that_has_begun_is_not(
    told: Callable[..., Any], refused: Callable[..., None]
) -> None:
    told("create", "prompt", *SPLIT, *PLAN, "--coverage", "0.5")
    changed = told("redefine", "prompt", "--minimum-effect", "0.05", "--sticky", "--json")
    assert (changed["plan"]["minimum_effect"], changed["plan"]["units"]) == (0.05, 20_000)
    assert (changed["rules"]["sticky"], changed["rules"]["coverage"]) == (True, 0.5)
    changed = told("redefine", "prompt", "--metric", "error_rate", "--no-sticky", "--json")
    assert changed["success_metric"] == "error_rate"
    assert [one["metric"] for one in changed["plan"]["guardrails"]] == [
        "cost_per_unit",
        "llm_latency",
    ]
    told("redefine", "prompt", "--variant", "standard:0.2", "--variant", "concise:0.8")
    assert told("redefine", "prompt", "--guardrail", "none", "--winsorize", "cost_per_unit=1",
                "--metric", "cost_per_unit", "--json")["plan"]["guardrails"] == []  # fmt: skip
    refused(Exit.FAILURE, "it was changed meanwhile", "redefine", "prompt", "--version", "1")
    told("start", "prompt")
    seen = told("show", "prompt", "--json")
    refused(
        Exit.FAILURE,
        "test 'prompt' in 'production': it is running, and its definition is fixed with its plan",
        *("redefine", "prompt", "--minimum-effect", "0.01"),
    )
    assert told("show", "prompt", "--json") == seen
    refused(Exit.NOT_FOUND, "no A/B test 'none'", "redefine", "none")


def test_a_draft_is_not_renamed_by_its_rules(told: Callable[..., Any]) -> None:
    for name in ("one", "two"):
        told("create", name, *SPLIT)
    told("redefine", "one", "--rules", json.dumps({"name": "two", "coverage": 0.1}))
    rows = {row["name"]: row["rules"]["coverage"] for row in told("list", "--json")}
    assert rows == {"one": 0.1, "two": 1.0}


@pytest.mark.parametrize(
    ("code", "words", "arguments"),
    [
        (Exit.FAILURE, "1000 variants; a test has 2 to 100", ("--variant", "v") * 1000),
        (Exit.FAILURE, "named 'a'", ("--variant", "a:0.5", "--variant", "a:0.5")),
        (Exit.FAILURE, "sum to 1.1", ("--variant", "a:0.5", "--variant", "b:0.6")),
        (Exit.FAILURE, "weight -0.5 must be", ("--variant", "a:-0.5", "--variant", "b:1.5")),
        (Exit.FAILURE, "weight: ", ("--variant", "a:nan", "--variant", "b:1")),
        (Exit.FAILURE, "metric 'joy': expected", (*SPLIT, "--metric", "joy")),
        (Exit.FAILURE, "metric 'joy': expected", (*SPLIT, "--guardrail", "joy")),
        (Exit.FAILURE, "'error_rate:much': expected", (*SPLIT, "--guardrail", "error_rate:much")),
        (Exit.FAILURE, "is a share, of which", (*SPLIT, "--minimum-effect", "2")),
        (Exit.FAILURE, "59 units; expected 60", (*SPLIT, "--units", "59")),
        (Exit.FAILURE, "0 < alpha < power", (*SPLIT, "--alpha", "0.9")),
        (Exit.FAILURE, "alpha 1e-320; expected 1e-06", (*SPLIT, "--alpha", "1e-320")),
        (Exit.FAILURE, "power 0.9999; expected 0.999", (*SPLIT, "--power", "0.9999")),
        (
            Exit.FAILURE,
            "cap of cost_per_unit: 1e+300 $",
            (*SPLIT, "--winsorize", "cost_per_unit=1e300"),
        ),
        (Exit.USAGE, "said by the argument NAME", (*SPLIT, "--rules", '{"name": "x"}')),
        (
            Exit.FAILURE,
            "'llm_latency': a margin of 1e+300 s; expected 1e+12",
            (*SPLIT, "--guardrail", "llm_latency:1e300"),
        ),
        (
            Exit.FAILURE,
            "a margin of 5 share; expected 1 at",
            (*SPLIT, "--guardrail", "error_rate:5"),
        ),
        (Exit.USAGE, "said by --variant", (*SPLIT, "--rules", '{"variants": []}')),
        (Exit.FAILURE, "session: ", (*SPLIT, "--rules", '{"session": 1}')),
        (Exit.USAGE, "nested too deeply", (*SPLIT, "--rules", '{"a":' * 100_000)),
        (
            Exit.FAILURE,
            "least share or more, 0.05",
            ("--variant", "a:1", "--variant", "b:0", "--allocation", "thompson"),
        ),
        (Exit.FAILURE, "cap 'p100'", (*SPLIT, "--winsorize", "cost_per_unit=p100")),
        (Exit.FAILURE, "nothing is compared by", (*SPLIT, "--winsorize", "tokens_per_unit=5")),
        (Exit.USAGE, "is not METRIC=CAP", (*SPLIT, "--winsorize", "p99")),
        (Exit.USAGE, "is not NAME=NUMERATOR/", (*SPLIT, "--own-metric", "x=attempts/tasks")),
        (Exit.FAILURE, "component 'joy'", (*SPLIT, "--own-metric", "x=joy:larger")),
    ],
)
def test_what_makes_no_test_is_told_in_one_line_and_nothing_is_made(
    told: Callable[..., Any],
    refused: Callable[..., None],
    code: Exit,
    words: str,
    arguments: tuple[str, ...],
) -> None:
    refused(code, words, "create", "prompt", *arguments)
    assert told("list", "--json") == []


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("1000 variants; a test has 2 to 100", {"variants": [str(n) for n in range(1000)]}),
        ("two variants are named 'a'", {"variants": ["a", "a"]}),
        ("sum to 1.1", {"traffic_split": [0.5, 0.6]}),
        ("weight -0.5 must be", {"traffic_split": [-0.5, 1.5]}),
        ("a traffic split of 1 for 2 variants", {"traffic_split": [1.0]}),
        ("metric 'joy': expected one of", {"guardrails": ["joy"]}),
        ("minimum effect -0.1; expected", {"minimum_effect": -0.1}),
        ("p99 of the 28 days before is of 0 units", {"winsorize": {"cost_per_unit": "p99"}}),
        ("component 'joy'", {"metrics": [
            {"name": "x", "numerator": "joy", "larger_is_better": True}]}),
        ("colour: ", {"colour": 1}),
        ("variants {}: expected a list", {"variants": {}}),
        ("0 variants; a test has 2", {"variants": []}),
        ("variants None: expected a list", {"variants": None}),
        ("variants 'ab': expected a list", {"variants": "ab"}),
        ("variants.0: Input should be", {"variants": [1, 2]}),
        ("share 0 is 'x'; expected a number", {"traffic_split": ["x", "y"]}),
        ("share 0 is '0.5'; expected a number", {"traffic_split": ["0.5", "0.5"]}),
        ("share 0 is None; expected a number", {"traffic_split": [None, 1]}),
        ("share 0 is True; expected a number", {"traffic_split": [True, False]}),
        ("share 0 is 1000", {"traffic_split": [10**400, 0]}),
        ("a number that JSON does not have", {"variants": [
            {"name": "a", "payload": {"x": math.nan}}, "b"]}),
        ("a.dict.a.dict.a.dict", {"variants": [
            {"name": "a", "payload": reduce(lambda inner, _: {"a": inner}, range(3000), {})},
            "b"]}),
        ("start 'no': expected True or False", {"start": "no"}),
        ("winsorize.cost_per_unit: cap: ", {"winsorize": {"cost_per_unit": 10**400}}),
        ("name: Input should be a valid string", {"name": None}),
        ("environment: Input should be", {"environment": None}),
        ("weight 0 of 'b': the weights never", {
            "allocation": "thompson", "sticky": True, "least_share": 0.0, "traffic_split": [1, 0]}),
    ],
)  # fmt: skip
def test_what_makes_no_test_is_refused_in_python_too_and_nothing_is_made(
    tenant: TenantId, told: Callable[..., Any], words: str, given: dict[str, Any]
) -> None:
    with pytest.raises(AbTestError) as refusal:
        ConfigManager(tenant).create_ab_test(**{"name": "prompt", "variants": ["a", "b"]} | given)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500
    assert told("list", "--json") == []


@pytest.mark.parametrize("unit", ["", "u" * 2**20, "a\x00b", "\ud800"])
def test_what_is_no_unit_is_refused_in_one_line(
    tenant: TenantId, told: Callable[..., Any], refused: Callable[..., None], unit: str
) -> None:
    manager = ConfigManager(tenant)
    manager.create_ab_test("prompt", ["a", "b"], guardrails=[], pause_when_harmed=True)
    try:
        with pytest.raises(AssignmentError) as refusal:
            manager.assign("prompt", unit)
    finally:
        copies.close_copies()
    assert len(str(refusal.value)) < 300
    assert "\n" not in str(refusal.value)
    refused(Exit.FAILURE, "unit id", "assign", "prompt", unit)
    version = told("show", "prompt", "--json")["version"]
    refused(Exit.FAILURE, "unit id", "force", "prompt", unit, "a")
    assert told("show", "prompt", "--json")["version"] == version


def test_what_is_assigned_by_other_than_names_and_attributes_is_refused_in_one_line(
    tenant: TenantId,
) -> None:
    manager = ConfigManager(tenant)
    country = {"attribute": "country", "operator": "is", "value": "DE"}
    manager.create_ab_test("prompt", ["a", "b"], targeting=[country], coverage=0.0)
    try:
        for test in (None, 5, []):
            with pytest.raises(AssignmentError, match=r"test .* is no text but"):
                manager.assign(test, "u")  # type: ignore[arg-type]
        for attributes in ("x", 5, [1]):
            with pytest.raises(AssignmentError, match="attributes are no mapping but"):
                manager.assign("prompt", "u", attributes)  # type: ignore[arg-type]
        several = {"country": np.array(["DE", "FR"])}
        assert manager.assign("prompt", "u", several).reason == "not_targeted"
        assert manager.assign("prompt", "u", {"country": "DE"}).reason == "not_covered"
    finally:
        copies.close_copies()


def test_a_test_goes_its_way_in_python_as_by_commands(tenant: TenantId) -> None:
    manager = ConfigManager(tenant)
    made = manager.create_ab_test("prompt", ["a", "b"], start=False)
    assert repr(made) == "<AbTest 'prompt' in 'production': draft, version 1>"
    assert manager.start_ab_test("prompt").status == "running"
    assert manager.pause_ab_test("prompt", expected_version=2).status == "paused"
    with pytest.raises(AbTestError, match="it was changed meanwhile"):
        manager.resume_ab_test("prompt", expected_version=2)
    assert manager.resume_ab_test("prompt").status == "running"
    assert manager.ramp_ab_test("prompt", 0.5).rules["coverage"] == 0.5
    weighted = manager.change_ab_weights("prompt", {"a": 0.2, "b": 0.8})
    assert [one["weight"] for one in weighted.variants] == [0.2, 0.8]
    for refused_as, call in (
        ("coverage is 'x'", lambda: manager.ramp_ab_test("prompt", "x")),  # type: ignore[arg-type]
        ("weights 5: expected", lambda: manager.change_ab_weights("prompt", 5)),  # type: ignore[arg-type]
        ("it is in production", lambda: manager.stop_ab_test("prompt", "staging")),
    ):
        with pytest.raises(AbTestError, match=refused_as):
            call()
    assert manager.conclude_ab_test("prompt", "b").winner == "b"
    assert manager.stop_ab_test("prompt").status == "stopped"


def test_a_bandit_is_given_no_weights_below_its_least_share(tenant: TenantId) -> None:
    manager = ConfigManager(tenant)
    third = {"a": 0.333, "b": 0.333, "c": 0.334}
    manager.create_ab_test(
        "prompt", [*third], sticky=True, allocation="thompson", least_share=1 / 3
    )
    # As the bandit itself gives them.
    manager.change_ab_weights("prompt", third)
    with pytest.raises(AbTestError, match="least share or more"):
        manager.change_ab_weights("prompt", {"a": 0.3, "b": 0.35, "c": 0.35})


def test_a_unit_that_is_none_or_not_forced_is_not_let_go(
    told: Callable[..., Any], refused: Callable[..., None]
) -> None:
    told("create", "prompt", *SPLIT)
    told("force", "prompt", "tester", "concise")
    for unit in ("a\x00b", "\ud800", "u" * 2**20):
        refused(Exit.FAILURE, "unit id", "force", "prompt", unit)
    refused(Exit.FAILURE, "unit 'other' is not forced", "force", "prompt", "other")
    assert told("force", "prompt", "tester", "--json")["rules"]["forced"] == {}
    for where in ("a\x00b", "\ud800", "u" * 2**20):
        refused(Exit.NOT_FOUND, "printable", "force", "prompt", "u", "a", "--environment", where)


def test_the_end_of_a_test_is_told_as_its_end_with_what_speaks_against_the_winner(
    told: Callable[..., Any], mlops: Command, tenant: TenantId
) -> None:
    told("create", "prompt", *SPLIT, "--units", "20000")
    told("start", "prompt")
    put(tenant, "prompt", errors=150)
    ended = mlops("ab", "conclude", "prompt", "concise")
    assert ended.stdout.startswith(
        "prompt concluded with concise, undecided: 400 of 20000 units, and nothing was told"
    )
    assert "warning: concise harms the guardrail error_rate: +75.0 points" in ended.stderr
    shown = told("show", "prompt")
    assert shown.startswith("concluded with concise, undecided: 400 of 20000 units")
    assert "points on average, over all that is possible" in shown
    assert told("list", "--environment", "staging").startswith("no A/B tests in staging yet")
    refused = mlops("ab", "show", "prompt", "--environment", "staging")
    assert (refused.exit_code, refused.stdout) == (Exit.NOT_FOUND, "")
    assert "it is in production" in refused.stderr


def test_a_percentile_that_cannot_be_taken_yet_is_told_of_when_the_test_is_made(
    told: Callable[..., Any], mlops: Command
) -> None:
    made = mlops("ab", "create", "prompt", *SPLIT, "--winsorize", "cost_per_unit=p99")
    assert (made.exit_code, made.stdout) == (0, "prompt draft\n")
    assert "it cannot start as it is: cap of cost_per_unit: p99" in made.stderr
    assert "is of 0 units, and it takes 100" in made.stderr
    assert "above are" not in told("show", "prompt")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        # The published figure of the textbook's formula.
        (("--baseline", "0.10", "--effect", "0.02"), "2 points takes 3838 units of each variant"),
        (("--deviation", "2", "--effect", "0.5"), "of 0.5 takes 251 units of each variant"),
        (("--baseline", "0.1", "--units", "3838"), "show a difference of 1.919 points"),
        (
            ("--baseline", "0.10", "--effect", "0.02", "--units-a-day", "1000"),
            "7.7 days at 1000 units a day",
        ),
    ],
)
def test_the_power_of_a_test_is_known_before(
    told: Callable[..., Any], arguments: tuple[str, ...], says: str
) -> None:
    assert says in told("power", *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--effect", "0.02"), "either a baseline, of a share, or a deviation"),
        (("--baseline", "0.1", "--deviation", "1", "--effect", "1"), "either a baseline"),
        (("--baseline", "0.1"), "either an effect or a number of units"),
        (("--baseline", "0.1", "--effect", "0.95"), "a share of 0.1 against 1.05"),
        (("--baseline", "0.1", "--effect", "nan"), "effect nan; expected a finite number"),
        (("--deviation", "0", "--effect", "1"), "deviation 0.0; expected a finite number above 0"),
        (("--baseline", "0.1", "--effect", "1e-300"), "takes more than 1e+12 units of each"),
        (("--deviation", "1e308", "--effect", "1"), "a variance of inf"),
        (("--baseline", "0.1", "--units", f"{10**400}"), "expected at most 1e+12"),
        (("--baseline", "0.1", "--units", "0"), "0 units of each variant; expected 1 or more"),
        (("--baseline", "0.1", "--effect", "0.1", "--power", "0"), "0 < alpha < power < 1"),
        (("--baseline", "0.1", "--effect", "0.1", "--units-a-day", "0"), "0.0 units a day"),
    ],
)
def test_what_has_no_power_is_refused(
    refused: Callable[..., None], arguments: tuple[str, ...], words: str
) -> None:
    refused(Exit.USAGE, words, "power", *arguments)
