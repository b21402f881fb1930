from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.alerts.drifting import tell_of_drift
from shared.alerts.tables import Alert
from shared.database import TenantId, tenant_of, tenant_session
from shared.drift.baselines import (
    EVERY,
    Baseline,
    BaselineError,
    BaselineKind,
    accept,
    remove_baseline,
    set_baseline,
)
from shared.drift.budget import BudgetError, set_false_alarms_a_week
from shared.drift.drawing.metric import draw_metric
from shared.drift.effects import Effect
from shared.drift.minimum_effects import remove_minimum_effect, set_minimum_effect
from shared.drift.query_words import vocabularies
from shared.drift.reading import findings_of, newest_findings
from shared.drift.recalling import recalled
from shared.drift.showing import Distribution, NewWords, Volume, quantile
from shared.drift.sweep import MetricFinding, SweepResult, detect
from shared.drift.tables import DriftDetection
from shared.drift.verdicts import DriftState
from shared.drift.watching import watch_for_drift
from shared.drift.windows import look
from shared.drift.wording import days_said
from shared.evaluation.agents.registry import describe_agent
from shared.jobs.contracts import CheckQuality, DetectDrift, LastRequests, WindowOf
from shared.jobs.tables import JobRow
from shared.registry.models import RegistryError, register
from shared.telemetry.days import mark_days
from shared.telemetry.features.built_in import MONITORED
from shared.telemetry.features.definitions import DataType, Source
from shared.telemetry.features.registering import register_feature
from shared.telemetry.features.watching import unwatch
from shared.telemetry.features.writing import write_values
from shared.telemetry.histograms import Histogram
from shared.telemetry.metrics import HISTOGRAMS
from shared.telemetry.reading import Window
from shared.telemetry.tables import DirtyHour, ModelPerformance
from shared.telemetry.texts import measure_text
from shared.telemetry.word_counts import WordCounts
from shared.tenancy.tables import AuditEntry
from shared.tenancy.tenants import create_tenant

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
WALKER = "walker@1.0.0"
METRICS = [feature.name for feature in MONITORED]

Values = dict[str, Any]


def window(start: datetime, hours: int = 1, function: str | None = None) -> WindowOf:
    return WindowOf(start=start, end=start + timedelta(hours=hours), function=function)


JOB = DetectDrift(baseline=window(NOON - timedelta(hours=1)), current=window(NOON))


def roll_up(
    session: Session,
    hour: datetime,
    values: Values,
    model: str = WALKER,
    function: str = "shop",
    **sums: Any,
) -> None:
    """Store the rollup of one hour: histograms of `values`, and sums."""
    columns = ModelPerformance.__table__.columns
    empty = {name: 0 for name, column in columns.items() if isinstance(column.type, sa.BigInteger)}
    packed = {
        name.value: Histogram.from_values(values.get(name, [])).to_bytes() for name in HISTOGRAMS
    }
    session.add(
        ModelPerformance(
            tenant_id=tenant_of(session),
            hour=hour,
            model=model,
            function=function,
            variant="",
            **({"errors_by_type": {}} | empty | sums),
            **packed,
        )
    )
    mark_days(session, [hour])


def latencies(seed: int, n: int = 400, scale: float = 1.0) -> list[int]:
    return (np.random.default_rng(seed).gamma(4, 50 * scale, n)).astype(int).tolist()


def findings(sweep: SweepResult) -> dict[tuple[str, str], MetricFinding]:
    """By model and metric: most tests have one function."""
    return {(finding.model, finding.metric): finding for finding in sweep.findings}


def state_of(session: Session, metric: str, job: DetectDrift = JOB) -> DriftState:
    return findings(detect(session, job, uuid4()))[WALKER, metric].verdict.state


def test_a_shift_of_latency_is_drift_and_the_same_distribution_is_stable(session: Session) -> None:
    before = {"step_latency_ms": latencies(1), "tokens": latencies(2)}
    after = {"step_latency_ms": latencies(3, scale=1.5), "tokens": latencies(4)}
    roll_up(session, JOB.baseline.start, before)
    roll_up(session, JOB.current.start, after)
    found = findings(detect(session, JOB, uuid4()))
    assert found[WALKER, "step_latency_ms"].verdict.state is DriftState.DRIFT
    assert found[WALKER, "tokens"].verdict.state is DriftState.STABLE
    assert {metric for _, metric in found} == set(METRICS)


def test_a_feature_that_is_not_watched_is_not_compared(session: Session) -> None:
    before = {"step_latency_ms": latencies(1), "tokens": latencies(2)}
    roll_up(session, JOB.baseline.start, before, tasks=90, successes=80)
    roll_up(session, JOB.current.start, before, tasks=90, successes=10)
    unwatch(session, "tokens")
    unwatch(session, "success")
    found = findings(detect(session, JOB, uuid4()))
    assert {metric for _, metric in found} == set(METRICS) - {"tokens", "success"}
    for name in METRICS:
        unwatch(session, name)
    assert detect(session, JOB, uuid4()).findings == ()


def test_every_test_is_stored_with_all_its_numbers(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {"step_latency_ms": latencies(1)})
    roll_up(session, JOB.current.start, {"step_latency_ms": latencies(2, scale=2)})
    sweep_id = uuid4()
    detect(session, JOB, sweep_id)
    rows = session.scalars(
        sa.select(DriftDetection).where(
            DriftDetection.sweep_id == sweep_id, DriftDetection.metric == "step_latency_ms"
        )
    ).all()
    assert {row.test for row in rows} == {
        "kolmogorov_smirnov", "mann_whitney", "anderson_darling", "chi_square",
    }  # fmt: skip
    for row in rows:
        assert (row.model, row.n_baseline, row.n_current) == (WALKER, 400, 400)
        assert (row.verdict, row.threshold) == ("drift", 0.05)
        assert row.statistic is not None
        assert row.p_value is not None
        assert row.p_adjusted is not None
        assert row.p_value <= row.p_adjusted < 0.05
        assert row.effect_size is not None
        assert row.change is not None
        assert re.match(r"median 18\d ms to 3\d\d ms, 95 % 3\d\d ms to \d\d\d ms$", row.change)
        assert row.reason.startswith(f"{row.change}; at least ")
        assert "matters from 10 %" in row.reason
        assert datetime.fromisoformat(row.current["start"]) == NOON
    decisive = {row.effect_name: row.minimum_effect for row in rows}
    assert decisive.pop(Effect.KS_DISTANCE) == 0.1
    assert set(decisive.values()) == {None}


