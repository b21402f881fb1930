"""`mlops cost report`, `budget` and `prices`, and the monitor, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import shlex
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result
from typer.testing import CliRunner

import mlops as package
from mlops.cli import app
from mlops.console import Exit
from shared.alerts.tables import Alert
from shared.costs.aggregation import aggregate
from shared.database import TenantId, tenant_session
from shared.settings import settings
from shared.telemetry.events import LlmCallEvent, TaskEndEvent
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.rollups import roll_up_dirty_hours
from shared.tenancy.tables import AuditEntry
from shared.tenancy.tenants import create_tenant

HOUR = datetime(2026, 11, 18, 12, tzinfo=UTC)
"A Wednesday."
TODAY = datetime.now(UTC).date()
STOP = ("--hard-stop",)
Command = Callable[..., Any]

PRICES = """\
- provider: p
  model: m
  starts: 2026-01-01
  source: our contract
  input: 1
  cached_input: 0.25
  output: 2.50
- provider: p
  model: m
  starts: 2026-06-01
  source: our contract
  input: 0.5
  output: 2
"""


@pytest.fixture
def name(services: object) -> str:
    return f"costs-{uuid.uuid4()}"


@pytest.fixture
def tenant(name: str) -> TenantId:
    return create_tenant(name)


@pytest.fixture
def mlops(name: str, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> Command:
    """A command in this process, in the test's own tenant."""

    def run(*arguments: str) -> Result:
        with monkeypatch.context() as patch:
            patch.setenv("MLOPS_TENANT", name)
            patch.setattr("mlops.console.out.width", 250)
            settings.cache_clear()
            answer = CliRunner().invoke(app, arguments)
        settings.cache_clear()
        # A traceback would be an exception that is no exit.
        assert answer.exception is None or isinstance(answer.exception, SystemExit), answer
        return answer

    return run


@pytest.fixture
def told(mlops: Command) -> Command:
    """What a command that succeeds says on stdout: with --json what that means."""

    def run(*arguments: str) -> Any:
        answer = mlops(*arguments)
        assert answer.exit_code == 0, answer.stderr
        return json.loads(answer.stdout) if "--json" in arguments else answer.stdout

    return run


def refused(answer: Result, code: Exit, *parts: str) -> None:
    """One line on stderr, nothing on stdout, this exit code."""
    assert (answer.exit_code, answer.stdout) == (code, ""), answer.stderr
    assert answer.stderr.count("\n") == 1, answer.stderr
    for part in parts:
        assert part in answer.stderr


def call(at: datetime, model: str, provider: str, function: str = "checkout") -> LlmCallEvent:
    return LlmCallEvent(
        event_id=uuid.uuid4(),
        occurred_at=at,
        model=model,
        function=function,
        provider=provider,
        llm_model="m",
        latency_ms=1,
    )


def task(at: datetime, model: str, success: bool) -> TaskEndEvent:
    return TaskEndEvent(
        event_id=uuid.uuid4(), occurred_at=at, model=model, function="checkout", success=success
    )


def price(event: LlmCallEvent) -> CallCost:
    if event.provider == "unknown":
        return CallCost(None, "no price is known for unknown/m")
    return CallCost(2_000_000_000, "a price", simulated=event.provider == "stand-in")


def record(tenant: TenantId, *events: Any) -> None:
    with tenant_session(tenant) as session:
        store(session, events, price)
    with tenant_session(tenant) as session:
        aggregate(session, roll_up_dirty_hours(session))


@pytest.fixture
def november(tenant: TenantId) -> None:
    record(
        tenant,
        call(HOUR, "old@1", "known"),
        call(HOUR, "old@1", "unknown"),
        call(HOUR - timedelta(days=1), "old@1", "known"),
        call(HOUR - timedelta(days=20), "old@1", "known"),
        call(HOUR, "new@1", "stand-in", "search"),
        call(HOUR, "idle@1", "unknown"),
        *(task(HOUR, "new@1", success) for success in (True, True, False)),
    )


