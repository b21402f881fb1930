from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.cards.figures import CardFigures, Figure, Unit, compute_figures
from shared.cards.markdown import escaped
from shared.cards.rendering import shown
from shared.cards.scheduling import enqueue_cards
from shared.cards.tables import ModelCardRow
from shared.cards.writing import CardError, export, file_name, newest_card, step, write_card
from shared.costs.tables import CostTracking
from shared.database import TenantId, tenant_of, tenant_session
from shared.drift.sweep import detect
from shared.evaluation.intervals import wilson
from shared.evaluation.results.clustering import Cluster, rate_interval
from shared.evaluation.tables import BenchmarkRun, Episode, EvaluationTask
from shared.jobs.contracts import DetectDrift, WindowOf, WriteCard
from shared.jobs.tables import JobRow
from shared.registry.models import RegistryError, key, register
from shared.registry.tables import ModelVersion
from shared.telemetry.features.built_in import MONITORED
from shared.telemetry.histograms import Histogram
from shared.telemetry.tables import ModelPerformance

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

HOUR = datetime(2026, 3, 4, 12, tzinfo=UTC)
TEMPLATE = Path(__file__).parents[3] / "shared/cards/templates/model_card.md.j2"
HOSTILE = "<script>x</script> | **b** [l](javascript:1) `c` {{ 7*7 }} \"q\" 's': - #"


def make(session: Session, name: str = "walker", description: str = "") -> ModelVersion:
    return register(session, name, "1.0.0", "rule-based", {}, description, check=lambda *_: None)


def put_episodes(
    session: Session, version: ModelVersion, outcomes: Mapping[str, list[str]]
) -> None:
    """Ended episodes by task, each of four steps."""
    tenant_id, run = tenant_of(session), uuid4()
    session.add(
        BenchmarkRun(
            id=run, tenant_id=tenant_id, benchmark="miniwob", function="shop", specification={}
        )
    )
    for name, ended in outcomes.items():
        task = session.scalar(sa.select(EvaluationTask).where(EvaluationTask.name == name))
        if task is None:
            task = EvaluationTask(
                id=uuid4(),
                tenant_id=tenant_id,
                benchmark="miniwob",
                name=name,
                category="click",
                difficulty="easy",
                max_steps=5,
                timeout_seconds=10,
            )
            session.add(task)
        session.flush()
        for seed, outcome in enumerate(ended):
            job = JobRow(
                id=uuid4(),
                tenant_id=tenant_id,
                kind="evaluate_episode",
                queue="evaluation",
                payload={},
                status="succeeded",
                max_attempts=3,
            )
            session.add(job)
            session.flush()
            session.add(
                Episode(
                    tenant_id=tenant_id,
                    run_id=run,
                    task_id=task.id,
                    model_version_id=version.id,
                    job_id=job.id,
                    seed=seed,
                    outcome=outcome,
                    steps=4,
                    finished_at=HOUR,
                )
            )
    session.flush()


def put_rollup(
    session: Session, version: ModelVersion, hour: datetime = HOUR, **values: Any
) -> None:
    """One hour of telemetry: histograms as lists, sums as numbers."""
    columns = ModelPerformance.__table__.columns
    row: dict[str, Any] = {}
    for name, column in columns.items():
        if isinstance(column.type, sa.LargeBinary):
            row[name] = Histogram.from_values(values.pop(name, [])).to_bytes()
        elif isinstance(column.type, sa.BigInteger):
            row[name] = values.pop(name, 0)
    assert not values
    identity = {"hour": hour, "model": key(version), "function": "shop", "variant": ""}
    session.add(
        ModelPerformance(tenant_id=tenant_of(session), errors_by_type={}, **identity, **row)
    )
    session.flush()


def put_cost(session: Session, version: ModelVersion, day: int = 4, **sums: int) -> None:
    zero = dict.fromkeys(
        ("llm_calls", "unpriced_calls", "simulated_calls", "cost_nanos", "tasks", "successes"), 0
    )
    session.add(
        CostTracking(
            tenant_id=tenant_of(session),
            period="day",
            starts_on=date(2026, 3, day),
            model=key(version),
            function="shop",
            variant="",
            **(zero | sums),
        )
    )
    session.flush()


def figures(session: Session, version: ModelVersion) -> CardFigures:
    return compute_figures(session, version, HOUR)


def limitations(content: str) -> str:
    return content.split("## Limitations")[1].split("## How")[0]


def test_the_template_has_no_number_of_its_own() -> None:
    assert re.findall(r"\d", TEMPLATE.read_text(encoding="utf-8")) == []