def test_of_a_share_a_few_tasks_are_enough(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {}, tasks=139, successes=112)
    roll_up(session, JOB.current.start, {}, tasks=23, successes=5)
    found = findings(detect(session, JOB, uuid4()))[WALKER, "success"]
    assert found.verdict.state is DriftState.DRIFT


def test_a_sweep_that_alarms_keeps_the_budget_if_it_says_nothing_else(session: Session) -> None:
    roll_up(session, JOB.current.start, {"tokens": [1]})
    for alerts, said, rate in ((True, None, 1 / 168), (False, None, 0.05), (True, 0.2, 0.2)):
        job = JOB.model_copy(update={"alerts": alerts, "false_discovery_rate": said})
        assert detect(session, job, uuid4()).false_discovery_rate == pytest.approx(rate)


def test_an_hour_that_is_summed_again_amid_a_sweep_does_not_end_it(session: Session) -> None:
    few, counted = of_queries(queries(1, 40))
    roll_up(session, JOB.current.start, few, **counted)
    # Fewer texts were seen before than there are words in them now.
    window = Window(JOB.current.start, JOB.current.end)
    ((_, found),) = vocabularies(session, window, {("shop", WALKER): 3}).items()
    assert found.texts >= found.counts.max() > 3


def test_a_window_without_data_is_no_data_and_a_small_one_insufficient(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {"tokens": [5] * 40 + [9] * 40, "query_length": [3]})
    roll_up(session, JOB.current.start, {"tokens": [5, 9] * 10})
    found = findings(detect(session, JOB, uuid4()))
    for metric, state, reason in (
        (
            "tokens",
            DriftState.INSUFFICIENT,
            "the current window holds 20 values; expected at least",
        ),
        ("query_length", DriftState.NO_DATA, "the current window is empty"),
        ("success", DriftState.NO_DATA, "the baseline window is empty"),
    ):
        assert found[WALKER, metric].verdict.state is state
        assert reason in found[WALKER, metric].explanation
    stored = session.scalars(sa.select(DriftDetection.verdict)).all()
    assert set(stored) == {"no_data", "insufficient"}


def test_a_model_that_has_gone_quiet_is_still_looked_at(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {"tokens": latencies(1)})
    assert state_of(session, "tokens") is DriftState.NO_DATA


def test_fewer_successes_are_drift(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {}, tasks=200, successes=180)
    roll_up(session, JOB.current.start, {}, tasks=200, successes=120)
    assert state_of(session, "success") is DriftState.DRIFT


def test_errors_of_actions_and_of_calls_are_one_rate(session: Session) -> None:
    sums = {"actions": 500, "llm_calls": 500}
    roll_up(session, JOB.baseline.start, {}, **sums, action_errors=10, llm_errors=10)
    roll_up(session, JOB.current.start, {}, **sums, action_errors=50, llm_errors=50)
    assert state_of(session, "error_rate") is DriftState.DRIFT


def test_a_small_share_in_many_episodes_is_significant_and_no_drift(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {}, tasks=1_000_000, successes=900_000)
    roll_up(session, JOB.current.start, {}, tasks=1_000_000, successes=897_000)
    found = findings(detect(session, JOB, uuid4()))[WALKER, "success"].verdict
    assert found.p_value is not None
    assert found.p_value < 1e-9
    assert found.state is DriftState.STABLE


def test_windows_that_overlap_are_never_called_stable(session: Session) -> None:
    roll_up(session, NOON, {"tokens": latencies(1)})
    roll_up(session, NOON, {"tokens": latencies(2)}, function="mail")
    both = DetectDrift(baseline=window(NOON), current=window(NOON))
    found = findings(detect(session, both, uuid4()))[WALKER, "tokens"]
    assert (found.verdict.state, found.explanation) == (
        DriftState.INSUFFICIENT,
        "the windows overlap",
    )
    apart = DetectDrift(
        baseline=window(NOON, function="shop"), current=window(NOON, function="mail")
    )
    assert state_of(session, "tokens", apart) is DriftState.STABLE


def test_a_baseline_of_later_than_now_is_never_called_stable(session: Session) -> None:
    for part in (JOB.baseline, JOB.current):
        roll_up(session, part.start, {"tokens": latencies(1)})
    turned = DetectDrift(baseline=JOB.current, current=JOB.baseline)
    found = findings(detect(session, turned, uuid4()))[WALKER, "tokens"]
    assert (found.verdict.state, found.explanation) == (
        DriftState.INSUFFICIENT,
        "the baseline is later than the current window",
    )


def test_only_the_named_models_are_looked_at(session: Session) -> None:
    for model in (WALKER, "other@1.0.0"):
        for part in (JOB.baseline, JOB.current):
            roll_up(session, part.start, {"tokens": latencies(1)}, model=model)
    register(session, "quiet", "2.0.0", "rule-based", {}, check=lambda *_: None)
    named = JOB.model_copy(update={"models": ("other@1.0.0", "quiet")})
    found = findings(detect(session, named, uuid4()))
    assert {model for model, _ in found} == {"other@1.0.0", "quiet@2.0.0"}
    with pytest.raises(RegistryError, match=r"near it: quiet@2\.0\.0"):
        detect(session, JOB.model_copy(update={"models": ("quit",)}), uuid4())


