"""The demonstration is really there, and a second one does not mix with the first."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from mlops import DataDriftDetector, demo, demo_report
from shared.abtest.assignment import live
from shared.abtest.lifecycle import find
from shared.abtest.truth import table_of
from shared.database import tenant_session
from shared.evaluation.changing import cancel
from shared.evaluation.tables import BenchmarkRun
from shared.jobs.reading import depths
from shared.tenancy.tenants import find_tenant

pytestmark = pytest.mark.timeout(300)

PLAN = demo.Plan(tasks=("click-test", "enter-text", "login-user"), seeds=2, traffic_seeds=3)


@pytest.fixture(scope="module")
def demonstrations(
    cluster: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[demo.Demo, demo.Demo]:
    directory = tmp_path_factory.mktemp("cards")
    return demo.run(None, directory, PLAN), demo.run(None, directory, PLAN)


def test_nothing_is_missing(cluster: Any, demonstrations: tuple[demo.Demo, ...]) -> None:
    for done in demonstrations:
        assert demo.check(done, cluster.running.flower) == []


def test_drift_is_asked_for_from_python(
    cluster: Any, demonstrations: tuple[demo.Demo, ...]
) -> None:
    """Of a tenant without a past nothing is known: that is said, and is not stability."""
    done, _ = demonstrations
    results = asyncio.run(DataDriftDetector(done.tenant_id).detect_all_drift())
    assert {result.function_name for result in results} == {"benchmark", "traffic"}
    for result in results:
        assert not result.drift_detected
        assert result.state in ("no_data", "insufficient")
        assert (result.p_value, result.effect_size) == (None, None)
        assert result.reason
        assert result.threshold == 0.05
        assert json.loads(json.dumps(result.to_dict()))["metric_name"] == result.metric_name


def test_what_is_missing_is_told(cluster: Any, demonstrations: tuple[demo.Demo, ...]) -> None:
    first, second = demonstrations
    # The application may not; whoever owns the database may.
    with psycopg.connect(cluster.running.database_owner_url) as connection:
        connection.execute("SELECT set_config('app.tenant', %s, true)", [str(first.tenant_id)])
        for statement in (
            "DELETE FROM mlops.drift_detection WHERE model LIKE 'stand-in%'",
            "UPDATE mlops.model_performance SET llm_calls = llm_calls + 1",
        ):
            assert connection.execute(statement).rowcount > 0
    problems = demo.check(first, cluster.running.flower)
    assert any("no drift test" in problem for problem in problems)
    assert any("llm calls" in problem for problem in problems)
    assert demo.check(second, cluster.running.flower) == []


def test_the_report_holds_a_figure_for_each_agent_and_says_what_is_simulated(
    demonstrations: tuple[demo.Demo, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    demo_report.show(demonstrations[1], None, as_json=True)
    report = json.loads(capsys.readouterr().out)
    rules, stand_in = report["agents"]
    assert rules["agent"] == "rule-based@1.0.0"
    assert rules["scored"] + stand_in["scored"] == PLAN.episodes(2)
    assert rules["llm_calls"] == 0
    assert stand_in["cost_nanos"] > 0
    assert "(simulated)" in stand_in["cost"]
    low, high = stand_in["interval"]
    assert low < stand_in["success_rate"] <= high
    assert set(report["costs"]) == {"day", "week", "month"}


def test_each_unit_had_the_agent_that_the_table_gives_it(
    demonstrations: tuple[demo.Demo, ...],
) -> None:
    with tenant_session(demonstrations[1].tenant_id) as session:
        test = live(table_of(find(session, demo.AB_TEST)))
        rows = session.execute(
            sa.text(
                "SELECT e.unit_id, e.variant, m.name || '@' || v.version AS model"
                " FROM mlops.episodes e JOIN mlops.model_versions v ON v.id = e.model_version_id"
                " JOIN mlops.models m ON m.id = v.model_id WHERE e.unit_id IS NOT NULL"
            )
        ).all()
    assert len(rows) == len(PLAN.tasks) * PLAN.traffic_seeds
    for row in rows:
        variant = test.assign(row.unit_id, {}).variant
        assert variant is not None
        assert (variant.name, variant.model) == (row.variant, row.model)


def test_a_model_without_a_key_is_told_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(demo.DemoError, match="needs OPENAI_API_KEY"):
        demo.llm_parameters("gpt-4.1-mini")


def test_cards_are_written_where_it_says(demonstrations: tuple[demo.Demo, ...]) -> None:
    for done in demonstrations:
        assert [isinstance(path, Path) and path.exists() for path in done.cards] == [True, True]


def test_ctrl_c_says_what_goes_on_and_how_to_end_it(cluster: Any) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "mlops.cli", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        try:
            # The demonstration's tenant is there as soon as it has episodes.
            while depths()["evaluation"].running == 0:
                assert command.poll() is None
                time.sleep(0.05)
            command.send_signal(signal.SIGINT)
            out, err = command.communicate(timeout=60)
        finally:
            command.kill()
    last = err.rstrip().splitlines()[-1]
    tenant = last.partition("MLOPS_TENANT=")[2].partition(" ")[0]
    with tenant_session(find_tenant(tenant)) as session:
        for run in session.scalars(sa.select(BenchmarkRun.id)).all():
            cancel(session, run)
    assert (command.returncode, out) == (130, "")
    assert last.startswith("interrupted: the services go on in /")
    assert "`mlops down` stops them" in last