def test_success_is_counted_by_task_and_overall_with_intervals(session: Session) -> None:
    version = make(session)
    put_episodes(
        session,
        version,
        {
            "click-test": ["success"] * 8 + ["failure"] * 2 + ["environment_error", "cancelled"],
            "book-flight": ["timeout"] * 3 + ["success", "agent_error"],
            "tic-tac-toe": ["success"] * 2,
        },
    )
    found = figures(session, version)
    overall = found.success_rate
    assert (overall.value, overall.n) == (11 / 17, 17)
    # Tasks are not alike, so episodes are worth less than their number.
    assert overall.interval == rate_interval([Cluster(8, 10), Cluster(1, 5), Cluster(2, 2)])
    assert overall.interval[0] < wilson(11, 17)[0]
    by_task = {task.task: task.success_rate for task in found.by_task}
    assert (by_task["click-test"].value, by_task["click-test"].n) == (0.8, 10)
    assert by_task["book-flight"].interval == wilson(1, 5)
    assert (by_task["tic-tac-toe"].value, by_task["tic-tac-toe"].interval) == (None, None)
    assert shown(by_task["tic-tac-toe"]) == "insufficient data (n = 2)"
    assert found.mean_steps.value == 4
    content = write_card(session, "walker").content
    assert "| miniwob | click-test | easy | 80.0 % | 49.0 % to 94.3 % | 10 |" in content
    assert "Measured on miniwob alone." in content
    assert "Of 3 tasks, 2 were tried in fewer than 10 episodes" in content
    assert "The environment broke 1 of 18 episodes" in content


def test_every_figure_says_where_it_comes_from(session: Session) -> None:
    version = make(session)
    put_episodes(session, version, {"click-test": ["success"] * 5})
    card = write_card(session, "walker")
    for stored in card.figures:
        figure = Figure.model_validate(stored)
        assert figure.method
        assert figure.query == "none" or figure.parameters
        assert f"| {escaped(figure.name)} | {shown(figure)} |" in card.content
    by_name = {figure["name"]: figure for figure in card.figures}
    assert len(by_name) == len(card.figures)
    assert by_name["success rate"]["parameters"] == {"model_version_id": str(version.id)}
    assert datetime.fromisoformat(by_name["success rate"]["window"]["last"]) == HOUR


def test_latency_is_told_with_intervals_where_there_is_enough(session: Session) -> None:
    version = make(session)
    put_rollup(session, version, step_latency_ms=list(range(1, 101)), llm_latency_ms=[7] * 15)
    put_rollup(session, version, HOUR + timedelta(hours=1), step_latency_ms=list(range(101, 201)))
    latency = {figure.name: figure for figure in figures(session, version).latency}
    assert (latency["step latency p50"].value, latency["step latency p50"].n) == (100, 200)
    assert latency["step latency p95"].value == 190
    assert latency["step latency p95"].interval is not None
    assert latency["model call latency p50"].value == 7
    assert shown(latency["model call latency p95"]) == "insufficient data (n = 15)"


@pytest.mark.parametrize(
    ("sums", "cost", "per_success"),
    [
        (None, "insufficient data (n = 0)", "insufficient data (n = 0)"),
        ({"successes": 5}, "$0.00", "$0.00"),
        (
            {"llm_calls": 9, "cost_nanos": 1_234_567, "successes": 5},
            "$0.001234567",
            "$0.000246913",
        ),
        # More than a bigint holds.
        (
            {"llm_calls": 9, "cost_nanos": 10**20, "successes": 5},
            "$100,000,000,000.00",
            "$20,000,000,000.00",
        ),
        ({"llm_calls": 9, "unpriced_calls": 9}, "unpriced: 9 calls", "unpriced: 9 calls"),
        (
            {"llm_calls": 9, "unpriced_calls": 2, "cost_nanos": 10**10, "successes": 5},
            "$10.00 (unpriced: 2 calls)",
            "unpriced: 2 calls",
        ),
        (
            {"llm_calls": 9, "simulated_calls": 9, "cost_nanos": 10**9, "successes": 2},
            "$1.00 (simulated prices: 9 calls)",
            "insufficient data (n = 2)",
        ),
    ],
)
def test_unknown_cost_is_never_shown_as_none(
    session: Session, sums: dict[str, int] | None, cost: str, per_success: str
) -> None:
    version = make(session)
    if sums is not None:
        put_cost(session, version, **sums)
    found = figures(session, version)
    assert shown(found.cost) == cost
    assert shown(found.cost_per_success) == per_success


def test_unpriced_and_simulated_calls_are_limitations(session: Session) -> None:
    version = make(session)
    put_cost(session, version, llm_calls=9, unpriced_calls=2, simulated_calls=3)
    said = limitations(write_card(session, "walker").content)
    assert "The price of 2 of 9 model calls is unknown" in said
    assert "The price of 3 of 9 model calls is simulated" in said