def test_no_rollups_at_all_are_no_findings(session: Session) -> None:
    assert detect(session, JOB, uuid4()).findings == ()


def test_drift_raises_one_alert_until_it_is_stable_again(session: Session) -> None:
    hours = [NOON + timedelta(hours=n) for n in range(5)]
    for hour, scale in zip(hours, (1, 2, 2, None, 1), strict=True):
        if scale is not None:
            roll_up(session, hour, {"step_latency_ms": latencies(hour.hour, scale=scale)})

    def look(n: int) -> dict[str, Any]:
        job = DetectDrift(baseline=window(hours[0]), current=window(hours[n]))
        return tell_of_drift(session, detect(session, job, uuid4()))

    def open_alerts() -> list[int]:
        return list(session.scalars(sa.select(Alert.times_seen).where(Alert.resolved_at.is_(None))))

    assert look(1)["alerts_raised"] == 1
    assert look(2)["states"]["drift"] == 1
    assert open_alerts() == [2]
    # A window without data says nothing: the alert stays.
    assert look(3) | {"sweep_id": ""} == {
        "sweep_id": "",
        "metrics": len(METRICS),
        "states": {"no_data": len(METRICS)},
        "alerts_raised": 0,
        "alerts_resolved": 0,
        "cards_asked_for": 0,
    }
    assert open_alerts() == [2]
    assert look(4)["alerts_resolved"] == 1
    assert open_alerts() == []
    message = session.scalars(sa.select(Alert.message)).one()
    assert message.startswith("step_latency_ms of walker@1.0.0 in shop drifts: median 1")
    assert "; at least " in message
    assert message.endswith(
        "; mlops drift show step_latency_ms --function shop --model walker@1.0.0"
    )


def test_the_command_of_an_alert_can_be_pasted_and_holds_neither_secrets_nor_markup(
    session: Session,
) -> None:
    key = "sk-proj-" + "a1B2c3D4" * 4
    names = {"it's $(rm -rf ~)": "; mlops drift show tokens --function 'it'\"'\"'s $(rm -rf ~)'"}
    names |= {
        f"<b>{key}</b>": "; mlops drift show tokens",
        "[red]x\x1b": "; mlops drift show tokens",
    }
    for number, function in enumerate(names):
        for part, scale in ((JOB.baseline, 1), (JOB.current, 2)):
            values = {"tokens": latencies(number, scale=scale)}
            roll_up(session, part.start, values, function=function)
    tell_of_drift(session, detect(session, JOB, uuid4()))
    messages = session.scalars(sa.select(Alert.message)).all()
    assert len(messages) == 3
    for message in messages:
        assert not set("<>[]`&\x1b") & set(message)
        assert key not in message
    for ending in names.values():
        assert any(message.endswith(f"{ending} --model {WALKER}") for message in messages)


def test_an_alert_says_from_what_to_what_without_markup(session: Session) -> None:
    for hour, errors, clicks in ((JOB.baseline.start, 2, 900), (JOB.current.start, 800, 100)):
        names = {"action.<b>click": clicks, "action.type": 1000 - clicks}
        roll_up(session, hour, {}, llm_calls=9000, llm_errors=errors, names=names)
    tell_of_drift(session, detect(session, JOB, uuid4()))
    messages = sorted(session.scalars(sa.select(Alert.message)))
    assert len(messages) == 2
    assert messages[0].startswith(
        "action_kinds of walker@1.0.0 in shop drifts: (b)click 90 % to 10 %; 80 % of values in"
    )
    assert messages[1].startswith(
        "error_rate of walker@1.0.0 in shop drifts: below 0.1 % to 8.9 %; at least 8.9 % of values"
    )


def test_an_episode_of_drift_asks_once_for_a_card_of_a_registered_model(session: Session) -> None:
    register(session, "walker", "1.0.0", "rule-based", {}, check=describe_agent)
    hours = [NOON + timedelta(hours=n) for n in range(5)]
    for hour, scale in zip(hours, (1, 2, 2, 1, 2), strict=True):
        for model in (WALKER, "nobody@1.0.0"):
            moved = {metric: latencies(1, scale=scale) for metric in ("step_latency_ms", "tokens")}
            roll_up(session, hour, moved, model=model)

    def cards(n: int) -> int:
        job = DetectDrift(baseline=window(hours[0]), current=window(hours[n]))
        asked: int = tell_of_drift(session, detect(session, job, uuid4()))["cards_asked_for"]
        return asked

    assert [cards(n) for n in range(1, 5)] == [1, 0, 0, 1]
    jobs = session.scalars(sa.select(JobRow.payload).where(JobRow.kind == "write_card")).all()
    assert [job["model"] for job in jobs] == [WALKER, WALKER]


def test_an_alert_is_of_a_function_and_model_and_no_older_sweep_closes_it(
    session: Session,
) -> None:
    for hour, scale in enumerate((1, 1, 2, 1, 1)):
        for function in ("shop", "search"):
            values = {"step_latency_ms": latencies(1, scale=scale)}
            roll_up(session, NOON + timedelta(hours=hour), values, function=function)

    def look(current: WindowOf, baseline: WindowOf) -> tuple[int, int]:
        job = DetectDrift(baseline=baseline, current=current)
        told = tell_of_drift(session, detect(session, job, uuid4()))
        return told["alerts_raised"], told["alerts_resolved"]

    drifted, later = NOON + timedelta(hours=2), NOON + timedelta(hours=3)
    assert look(window(drifted), window(NOON)) == (2, 0)
    # Stable, but of an hour before the alert's.
    assert look(window(NOON + timedelta(hours=1)), window(NOON)) == (0, 0)
    # The same thing is wrong whatever it is compared with, and in windows of any length.
    shop = window(later, function="shop")
    assert look(shop, window(NOON, function="search")) == (0, 1)
    assert session.scalar(sa.select(sa.func.count()).where(Alert.resolved_at.is_(None))) == 1
    assert look(window(later, hours=2), window(NOON, hours=2)) == (0, 1)