@pytest.mark.usefixtures("november")
def test_the_report_keeps_what_is_unknown_and_what_is_simulated_apart(told: Command) -> None:
    found = told("cost", "report", "--month", "2026-11", "--json")
    assert (found["from"], found["to"], found["by"]) == (
        "2026-11-01T00:00:00+00:00",
        "2026-12-01T00:00:00+00:00",
        "model",
    )
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == ["old@1", "new@1", "idle@1"]
    old, new, idle = rows.values()
    assert (old["cost_nanos"], old["llm_calls"], old["unpriced_calls"]) == (4_000_000_000, 3, 1)
    assert old["cost_dollars"] == "4.00"
    assert (old["cost_per_request_nanos"], old["cost_per_success_nanos"]) == (2_000_000_000, None)
    assert (new["cost_dollars"], new["simulated_calls"]) == ("2.00", 1)
    assert (new["tasks"], new["successes"], new["cost_per_success_dollars"]) == (3, 2, "1.00")
    assert (new["cost_per_success_low_nanos"], new["no_interval"]) == (
        None,
        "1 day of 5 that it takes",
    )
    low, high = new["success_interval"]
    assert 0 < low < 2 / 3 < high < 1
    assert (idle["cost_nanos"], idle["cost_dollars"]) == (None, None)
    assert (idle["cost_per_request_nanos"], idle["no_interval"]) == (
        None,
        "the cost per success is not known",
    )
    total = found["total"]
    assert (total["cost_nanos"], total["llm_calls"], total["unpriced_calls"]) == (
        6_000_000_000,
        5,
        2,
    )
    text = told("cost", "report", "--month", "2026-11")
    for part in ("$4.00 + unpriced: 1 call", "$2.00 (simulated)", " unpriced: 1 call "):
        assert part in text, part
    assert "2 of 3 (21 to 94 %)" in text
    assert "Budgets on " in text


@pytest.mark.usefixtures("november")
def test_the_report_is_by_whatever_is_asked_for(told: Command) -> None:
    def names(*arguments: str) -> list[Any]:
        return [row["name"] for row in told("cost", "report", *arguments, "--json")["rows"]]

    month = ("--month", "2026-11")
    assert names(*month, "--by", "function") == ["checkout", "search"]
    assert names(*month, "--by", "variant") == [None]
    assert names(*month, "--by", "day") == ["2026-11-17", "2026-11-18"]
    assert names(*month, "--by", "hour") == ["2026-11-17 12:00", "2026-11-18 12:00"]
    assert names(*month, "--by", "llm_model") == ["known/m", "stand-in/m", "unknown/m"]
    assert names("--on", "2026-11-17") == ["old@1"]
    assert names("--on", "2026-11-16") == []
    assert "nothing was spent" in told("cost", "report", "--on", "2026-11-16")


@pytest.mark.usefixtures("november")
def test_the_report_says_why_calls_have_no_price_and_what_can_be_done(told: Command) -> None:
    month = ("cost", "report", "--month", "2026-11")
    found = told(*month, "--json")
    (reason,) = found["unpriced"]
    assert (reason["reason"], reason["explanation"]) == ("no_price", "no price is known")
    assert (reason["llm_calls"], found["untold_calls"]) == (2, 0)
    assert reason["llm_models"] == [{"name": "unknown/m", "llm_calls": 2}]
    assert "mlops cost prices import" in reason["remedy"]
    text = told(*month, "--by", "llm_model")
    for part in ("Calls without a price", "no price is known", "unknown/m", "prices import"):
        assert part in text, part
    assert "Calls without a price" not in told("cost", "report", "--on", "2026-11-17")


def test_a_report_says_as_of_when_it_is_and_what_is_not_summed_yet(
    told: Command, tenant: TenantId
) -> None:
    assert "nothing was summed yet" in told("cost", "report")
    record(tenant, call(HOUR, "old@1", "known"))
    with tenant_session(tenant) as session:
        store(session, [call(HOUR - timedelta(hours=n), "old@1", "known") for n in (1, 2)], price)
    found = told("cost", "report", "--json")
    assert (found["unsummed_hours"], found["waiting_batches"]) == (2, 0)
    assert found["oldest_unsummed_hour"] == (HOUR - timedelta(hours=2)).isoformat()
    assert found["summed_at"] <= found["as_of"]
    said = "; 2 hours are not summed yet, the oldest 2026-11-18 10:00\n"
    for command in ("report", "budget list", "anomalies", "forecast", "advise"):
        assert said in told("cost", *command.split()), command
    for command in ("performance", "errors", "metrics"):
        assert said in told("monitor", command), command


def test_a_report_without_data_says_so_and_shows_the_budgets(told: Command) -> None:
    found = told("cost", "report", "--json")
    assert (found["rows"], found["total"]) == ([], None)
    assert found["to"] == f"{TODAY + timedelta(days=1)}T00:00:00+00:00"
    assert found["from"] == f"{TODAY - timedelta(days=29)}T00:00:00+00:00"
    assert [(b["period"], b["state"], b["share"]) for b in found["budgets"]] == [
        ("day", "no_data", None),
        ("week", "no_data", None),
        ("month", "no_data", None),
    ]
    assert "no data" in told("cost", "report")