def test_the_newest_sweep_is_shown_with_its_reasons(session: Session) -> None:
    version = make(session)
    assert "whether it drifts is unknown" in write_card(session, "walker").content
    put_rollup(session, version, tokens=[10] * 50 + [20] * 50)
    put_rollup(session, version, HOUR + timedelta(hours=1), tokens=[10] * 5 + [20] * 95)
    hour = timedelta(hours=1)
    job = DetectDrift(
        baseline=WindowOf(start=HOUR, end=HOUR + hour),
        current=WindowOf(start=HOUR + hour, end=HOUR + 2 * hour),
    )
    detect(session, job, uuid4())
    drift = {metric.metric: metric for metric in figures(session, version).drift}
    assert drift["tokens"].verdict.value == "drift"
    assert drift["tokens"].effect.value == pytest.approx(0.45)
    assert drift["tokens"].verdict.n == 100
    assert drift["success"].verdict.value == "no_data"
    assert shown(drift["success"].verdict) == "no data"
    assert shown(drift["success"].effect) == "insufficient data (n = 0)"
    content = write_card(session, "walker").content
    assert "| tokens | drift | 0.450 |" in content
    assert (
        f"For {len(MONITORED) - 1} of {len(MONITORED)} metrics the windows held too little"
        in content
    )


def test_what_has_not_been_shown_to_drift_is_not_called_stable(session: Session) -> None:
    version = make(session)
    for hour in (0, 1):
        put_rollup(session, version, HOUR + timedelta(hours=hour), tokens=[10] * 50 + [20] * 50)
    job = DetectDrift(
        baseline=WindowOf(start=HOUR, end=HOUR + timedelta(hours=1)),
        current=WindowOf(start=HOUR + timedelta(hours=1), end=HOUR + timedelta(hours=2)),
    )
    detect(session, job, uuid4())
    content = write_card(session, "walker").content
    assert "| tokens | no drift shown |" in content
    assert "stable" not in content


def test_a_window_that_ends_in_the_hour_to_come_is_told_up_to_the_sweep(session: Session) -> None:
    version = make(session)
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    job = DetectDrift(
        models=("walker",),
        baseline=WindowOf(start=hour - timedelta(hours=3), end=hour - timedelta(hours=2)),
        current=WindowOf(start=hour - timedelta(hours=1), end=hour + timedelta(hours=1)),
    )
    detect(session, job, uuid4())
    found = compute_figures(session, version, now).metrics_without_verdict
    assert found.window is not None
    assert found.window.first == hour - timedelta(hours=3)
    assert now - timedelta(minutes=5) < found.window.last <= datetime.now(UTC)


def read_as_hugging_face_does(content: str) -> ModelCard:
    # By these tests alone, and not while they are collected.
    from huggingface_hub import ModelCard

    return ModelCard(content)


def test_a_model_without_any_data_says_so_and_breaks_nothing(session: Session) -> None:
    make(session)
    content = write_card(session, "walker").content
    assert "| success rate | insufficient data (n = 0) | – | 0 |" in content  # noqa: RUF001
    assert "There are too few episodes" in content
    assert "Intended use: **missing**" in content
    assert read_as_hugging_face_does(content).data.to_dict()["model_name"] == "walker"


def test_the_metadata_is_what_hugging_face_reads(session: Session) -> None:
    version = make(session)
    put_episodes(session, version, {"click-test": ["success"] * 3 + ["failure"]})
    read = read_as_hugging_face_does(write_card(session, "walker").content).data
    assert read.model_name == "walker"
    (result,) = read.eval_results
    assert (result.dataset_name, result.dataset_config, result.metric_value) == (
        "miniwob",
        None,
        0.75,
    )
    assert result.metric_args == {"n": 4, "interval_95": list(wilson(3, 4))}


def test_the_metadata_stays_short_however_many_tasks_there_are(session: Session) -> None:
    version = make(session)
    put_episodes(session, version, {f"task-{n}": ["success"] * 3 for n in range(40)})
    content = write_card(session, "walker").content
    metadata = content.split("---")[1]
    assert len(metadata.splitlines()) <= 30
    assert content.count("| miniwob | task-") == 40


def test_hostile_names_stay_text(session: Session) -> None:
    name = HOSTILE[:80]
    version = make(session, name, description="a\n---\n# Owned\n<img src=x onerror=y>" + HOSTILE)
    put_episodes(session, version, {f"{HOSTILE}\n---\nowned: yes": ["success"] * 3})
    card = write_card(session, f"{name}@1.0.0")
    read = read_as_hugging_face_does(card.content)
    assert read.data.model_name == name
    assert set(read.data.to_dict()) == {"library_name", "tags", "model-index"}
    headings = [line for line in read.text.splitlines() if line.startswith("#")]
    assert not [heading for heading in headings if "Owned" in heading]
    assert not re.search(r"<(script|img)|(?<!\\)\[l|javascript:|(?<![:-])\b49\b", read.text)
    # Every row of the table of tasks still has the six cells of its head.
    table = read.text.split("### By task")[1].split("##")[0].strip().splitlines()
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in table] == [7, 7, 7]