def test_each_function_and_model_is_compared_with_itself(session: Session) -> None:
    for hour, scales in ((JOB.baseline.start, (1, 3)), (JOB.current.start, (3, 1))):
        for function, scale in zip(("shop", "search"), scales, strict=True):
            values = {"step_latency_ms": latencies(1, scale=scale)}
            roll_up(session, hour, values, function=function)
    found = detect(session, JOB, uuid4()).findings
    drifted = {(one.function, one.metric) for one in found if one.verdict.state is DriftState.DRIFT}
    # Together nothing would have moved.
    assert drifted == {
        ("search", "step_latency_ms"),
        ("shop", "step_latency_ms"),
    }


def test_other_errors_are_drift_though_there_are_as_many(session: Session) -> None:
    for hour, errors in (
        (JOB.baseline.start, {"llm_call.timeout": 90, "action.not_found": 10}),
        (JOB.current.start, {"llm_call.timeout": 10, "action.not_found": 90}),
    ):
        roll_up(session, hour, {}, llm_calls=1000, llm_errors=100, errors_by_type=errors)
    found = findings(detect(session, JOB, uuid4()))
    assert found[WALKER, "error_rate"].verdict.state is DriftState.STABLE
    assert found[WALKER, "error_rate"].change is None
    assert found[WALKER, "error_types"].change == "action.not_found 10 % to 90 %"
    moved = found[WALKER, "error_types"].verdict
    assert moved.state is DriftState.DRIFT
    assert (moved.effect_name, moved.effect_size) == (Effect.TOTAL_VARIATION, pytest.approx(0.8))


def queries(seed: int, n: int, new: float = 0.0) -> list[str]:
    """Texts of eight words by Zipf's law, a share `new` of which are from elsewhere."""
    rng = np.random.default_rng(seed)
    ranks = rng.zipf(1.3, (n, 8)).clip(max=3_000)
    elsewhere = rng.random(ranks.shape) < new
    return [
        " ".join(f"{'un' if other else ''}word{rank}" for rank, other in zip(*both, strict=True))
        for both in zip(ranks, elsewhere, strict=True)
    ]


def of_queries(texts: list[str]) -> tuple[Values, dict[str, bytes]]:
    """What a rollup holds of them."""
    measured = [measure_text(text) for text in texts]
    words = WordCounts.of_hashes([one for text in measured for one in text.hashes])
    return {"query_words": [one.words for one in measured]}, {"query_vocabulary": words.to_bytes()}


def test_other_words_in_queries_are_drift_and_those_that_are_always_new_are_none(
    session: Session,
) -> None:
    for function, new in (("shop", 0.3), ("search", 0.0)):
        for hour, (values, words) in (
            (JOB.baseline.start, of_queries(queries(1, 900))),
            (JOB.current.start, of_queries(queries(2, 300, new))),
        ):
            roll_up(session, hour, values, function=function, **words)
    found = {
        finding.function: finding
        for finding in detect(session, JOB, uuid4()).findings
        if finding.metric == "query_vocabulary"
    }
    moved, same = found["shop"].verdict, found["search"].verdict
    assert (moved.state, same.state) == (DriftState.DRIFT, DriftState.STABLE)
    assert (moved.n_baseline, moved.n_current) == (900, 300)
    assert moved.effect_name is Effect.UNSEEN_WORDS
    assert "of words new beyond what is usual (matters from 5 %)" in found["shop"].explanation
    assert re.match(r"[\d.]+ % of words are new, [\d.]+ % expected; ", found["shop"].explanation)
    shown = {
        one.function: one.metrics[0].shape
        for one in recalled(
            session, newest_findings(session, metric="query_vocabulary"), with_history=False
        )
    }
    shape = shown["shop"]
    assert isinstance(shape, NewWords)
    assert (shape.baseline.texts, shape.current.texts) == (900, 300)
    assert shape.unseen is not None
    assert shape.expected is not None
    # What is new is not told from what is always new by that it is new.
    assert shape.unseen > 2 * shape.expected > 0


def test_without_texts_nothing_is_known_of_their_words(session: Session) -> None:
    few, counted = of_queries(queries(1, 20))
    for hour in (JOB.baseline.start, JOB.current.start):
        roll_up(session, hour, few, **counted)
        roll_up(session, hour, {"query_words": [0] * 90}, function="signs")
        roll_up(session, hour, {"tokens": latencies(1)}, function="quiet")
    found = {
        finding.function: (finding.verdict.state, finding.explanation)
        for finding in detect(session, JOB, uuid4()).findings
        if finding.metric == "query_vocabulary"
    }
    assert found == {
        "shop": (
            DriftState.INSUFFICIENT,
            "the baseline window holds 20 values; expected at least 30",
        ),
        "signs": (DriftState.INSUFFICIENT, "no text of the baseline window holds a word"),
        "quiet": (DriftState.NO_DATA, "the baseline window is empty"),
    }
    # What the windows held can be shown all the same.
    for one in recalled(session, newest_findings(session), with_history=True):
        (words,) = (m for m in one.metrics if m.verdict.metric_name == "query_vocabulary")
        assert isinstance(words.shape, NewWords)
        assert draw_metric(words, 80)


