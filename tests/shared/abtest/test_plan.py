"""What may be settled before a test begins, and what of it cannot be."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from shared.abtest.definition import define
from shared.abtest.metrics import COMPONENTS, Kind
from shared.abtest.own_metrics import OwnMetric
from shared.abtest.plan import Cap, Guardrail, Plan
from shared.abtest.states import AbTestError

EVEN = [{"name": "control", "weight": 0.5}, {"name": "treatment", "weight": 0.5}]
RETRIES: dict[str, Any] = {
    "name": "retries_per_task",
    "numerator": "attempts",
    "denominator": "tasks",
    "larger_is_better": False,
}


def plan_of(**given: Any) -> Plan:
    return define({"name": "prompt", "variants": EVEN} | given).plan


def test_without_a_plan_errors_latency_and_cost_must_not_get_worse() -> None:
    assert plan_of().guarded == ("error_rate", "llm_latency", "cost_per_unit")
    # What is compared is no guardrail of itself.
    assert plan_of(success_metric="cost_per_unit").guarded == ("error_rate", "llm_latency")
    assert plan_of(guardrails=[]).guarded == ()


def test_what_is_stored_says_all_of_it_and_is_read_back() -> None:
    plan = plan_of(
        guardrails=["error_rate", "cost_per_unit:5%", {"metric": "llm_latency", "margin": 0.2}],
        winsorize={"cost_per_unit": "p99.5", "llm_latency": 30},
        minimum_effect=0.02,
        units=20_000,
        pause_when_harmed=True,
        metrics=[RETRIES],
    )
    assert plan.guardrails[1:] == (
        Guardrail(metric="cost_per_unit", relative_margin=0.05),
        Guardrail(metric="llm_latency", margin=0.2),
    )
    assert plan.winsorize["cost_per_unit"] == Cap(quantile=0.995)
    assert Plan.model_validate(plan.model_dump(mode="json")) == plan
    assert plan.model_dump().keys() == Plan.model_fields.keys()


def test_a_cap_is_stored_in_whole_numbers() -> None:
    plan = plan_of(
        guardrails=["cost_per_unit", "llm_latency"],
        winsorize={"cost_per_unit": 0.12, "llm_latency": "p99"},
    )
    assert plan.winsorize["cost_per_unit"].at is None
    assert plan.capped_at("cost_per_unit").at == 120_000_000
    found = plan.capped_at("llm_latency", 4_000, 250)
    assert (found.at, found.of_units, found.quantile) == (4_000, 250, 0.99)


def test_success_has_two_names() -> None:
    assert plan_of(success_metric="success").success_metric == "task_completion_rate"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"guardrails": ["joy"]}, "metric 'joy': expected one of task_completion_rate"),
        ({"guardrails": ["error_rate", "error_rate:5%"]}, "'error_rate' is named twice among"),
        ({"guardrails": ["success"]}, "metric 'success': expected one of"),
        ({"guardrails": ["task_completion_rate"]}, "named twice among the success metric"),
        ({"guardrails": ["error_rate:much"]}, "guardrail 'error_rate:much': expected a metric"),
        ({"guardrails": ["error_rate:-1"]}, r"guardrails\.0\.margin: "),
        ({"guardrails": ["error_rate:nan"]}, r"guardrails\.0\.margin: "),
        ({"guardrails": ["error_rate:100%"]}, r"guardrails\.0\.relative_margin: "),
        ({"guardrails": ["llm_latency_p95:5%"]}, "of a quantile a margin is a number of s"),
        (
            {"guardrails": [{"metric": "error_rate", "margin": 1, "relative_margin": 0.1}]},
            "has two margins; expected one",
        ),
        ({"guardrails": [7]}, r"guardrails\.0: "),
        ({"guardrails": "error_rate"}, "guardrails: "),
        ({"minimum_effect": 0}, "minimum effect 0.0; expected a number above 0"),
        ({"minimum_effect": 2}, "is a share, of which 0.02 are 2 points"),
        ({"minimum_effect": float("inf")}, "minimum_effect: "),
        ({"units": 59}, "59 units; expected 60 or more"),
        ({"units": "many"}, "units: "),
        ({"alpha": 0.0}, "expected 0 < alpha < power < 1"),
        ({"power": 1.0}, "expected 0 < alpha < power < 1"),
        ({"pause_when_harmed": "yes"}, "pause_when_harmed: "),
        ({"winsorize": {"joy": 5}}, "metric 'joy': expected one of"),
        ({"winsorize": {"tokens_per_unit": 5}}, "cap of tokens_per_unit: nothing is compared by"),
        ({"winsorize": {"error_rate": 0.5}}, "cap of error_rate: expected one of llm_latency, "),
        ({"winsorize": {"cost_per_unit": "p50"}}, r"winsorize\.cost_per_unit\.quantile: "),
        ({"winsorize": {"cost_per_unit": "p100"}}, "cap 'p100': expected a number"),
        ({"winsorize": {"cost_per_unit": -1}}, r"winsorize\.cost_per_unit\.value: "),
        ({"winsorize": {"cost_per_unit": 1e-12}}, r"1e-12 \$; expected 1e-09 to 1e\+06"),
        ({"winsorize": {"cost_per_unit": {}}}, "a cap is a number or a percentile"),
        ({"winsorize": {"cost_per_unit": {"value": 1, "at": 5}}}, "settled when the test starts"),
        ({"winsorize": {"a\nb": "p99"}}, r"metric 'a\\nb': expected one of"),
        ({"winsorize": {"a\nb": "p"}}, r"winsorize\.a b: cap 'p'"),
        ({"winsorize": {"a" * 100_000: "p"}}, "winsorize.a{100}: cap 'p'"),
        ({"metrics": [RETRIES, RETRIES]}, "'retries_per_task' is named twice among own metrics"),
        ({"metrics": [RETRIES | {"name": "success"}]}, "metric 'success' is a built-in one"),
        ({"metrics": [RETRIES | {"name": "two words"}]}, r"metrics\.0\.name: "),
        ({"metrics": [RETRIES | {"numerator": "joy"}]}, "component 'joy': expected one of tasks"),
        ({"metrics": [RETRIES | {"numerator": "quality"}]}, "component 'quality': expected one"),
        ({"metrics": [RETRIES | {"denominator": "attempts"}]}, "over itself: always 1"),
        ({"metrics": [{"name": "x", "numerator": "tasks"}]}, r"metrics\.0\.larger_is_better: "),
        (
            {"metrics": [RETRIES | {"name": f"m{n}"} for n in range(11)]},
            "metrics: .*at most 10",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_one_line(given: Any, complaint: str) -> None:
    with pytest.raises(AbTestError, match=complaint) as refused:
        plan_of(**given)
    assert "\n" not in str(refused.value)


def test_an_own_metric_may_be_what_is_compared_or_a_guardrail_or_be_capped() -> None:
    calls = {"name": "failures", "numerator": "errors", "larger_is_better": False}
    plan = plan_of(
        success_metric="retries_per_task",
        guardrails=["failures:10%"],
        winsorize={"failures": 20},
        metrics=[RETRIES, calls],
    )
    assert plan.metric("retries_per_task").unit == "attempts per tasks"
    assert plan.metric("failures").kind is Kind.MEAN
    assert plan.metric("error_rate").unit == "share"


@pytest.mark.parametrize(
    ("of", "unit", "scale", "needs"),
    [
        (("cost_nanos", "tasks"), "$", 1e-9, ("unpriced_calls",)),
        (("tokens", "cost_nanos"), "tokens per $", 1e9, ("uncounted_calls", "unpriced_calls")),
        (("llm_calls", "attempts"), "share", 1.0, ()),
        (("errors", None), "errors", 1.0, ()),
    ],
)
def test_what_an_own_metric_is_counted_in_follows_its_components(
    of: tuple[str, str | None], unit: str, scale: float, needs: tuple[str, ...]
) -> None:
    made = OwnMetric(name="m", numerator=of[0], denominator=of[1], larger_is_better=True).made
    assert (made.unit, made.scale, made.needs_none_of) == (unit, scale, needs)
    assert set(made.needs_none_of) <= COMPONENTS.keys()


def test_what_is_no_share_is_not_called_one() -> None:
    own = OwnMetric.model_validate(RETRIES | {"unit": "share"})
    assert own.made.unit == "times"


def test_an_assigning_process_need_not_load_what_only_an_analysis_does() -> None:
    loaded = "import sys, shared.abtest.definition; print('numpy' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True, timeout=50
    )
    assert told.stdout.strip() == "False"