def test_a_stand_in_is_never_called_a_model_of_language(session: Session) -> None:
    parameters = {"model": "stand-in", "base_url": "stand-in", "api_key_env": None}
    register(session, "keyless", "1.0.0", "llm", parameters, check=lambda *_: None)
    content = write_card(session, "keyless").content
    assert "**This agent asks the stand-in" in content
    assert "| prompt_sha256 |" in content
    make(session)
    assert "stand-in" not in write_card(session, "walker").content


def test_unchanged_figures_make_no_new_version(session: Session) -> None:
    version = make(session)
    put_episodes(session, version, {"click-test": ["success"] * 3})
    first = write_card(session, "walker")
    assert write_card(session, "walker@1.0.0").id == first.id
    put_episodes(session, version, {"click-test": ["failure"] * 3})
    second = write_card(session, "walker")
    assert (first.number, second.number) == (1, 2)
    assert newest_card(session, version) is second
    assert step(session, WriteCard(model="walker"))["number"] == 2
    assert session.scalar(sa.select(sa.func.count()).select_from(ModelCardRow)) == 2


def test_an_unknown_model_is_told_in_one_line(session: Session) -> None:
    with pytest.raises(RegistryError, match="no model 'walker' is registered"):
        write_card(session, "walker")


def test_writing_needs_no_network(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    make(session)

    def refuse(*_: object) -> None:
        raise AssertionError("a card went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert write_card(session, "walker").number == 1


def test_the_newest_card_of_each_model_is_exported(session: Session, tmp_path: Path) -> None:
    version = make(session)
    make(session, "../../etc/passwd")
    write_card(session, "walker")
    put_episodes(session, version, {"click-test": ["success"] * 3})
    newest = write_card(session, "walker")
    write_card(session, "../../etc/passwd")
    folder = tmp_path / "new" / "cards"
    written = export(session, folder)
    assert written == export(session, folder)
    assert len(written) == 2
    assert sorted(folder.iterdir()) == written
    assert (folder / "walker@1.0.0.md").read_text(encoding="utf-8") == newest.content
    (tmp_path / "file").touch()
    with pytest.raises(CardError, match=r"cards cannot be written to .*file"):
        export(session, tmp_path / "file")


def test_file_names_are_safe_and_different() -> None:
    names = ["walker", "Walker", "../walker", "walker/", ".walker", "wälker", "w" * 100, "日本", ""]
    made = [file_name(name, "1.0.0") for name in names]
    assert made[0] == "walker@1.0.0.md"
    assert len({name.lower() for name in made}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]*@1\.0\.0\.md", name) for name in made)
    assert file_name("a", "1.0.0-RC") != file_name("a", "1.0.0-rc")


def test_the_timetable_asks_for_the_card_of_each_evaluated_model(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        put_episodes(session, make(session), {"click-test": ["success"]})
        make(session, "never-evaluated")
    slot = datetime(2026, 11, 16, tzinfo=UTC)
    for _ in range(2):
        assert enqueue_cards(slot) >= 1
    with tenant_session(tenant) as session:
        asked = session.scalars(sa.select(JobRow.payload).where(JobRow.kind == "write_card")).all()
    assert [payload["model"] for payload in asked] == ["walker@1.0.0"]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.12345, Unit.SHARE, "12.3 %"),
        (1234.4, Unit.MILLISECONDS, "1,234 ms"),
        (1234567, Unit.TOKENS, "1,234,567"),
        (1_500_000_000_000, Unit.NANO_DOLLARS, "$1,500.00"),
        (1, Unit.NANO_DOLLARS, "$0.000000001"),
        (1e-12, Unit.P_VALUE, "1e-12"),
    ],
)
def test_figures_are_shown_in_their_unit(value: float, unit: Unit, text: str) -> None:
    figure = Figure(
        name="f", value=value, unit=unit, n=1, method="m", query="none", parameters={},
        computed_at=HOUR,
    )  # fmt: skip
    assert shown(figure) == text


def test_tokens_that_no_endpoint_reported_are_not_shown_as_none(session: Session) -> None:
    version = make(session)
    put_rollup(session, version, llm_calls=2)
    unknown = figures(session, version).tokens
    assert [shown(figure) for figure in unknown] == ["uncounted: 2 calls"] * 2
    later = HOUR + timedelta(hours=1)
    put_rollup(session, version, later, llm_calls=1, input_tokens=30, output_tokens=4, tokens=[34])
    known = figures(session, version).tokens
    assert [shown(figure) for figure in known] == [
        "30 (uncounted: 2 calls)",
        "4 (uncounted: 2 calls)",
    ]
    assert {figure.n for figure in known} == {1}