def test_lengths_of_words_and_shares_of_signs_are_shown_in_their_units(session: Session) -> None:
    for hour, length, share in ((JOB.baseline.start, 450, 2_000), (JOB.current.start, 640, 5_000)):
        roll_up(
            session, hour, {"query_word_length": [length] * 40, "query_non_letters": [share] * 40}
        )
    detect(session, JOB, uuid4())
    (shown,) = recalled(session, newest_findings(session), with_history=False)
    shapes = {one.verdict.metric_name: one.shape for one in shown.metrics}
    for name, value, unit in (
        ("query_word_length", 6.4, "characters"),
        # A share says by itself what it is.
        ("query_non_letters", 0.5, ""),
    ):
        shape = shapes[name]
        assert isinstance(shape, Distribution)
        assert shape.unit == unit
        assert quantile(shape.positions, shape.current, 0.5) == pytest.approx(value, rel=0.004)


def test_other_actions_and_language_models_are_drift(session: Session) -> None:
    for hour, clicks in ((JOB.baseline.start, 80), (JOB.current.start, 40)):
        names = {"action.click": clicks, "action.fill": 100 - clicks, "llm_call.gpt-4.1": 100}
        roll_up(session, hour, {}, names=names)
    found = findings(detect(session, JOB, uuid4()))
    assert found[WALKER, "action_kinds"].verdict.state is DriftState.DRIFT
    one = found[WALKER, "llm_models"].verdict
    assert one.state is DriftState.INSUFFICIENT
    assert one.reason is not None


def test_a_relation_drifts_though_what_it_relates_does_not(session: Session) -> None:
    """As many tasks succeed and the agent is as sure; but its sureness means nothing any more."""
    sure, unsure = [9_500] * 90 + [1_500] * 10, [9_500] * 10 + [1_500] * 90
    even = [9_500, 1_500] * 50
    for hour, successes, failures in (
        (JOB.baseline.start, sure, unsure),
        (JOB.current.start, even, even),
    ):
        values = {
            "confidence_of_successes": successes,
            "confidence_of_failures": failures,
            "query_length_of_successes": [100] * 135 + [5_000] * 45,
            "query_length_of_errors": [100] * 15 + [5_000] * 5,
        }
        roll_up(session, hour, values, tasks=200, successes=100)
    found = findings(detect(session, JOB, uuid4()))
    assert found[WALKER, "success"].verdict.state is DriftState.STABLE
    assert found[WALKER, "error_given_query_length"].verdict.state is DriftState.STABLE
    assert "points at the same inputs" in (found[WALKER, "success_given_confidence"].change or "")
    moved = found[WALKER, "success_given_confidence"].verdict
    assert moved.state is DriftState.DRIFT
    assert moved.effect_name is Effect.OUTCOME_MOVEMENT
    assert moved.effect_size == pytest.approx(0.4, abs=0.05)


def test_requests_are_compared_with_the_same_hours_of_earlier_weeks(session: Session) -> None:
    """A Sunday is as quiet as every Sunday; half of a Sunday is drift."""
    rng = np.random.default_rng(3)
    sunday = datetime(2026, 3, 1, tzinfo=UTC)
    for week in range(6):
        for back in (0, 1):
            start = sunday - timedelta(weeks=week, days=back)
            for hour in range(24):
                for function, share in (("shop", 1.0), ("search", 0.3 if week == 0 else 1.0)):
                    level = (30 if back == 0 else 200) * (share if back == 0 else 1.0)
                    at = start + timedelta(hours=hour)
                    calls = int(rng.poisson(level))
                    roll_up(session, at, {}, function=function, llm_calls=calls)
    job = DetectDrift(current=window(sunday, 24), baseline=window(sunday - timedelta(days=1), 24))
    sweep = detect(session, job, uuid4())
    found = {one.function: one.verdict for one in sweep.findings if one.metric == "request_volume"}
    assert found["shop"].state is DriftState.STABLE
    assert found["search"].state is DriftState.DRIFT
    assert found["search"].effect_name is Effect.VOLUME_RATIO
    # It is shown hour by hour, with a baseline of its own.
    stored = [one for one in findings_of(session, sweep.sweep_id) if one.function == "search"]
    (shown,) = recalled(session, stored, with_history=False)
    (volume,) = [one for one in shown.metrics if one.verdict.metric_name == "request_volume"]
    assert isinstance(volume.shape, Volume)
    assert sum(hour.observed or 0 for hour in volume.shape.hours) == volume.shape.observed
    assert len(volume.shape.hours) == 24
    assert volume.baseline.words == "the same hours of 5 earlier weeks"
    assert volume.baseline.end == sunday - timedelta(days=6)
    # Nothing at all is an outage, also of who is alone.
    for function in ("shop", "search"):
        session.execute(
            sa.delete(ModelPerformance).where(
                ModelPerformance.function == function, ModelPerformance.hour >= sunday
            )
        )
    gone = {
        finding.function: finding
        for finding in detect(session, job, uuid4()).findings
        if finding.metric == "request_volume"
    }
    assert {one.verdict.state for one in gone.values()} == {DriftState.DRIFT}
    # No surge: what is told first says so.
    assert gone.keys() == {"shop", "search"}
    assert all(re.match(r"0 requests, \d+ expected", one.explanation) for one in gone.values())
    # A function that is new has no earlier weeks: that says nothing of it.
    roll_up(session, sunday, {}, function="new", llm_calls=50)
    new = [f for f in detect(session, job, uuid4()).findings if f.function == "new"]
    (verdict,) = [f.verdict for f in new if f.metric == "request_volume"]
    assert verdict.state in (DriftState.NO_DATA, DriftState.INSUFFICIENT)