def test_a_report_that_cannot_be_is_refused_in_one_line(mlops: Command) -> None:
    report = ("cost", "report")
    refused(mlops(*report, "--on", "soon"), Exit.USAGE, "soon")
    refused(mlops(*report, "--month", "2026-13"), Exit.USAGE, "expected one like 2026-11")
    refused(mlops(*report, "--month", "2026-11", "--days", "3"), Exit.USAGE, "give one of")
    refused(mlops(*report, "--days", "0"), Exit.USAGE, "--days")
    ahead = f"in the future: today is {TODAY} (UTC)"
    tomorrow = TODAY + timedelta(days=1)
    refused(mlops(*report, "--on", str(tomorrow)), Exit.USAGE, f"{tomorrow} is {ahead}")
    refused(mlops(*report, "--month", "9999-12"), Exit.USAGE, f"9999-12 is {ahead}")
    refused(mlops(*report, "--on", "9999-12-31"), Exit.USAGE, ahead)
    refused(mlops(*report, "--by", "colour"), Exit.USAGE, "--by")


def test_a_budget_from_its_setting_to_its_removal(told: Command, tenant: TenantId) -> None:
    record(tenant, call(datetime.now(UTC), "old@1", "known"))
    said = told("cost", "budget", "set", "2.50", "--period", "day").splitlines()
    assert said == [
        "the budget of $2.50 a day for all models is set",
        f"80 % of it is spent since {TODAY} (UTC): $2.00",
    ]
    first, _, stop = told("cost", "budget", "set", "$3", "--period", "day", "--hard-stop").split(
        "\n", 2
    )
    assert first.endswith("is set, instead of the budget of $2.50 a day for all models")
    assert stop.startswith("hard stop: once it is used up, calls of all models are refused until ")
    assert "every process knows it within 10 s" in stop
    used_up = told("cost", "budget", "set", "1", "--period", "month", "--model", "old@1", *STOP)
    assert "it is used up, so calls of model old@1 are refused until " in used_up
    lifted = told("cost", "budget", "set", "1", "--period", "month", "--model", "old@1")
    assert "calls are not refused any more, in every process after 10 s" in lifted
    listed = told("cost", "budget", "list", "--json")["budgets"]
    assert [(b["scope"], b["period"], b["default"], b["hard_stop"]) for b in listed] == [
        ("tenant", "day", False, True),
        ("tenant", "week", True, False),
        ("tenant", "month", True, False),
        ("model", "month", False, False),
    ]
    assert [b["state"] for b in listed] == ["50", "ok", "ok", "exceeded"]
    assert (listed[0]["spent_nanos"], listed[0]["share"]) == (2_000_000_000, 2 / 3)
    assert (listed[0]["amount_dollars"], listed[0]["from"]) == ("3.00", f"{TODAY}T00:00:00+00:00")
    text = told("cost", "budget", "list")
    for part in ("67 %", "over 50 %", "$3.00 a day, hard stop", "a month, default", "exceeded"):
        assert part in text, part
    said = told("cost", "budget", "remove", "--period", "month", "--model", "old@1")
    assert said == "the budget of $1.00 a month for model old@1 is removed\n"
    assert len(told("cost", "budget", "list", "--json")["budgets"]) == 3
    with tenant_session(tenant) as session:
        actions = session.scalars(sa.select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions[1:] == ["budget.set"] * 4 + ["budget.remove"]


def test_a_budget_for_nobody_known_asks_whether_the_name_is_right(
    mlops: Command, tenant: TenantId
) -> None:
    answer = mlops("cost", "budget", "set", "1", "--period", "day", "--function", "checkuot")
    assert answer.exit_code == 0
    assert "no function 'checkuot' has ever been reported: is the name right?" in answer.stderr
    record(tenant, call(HOUR, "old@1", "known"))
    answer = mlops("cost", "budget", "set", "1", "--period", "day", "--function", "checkuot")
    assert "has ever been reported; did you mean 'checkout'?" in answer.stderr
    gone = mlops("cost", "budget", "remove", "--period", "day", "--function", "checkout")
    refused(gone, Exit.NOT_FOUND, "for function checkout and a day; did you mean 'checkuot'?")


def test_a_budget_is_judged_when_it_is_set_and_when_it_is_removed(
    told: Command, tenant: TenantId
) -> None:
    record(tenant, call(datetime.now(UTC), "old@1", "known"))
    setting = ("cost", "budget", "set", "2.20", "--period", "week", "--json")
    found = told(*setting)
    # That of the day is the default, $1.
    assert (found["state"], found["alerts_raised"]) == ("80", 2)
    assert told(*setting)["alerts_raised"] == 0
    told("cost", "budget", "remove", "--period", "week")
    with tenant_session(tenant) as session:
        alerts = session.execute(sa.select(Alert.details, Alert.resolved_at)).all()
    assert {(one["period"], at is None) for one, at in alerts} == {("day", True), ("week", False)}


def test_a_budget_that_cannot_be_is_refused_in_one_line(mlops: Command) -> None:
    setting = ("cost", "budget", "set")
    refused(mlops(*setting, "much", "--period", "day"), Exit.USAGE, "'much' is no amount")
    refused(mlops(*setting, "0", "--period", "day"), Exit.USAGE, "expected more than $0")
    refused(mlops(*setting, "1", "--period", "year"), Exit.USAGE, "year")
    refused(mlops(*setting, "1"), Exit.USAGE, "--period")
    both = ("--model", "m", "--function", "f")
    refused(mlops(*setting, "1", "--period", "day", *both), Exit.USAGE, "not both")
    gone = mlops("cost", "budget", "remove", "--period", "day")
    refused(gone, Exit.NOT_FOUND, "no budget of this tenant's own for all models and a day")


def test_a_threshold_that_is_none_is_told_in_one_line(
    mlops: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAILY_COST_THRESHOLD", "0")
    refused(mlops("cost", "report"), Exit.USAGE, "setting DAILY_COST_THRESHOLD: Input should be")


def test_own_prices_from_import_to_export(told: Command, tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(PRICES)
    said = told("cost", "prices", "import", str(file))
    assert said.startswith("2 prices of your own, instead of 0; version: genai-prices ")
    found = told("cost", "prices", "--json")
    assert ", own " in found["version"]
    rows = {(row["provider"], row["model"]): row for row in found["prices"]}
    assert rows["p", "m"]["whose"] == "own"
    assert rows["p", "m"]["input"] == [{"above_input_tokens": 0, "dollars_per_million": "0.5"}]
    assert rows["p", "m"]["cached_input"] is None
    assert rows["stand-in", "stand-in"]["whose"] == "shipped"
    assert "shipped, simulated" in told("cost", "prices")
    early = told("cost", "prices", "show", "p/m", "--on", "2026-05-31", "--json")
    assert early["cached_input"][0]["dollars_per_million"] == "0.25"
    assert early["starts"] == "2026-01-01"
    exported = tmp_path / "again.yaml"
    exported.write_text(told("cost", "prices", "export"))
    again = told("cost", "prices", "import", str(exported), "--json")
    assert (again["before"], again["after"], again["version"]) == (2, 2, found["version"])
    exported.write_text("[]\n")
    assert told("cost", "prices", "import", str(exported)).startswith("0 prices of your own")
    assert told("cost", "prices", "export") == "[]\n"


def test_prices_are_shown_as_they_are_written_and_without_secrets(
    mlops: Command, told: Command, tmp_path: Path
) -> None:
    file = tmp_path / "prices.yaml"
    entry = (
        '- {provider: "[red]p", model: "x[/red][/]", starts: 2026-01-01, input: 1, output: 2,\n'
        '   source: "[bold]contract[/bold] at https://a.test/?token=c4n4ry1234&page=1"}\n'
    )
    file.write_text(entry)
    assert told("cost", "prices", "import", str(file)).startswith("1 price of your own")
    listed = mlops("cost", "prices").stdout
    assert "[red]p/x[/red][/]" in listed
    shown = mlops("cost", "prices", "show", "[red]p/x[/red][/]")
    assert shown.exit_code == Exit.OK
    assert "[red]p/x[/red][/] on " in shown.stdout
    assert "[bold]contract[/bold] at https://a.test/?token=[redacted]&page=1" in shown.stdout
    everything = shown.stdout + listed + mlops("cost", "prices", "export").stdout
    assert "c4n4ry" not in everything


def test_embedded_prices_are_looked_up_by_name_and_by_a_part_of_it(told: Command) -> None:
    text = told("cost", "prices", "show", "anthropic/claude-sonnet-4-5")
    for part in ("cache write", "3.75", "above 200,000 tokens", "embedded: genai-prices"):
        assert part in text, part
    found = told("cost", "prices", "--model", "openai/gpt-4.1", "--json")
    names = {(row["provider"], row["model"]) for row in found["prices"]}
    assert ("openai", "gpt-4.1-mini") in names
    assert told("cost", "prices", "--model", "no such thing").startswith("no such price is known")


def test_prices_that_cannot_be_are_refused_in_one_line(mlops: Command, tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(PRICES.replace("0.25", "-1").replace("2.50", "x"))
    refused(
        mlops("cost", "prices", "import", str(file)),
        Exit.USAGE,
        f"{file}:6:3: [0].cached_input: Input should be greater than or equal to 0",
        "(and 1 more mistakes)",
    )
    refused(mlops("cost", "prices", "import", "none.yaml"), Exit.USAGE, "No such file")
    refused(mlops("cost", "prices", "show", "gpt"), Exit.USAGE, "expected PROVIDER/MODEL")
    refused(mlops("cost", "prices", "show", "nobody/m"), Exit.NOT_FOUND, "no price is known for")
    near = mlops("cost", "prices", "show", "openai/gpt-41-mini")
    refused(near, Exit.NOT_FOUND, "; did you mean 'openai/gpt-4.1-mini'")


@pytest.mark.usefixtures("november")
def test_the_monitor_tells_each_functions_cost(tenant: TenantId) -> None:
    record(
        tenant,
        call(datetime.now(UTC), "old@1", "known"),
        call(datetime.now(UTC), "old@1", "stand-in"),
        call(datetime.now(UTC), "old@1", "unknown", "search"),
    )
    monitor = package.MLOpsCostMonitor(tenant)
    costs = asyncio.run(monitor.analyze_costs())
    assert list(costs) == ["checkout", "search"]
    checkout, search = costs.values()
    assert (checkout.total_cost, checkout.request_count, checkout.cost_per_request) == (4.0, 2, 2.0)
    assert checkout.simulated_requests == 1
    assert (search.total_cost, search.request_count, search.unpriced_requests) == (None, 1, 1)
    assert json.loads(json.dumps(search.to_dict()))["cost_per_success"] is None
    days = (TODAY - date(2026, 11, 17)).days + 1
    if days > 1:
        assert asyncio.run(monitor.analyze_costs(days))["checkout"].request_count > 2
    with pytest.raises(ValueError, match="expected 1 to 3660"):
        asyncio.run(monitor.analyze_costs(0))


def test_the_monitor_is_that_of_the_tenant_in_the_environment(
    tenant: TenantId, name: str, with_environment: Callable[..., None]
) -> None:
    record(tenant, call(datetime.now(UTC), "old@1", "known"))
    with_environment(MLOPS_TENANT=name)
    costs = asyncio.run(package.MLOpsCostMonitor().analyze_costs())
    assert {function: cost.total_cost for function, cost in costs.items()} == {"checkout": 2.0}


def blocks(language: str) -> list[str]:
    """The code blocks of the page about costs."""
    page = (Path(__file__).parents[2] / "docs" / "costs.md").read_text("utf-8")
    inside = (text.partition("\n") for text in page.split("```")[1::2])
    return [text for named, _, text in inside if named == language]


def test_every_command_of_the_page_works_as_it_is_written(
    told: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (price_file,) = blocks("yaml")
    Path("prices.yaml").write_text(price_file)
    commands = [line for block in blocks("") for line in block.splitlines() if line]
    assert len(commands) >= 13
    for line in commands:
        program, *arguments = shlex.split(line.partition("#")[0].partition(">")[0])
        assert program == "mlops"
        told(*arguments)
    (rate,) = told("cost", "prices", "--model", "openai/gpt-4.1-mini", "--json")["prices"][:1]
    assert (rate["whose"], rate["input"][0]["dollars_per_million"]) == ("own", "0.3")


def test_the_python_of_the_page_works_as_it_is_written(
    tenant: TenantId,
    name: str,
    with_environment: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    record(tenant, call(datetime.now(UTC), "old@1", "known"))
    with_environment(MLOPS_TENANT=name)
    programs = blocks("python")
    assert len(programs) == 2
    for program in programs:
        exec(program, {})  # noqa: S102 (it is ours)
    assert capsys.readouterr().out == "checkout: $2.0000 (1 requests, 0 unpriced)\n"