def test_the_values_of_own_features_are_compared_by_their_event_times(session: Session) -> None:
    rng = np.random.default_rng(5)
    for name, data_type, old, new in (
        (
            "basket",
            DataType.NUMBER,
            rng.normal(10, 2, 200).tolist(),
            rng.normal(14, 2, 200).tolist(),
        ),
        ("plan", DataType.TEXT, ["free"] * 150 + ["team"] * 50, ["free"] * 50 + ["team"] * 150),
        ("known", DataType.BOOLEAN, [True, False] * 100, [True, False] * 100),
    ):
        register_feature(session, name, data_type, Source.parse("nightly"), "shop", "What it is.")
        for start, values in ((JOB.baseline.start, old), (JOB.current.start, new)):
            rows = [(f"e{n}", start + timedelta(seconds=n), v) for n, v in enumerate(values)]
            write_values(session, name, rows, datetime.now(UTC))
    # What was wrong and then corrected counts as it was corrected.
    for value in (1e9, 10.0):
        write_values(session, "basket", [("e0", JOB.baseline.start, value)], datetime.now(UTC))
    found = {finding.metric: finding.verdict for finding in detect(session, JOB, uuid4()).findings}
    assert {name: verdict.state.value for name, verdict in found.items()} == {
        "basket": "drift",
        "plan": "drift",
        "known": "stable",
    }
    assert found["basket"].n_baseline == 200
    unwatch(session, "plan")
    named = DetectDrift(baseline=JOB.baseline, current=window(NOON, function="shop"))
    assert detect(session, named, uuid4()).findings == ()


def day(number: int) -> datetime:
    return NOON - timedelta(days=number)


def test_the_baseline_is_the_week_before_unless_one_was_set(session: Session) -> None:
    """The most particular one holds: of a function and model before that of a function."""
    for hour, scale in ((day(20), 1), (day(3), 2), (NOON, 2)):
        for function in ("shop", "search"):
            values = {"step_latency_ms": latencies(hour.day, scale=scale)}
            roll_up(session, hour, values, function=function)
    job = DetectDrift(current=window(NOON))

    def states() -> dict[str, str]:
        return {
            finding.function: finding.verdict.state.value
            for finding in detect(session, job, uuid4()).findings
            if finding.metric == "step_latency_ms"
        }

    assert states() == {"search": "stable", "shop": "stable"}
    fixed = Baseline(BaselineKind.FIXED, window=Window(day(20), day(19)))
    set_baseline(session, "shop", EVERY, fixed)
    assert states() == {"search": "stable", "shop": "drift"}
    accepted = accept(session, "shop", WALKER)
    assert accepted.window == Window(NOON, NOON + timedelta(hours=1))
    # What was accepted is the window itself here, and nothing came since.
    assert states() == {"search": "stable", "shop": "insufficient"}
    set_baseline(session, "shop", WALKER, Baseline(BaselineKind.PREVIOUS, timedelta(days=4)))
    assert states() == {"search": "stable", "shop": "stable"}
    assert remove_baseline(session, "shop", WALKER)
    assert not remove_baseline(session, "shop", WALKER)
    assert states() == {"search": "stable", "shop": "drift"}
    actions = session.scalars(
        sa.select(AuditEntry.action)
        .where(AuditEntry.action.like("drift.%"))
        .order_by(AuditEntry.id)
    ).all()
    assert actions == ["drift.baseline.set"] * 3 + ["drift.baseline.remove"]


def test_a_baseline_that_cannot_be_is_refused(session: Session) -> None:
    hour = timedelta(hours=1)
    later = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + 5 * hour
    for make, told in (
        (lambda: Baseline(BaselineKind.PREVIOUS, timedelta(minutes=90)), "whole hours"),
        (lambda: Baseline(BaselineKind.PREVIOUS, timedelta(0)), "from 1 hour"),
        (lambda: Baseline(BaselineKind.PREVIOUS), "has a length"),
        (lambda: Baseline(BaselineKind.FIXED, hour), "has a window"),
        (
            lambda: Baseline(BaselineKind.FIXED, window=Window(NOON, NOON + timedelta(minutes=30))),
            "whole hours",
        ),
        (
            lambda: set_baseline(
                session,
                EVERY,
                EVERY,
                Baseline(BaselineKind.FIXED, window=Window(later, later + hour)),
            ),
            "still to come",
        ),
        (lambda: accept(session, "nowhere", EVERY), "no sweep has looked at nowhere"),
    ):
        with pytest.raises(BaselineError, match=told):
            make()


def test_a_baseline_after_the_current_window_is_told(session: Session) -> None:
    for hour in (NOON, NOON + timedelta(hours=5)):
        roll_up(session, hour, {"tokens": latencies(hour.hour)})
    job = DetectDrift(baseline=window(NOON + timedelta(hours=5)), current=window(NOON))
    verdict = findings(detect(session, job, uuid4()))[WALKER, "tokens"].verdict
    assert verdict.state is DriftState.INSUFFICIENT
    assert verdict.reason == "the baseline is later than the current window"


def test_windows_can_be_counted_in_requests(session: Session) -> None:
    """The newest hours that hold so many, and before them those that hold as many."""
    for ago, scale in ((9, 1), (7, 1), (5, 1), (3, 2), (1, 2)):
        hour = NOON - timedelta(hours=ago)
        values = {"tokens": latencies(ago, 100, scale=scale)}
        roll_up(session, hour, values, llm_calls=100)
    job = DetectDrift(current=LastRequests(requests=150, until=NOON))
    found = findings(detect(session, job, uuid4()))[WALKER, "tokens"]
    assert found.verdict.state is DriftState.DRIFT
    assert (found.verdict.n_baseline, found.verdict.n_current) == (200, 200)
    assert found.windows.current.start == NOON - timedelta(hours=3)
    assert found.windows.baseline.start == NOON - timedelta(hours=7)
    too_many = DetectDrift(current=LastRequests(requests=501, until=NOON))
    short = findings(detect(session, too_many, uuid4()))[WALKER, "tokens"].verdict
    assert short.state is not DriftState.STABLE
    assert (short.n_baseline, short.n_current) == (0, 500)


def test_the_timetable_waits_for_a_backlog_and_not_for_a_moment(tenant: TenantId) -> None:
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)

    def asked() -> int:
        watch_for_drift(now)
        with tenant_session(tenant) as session:
            jobs = sa.select(sa.func.count()).where(JobRow.kind == "detect_drift")
            return session.scalar(jobs) or 0

    with tenant_session(tenant) as session:
        roll_up(session, hour, {"tokens": [1]})
        mark = {"tenant_id": tenant, "hour": hour, "marked_at": now - timedelta(hours=1)}
        session.execute(sa.insert(DirtyHour), [mark])
    assert asked() == 0
    with tenant_session(tenant) as session:
        session.execute(sa.update(DirtyHour).values(marked_at=now))
    assert asked() == 1


def test_the_timetable_keeps_the_false_alarms_that_are_accepted(tenant: TenantId) -> None:
    now = datetime.now(UTC)
    with tenant_session(tenant) as session:
        roll_up(session, now.replace(minute=0, second=0, microsecond=0), {"tokens": [1]})
        roll_up(session, now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2), {})
        for wrong in (0, -1, 1e-322, 101, float("nan")):
            with pytest.raises(BudgetError, match=r"expected 0\.001 to 100"):
                set_false_alarms_a_week(session, wrong)
        set_false_alarms_a_week(session, 0.5)
    watch_for_drift(now)
    with tenant_session(tenant) as session:
        payload = session.scalars(
            sa.select(JobRow.payload).where(JobRow.kind == "detect_drift")
        ).one()
    assert payload["false_discovery_rate"] == pytest.approx(0.5 / 168)


def test_the_timetable_asks_once_an_hour_for_tenants_that_have_rollups(
    tenant: TenantId,
) -> None:
    quiet = create_tenant(f"quiet-{uuid4()}")
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    with tenant_session(tenant) as session:
        roll_up(session, hour - timedelta(hours=2), {"tokens": [1]})
    assert watch_for_drift(now) >= 1
    watch_for_drift(now)
    with tenant_session(tenant) as session:
        jobs = session.scalars(sa.select(JobRow).where(JobRow.kind == "detect_drift")).all()
        assert [DetectDrift.model_validate(job.payload) for job in jobs] == [
            DetectDrift(
                current=window(hour - timedelta(days=1), 24),
                false_discovery_rate=1 / 168,
                alerts=True,
            )
        ]
        checks = session.scalars(sa.select(JobRow).where(JobRow.kind == "check_quality")).all()
        assert [CheckQuality.model_validate(job.payload) for job in checks] == [
            CheckQuality(current=window(hour - timedelta(days=1), 24))
        ]
    with tenant_session(quiet) as session:
        assert session.scalars(sa.select(JobRow.id)).all() == []


MIDNIGHT = datetime(2026, 3, 4, tzinfo=UTC)
OF_A_WEEK = DetectDrift(
    baseline=window(MIDNIGHT - timedelta(days=7), 7 * 24), current=window(MIDNIGHT, 24)
)


def roll_up_days(session: Session, rates: list[int], latency: list[float], now: int) -> None:
    """A row for each of the last days: errors in a hundred, and how slow; then one of `now`."""
    for back, (errors, scale) in enumerate(zip([*rates, now], [*latency, 1.0], strict=True)):
        at = MIDNIGHT + timedelta(days=back - len(rates), hours=12)
        values = {"llm_latency_ms": latencies(back, scale=scale)}
        roll_up(session, at, values, llm_calls=1_000, llm_errors=10 * errors)


def test_what_days_of_the_baseline_do_by_themselves_is_no_drift(session: Session) -> None:
    roll_up_days(session, [5, 6, 12, 5, 13, 6, 5], [1.0] * 7, now=13)
    sweep_id = uuid4()
    found = findings(detect(session, OF_A_WEEK, sweep_id))[WALKER, "error_rate"]
    assert found.verdict.p_value is not None
    assert found.verdict.p_value < 0.001
    assert found.verdict.state is DriftState.STABLE or found.verdict.state is DriftState.WARNING
    assert found.verdict.usual_effect == pytest.approx(0.12 - 40 / 600, abs=0.002)
    assert found.verdict.minimum_effect == pytest.approx(2 * found.verdict.usual_effect)
    assert "twice the 5.3 % that the baseline varies by itself" in found.explanation
    ((least, usual),) = session.execute(
        sa.select(DriftDetection.minimum_effect, DriftDetection.usual_effect).where(
            DriftDetection.sweep_id == sweep_id,
            DriftDetection.metric == "error_rate",
            DriftDetection.minimum_effect.is_not(None),
        )
    ).all()
    assert (least, usual) == (found.verdict.minimum_effect, found.verdict.usual_effect)


def test_one_bad_day_of_the_baseline_hides_nothing(session: Session) -> None:
    roll_up_days(session, [5, 6, 60, 5, 4, 6, 5], [1.0] * 7, now=40)
    found = findings(detect(session, OF_A_WEEK, uuid4()))[WALKER, "error_rate"].verdict
    assert (found.state, found.minimum_effect) == (DriftState.DRIFT, pytest.approx(0.2, abs=0.03))


def test_of_few_days_nothing_follows_about_how_much_they_differ(session: Session) -> None:
    roll_up_days(session, [5, 12, 5, 13], [1.0] * 4, now=16)
    found = findings(detect(session, OF_A_WEEK, uuid4()))[WALKER, "error_rate"].verdict
    assert (found.state, found.usual_effect) == (DriftState.DRIFT, None)


def test_pieces_are_as_long_as_the_window_where_that_is_shorter_than_a_day(
    session: Session,
) -> None:
    """Nights are slow: a night that is as slow as those before it is no drift."""
    for hour in range(-8 * 24, 0, 2):
        at = MIDNIGHT + timedelta(hours=hour)
        night = at.hour < 6
        values = {"llm_latency_ms": latencies(hour + 999, n=60, scale=2.0 if night else 1.0)}
        roll_up(session, at, values)
    job = DetectDrift(
        baseline=window(MIDNIGHT - timedelta(days=8), 7 * 24),
        current=window(MIDNIGHT - timedelta(hours=24), 6),
    )
    found = findings(detect(session, job, uuid4()))[WALKER, "llm_latency_ms"].verdict
    assert found.effect_size is not None
    assert found.effect_size > 0.3
    assert found.state is not DriftState.DRIFT


def test_where_a_metric_matters_from_is_the_tenants_choice(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {}, tasks=2_000, successes=1_800)
    roll_up(session, JOB.current.start, {}, tasks=2_000, successes=1_660)
    assert state_of(session, "success") is DriftState.WARNING
    set_minimum_effect(session, "success", 0.05)
    assert state_of(session, "success") is DriftState.DRIFT
    assert remove_minimum_effect(session, "success")
    assert state_of(session, "success") is DriftState.WARNING
    actions = session.scalars(
        sa.select(AuditEntry.action).where(AuditEntry.action.like("drift.effect.%"))
    ).all()
    assert set(actions) == {"drift.effect.set", "drift.effect.remove"}


def test_a_new_version_is_compared_with_the_one_before(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {}, model="buyer@1.2.0", tasks=200, successes=180)
    roll_up(session, JOB.current.start, {}, model="buyer@1.3.0", tasks=200, successes=120)
    alone = findings(detect(session, JOB, uuid4()))
    assert alone["buyer@1.3.0", "success"].verdict.state is DriftState.NO_DATA
    before = JOB.baseline.model_copy(update={"model": "buyer@1.2.0"})
    job = JOB.model_copy(update={"baseline": before, "models": ("buyer@1.3.0",)})
    found = findings(detect(session, job, uuid4()))
    assert {model for model, _ in found} == {"buyer@1.3.0"}
    assert found["buyer@1.3.0", "success"].verdict.state is DriftState.DRIFT
    assert found["buyer@1.3.0", "success"].windows.baseline.model == "buyer@1.2.0"
    previous = Baseline(BaselineKind.PREVIOUS, timedelta(hours=1), model="buyer@1.2.0")
    set_baseline(session, EVERY, "buyer@1.3.0", previous)
    job = DetectDrift(current=JOB.current)
    assert (
        findings(detect(session, job, uuid4()))["buyer@1.3.0", "success"].verdict.state
        is DriftState.DRIFT
    )


def test_a_baseline_of_a_model_that_nobody_knows_is_refused(session: Session) -> None:
    before = JOB.baseline.model_copy(update={"model": "beyer@1.2.0"})
    with pytest.raises(RegistryError, match=r"no model 'beyer@1.2.0' is registered"):
        detect(session, JOB.model_copy(update={"baseline": before}), uuid4())


def test_only_a_baseline_names_a_model() -> None:
    with pytest.raises(ValueError, match="only the baseline names another"):
        DetectDrift(current=JOB.current.model_copy(update={"model": WALKER}))


def test_a_week_that_begins_at_noon_has_seven_days_too(session: Session) -> None:
    """The hours before its first midnight and after its last are one."""
    for back in range(-8 * 2, 0):
        at = MIDNIGHT + timedelta(hours=12 * back + 12)
        roll_up(session, at, {}, llm_calls=500)
    noon = MIDNIGHT + timedelta(hours=12)
    job = DetectDrift(
        baseline=window(noon - timedelta(days=8), 7 * 24),
        current=window(noon - timedelta(days=1), 24),
    )
    found = look(session, job, [])
    assert [len(one.pieces.sums) for one in found] == [7]
    assert {sums.llm_calls for sums in found[0].pieces.sums} == {1_000}
    assert found[0].baseline is not None
    assert found[0].baseline.sums.llm_calls == 7_000


def test_show_says_whether_the_days_of_a_baseline_hold_one_distribution(session: Session) -> None:
    roll_up_days(session, [5] * 7, [1.0, 1.0, 1.6, 1.0, 0.7, 1.0, 1.0], now=5)
    sweep_id = uuid4()
    detect(session, OF_A_WEEK, sweep_id)
    (drawn,) = recalled(session, findings_of(session, sweep_id), with_history=True)
    of = {one.verdict.metric_name: one for one in drawn.metrics}
    days = of["llm_latency_ms"].days
    assert days is not None
    assert days.sizes == (400,) * 7
    assert days.furthest == 2
    told = days_said(days)
    assert told is not None
    assert "the days of the baseline differ among themselves" in told
    assert of["error_rate"].days is None
    ((least, usual),) = {
        (one.verdict.minimum_effect, one.verdict.usual_effect) for one in (of["llm_latency_ms"],)
    }
    assert least == pytest.approx(2 * usual)


def test_windows_of_each_its_own_hold_what_is_read_of_it_alone(session: Session) -> None:
    functions = [f"function-{number}" for number in range(5)]
    for number, function in enumerate(functions):
        for hour in range(12):
            at = NOON - timedelta(hours=hour + 1)
            values = {"tokens": latencies(10 * number + hour, n=40)}
            calls = 20 * (number + 1)
            roll_up(session, at, values, function=function, llm_calls=calls, llm_errors=2)

    def sizes(function: str | None) -> dict[tuple[str, str], tuple[int, int]]:
        job = DetectDrift(current=LastRequests(requests=60, until=NOON, function=function))
        return {
            (finding.function, finding.metric): (
                finding.verdict.n_baseline,
                finding.verdict.n_current,
            )
            for finding in detect(session, job, uuid4()).findings
            if finding.metric in ("tokens", "error_rate")
        }

    together = sizes(None)
    assert together["function-0", "error_rate"] == (60, 60)
    assert together == {of: found for one in functions for of, found in sizes(one).items()}
