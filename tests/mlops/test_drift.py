"""`mlops drift`, on a real PostgreSQL."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from click.testing import Result
from sqlalchemy.orm import Session

from mlops.console import Exit
from mlops.drift.tables import print_findings
from shared.alerts.raising import Severity, raise_alert
from shared.database import TenantId, tenant_session
from shared.drift.quality import QualityCheck
from shared.drift.reading import newest_findings
from shared.drift.recalling import recalled
from shared.drift.sweep import detect
from shared.drift.tables import DriftDetection, DriftSubject, SweepKind
from shared.jobs.contracts import DetectDrift, WindowOf
from shared.telemetry.days import mark_days
from shared.telemetry.features.definitions import DataType, Source
from shared.telemetry.features.registering import register_feature
from shared.telemetry.features.writing import write_values
from shared.telemetry.histograms import Histogram
from shared.telemetry.metrics import HISTOGRAMS
from shared.telemetry.tables import ModelPerformance, TelemetryName
from tests.shared.drift.rollups import roll_up

HOUR = datetime(2026, 11, 18, 12, tzinfo=UTC)
OF_SHOP = {"function": "shop", "model": None}
BASELINE = {"start": "2026-11-11T12:00:00Z", "end": "2026-11-18T12:00:00Z"} | OF_SHOP
CURRENT = {"start": "2026-11-18T12:00:00Z", "end": "2026-11-19T12:00:00Z"} | OF_SHOP
AT = {"current": CURRENT}
JUDGED = {
    "test": "kolmogorov_smirnov",
    "effect_name": "ks_distance",
    "effect_size": 0.4,
    "minimum_effect": 0.1,
    "p_adjusted": 0.03,
    "verdict": "drift",
    "change": "median 2 s to 3 s",
    "reason": "median 2 s to 3 s; it moved",
}
OTHER = JUDGED | {
    "test": "mann_whitney",
    "effect_name": "auc",
    "effect_size": 0.2,
    "minimum_effect": None,
    "p_adjusted": 0.002,
}
Command = Callable[..., Result]


def put_sweep(
    tenant: TenantId,
    *tests: dict[str, Any],
    model: str = "old@1.0.0",
    at: datetime = HOUR,
    kind: SweepKind = SweepKind.TIMETABLE,
) -> None:
    sweep = uuid4()
    with tenant_session(tenant) as session:
        newest = {"sweep_id": sweep, "swept_at": at, "kind": kind}
        for field, name in (("function", "shop"), ("model", model)):
            session.merge(TelemetryName(tenant_id=tenant, field=field, name=name))
        session.merge(DriftSubject(tenant_id=tenant, function="shop", model=model, **newest))
        for test in tests:
            session.add(
                DriftDetection(
                    tenant_id=tenant,
                    sweep_id=sweep,
                    created_at=at,
                    function="shop",
                    model=model,
                    baseline=BASELINE,
                    **({"metric": "latency", "n_baseline": 400, "n_current": 300} | AT | test),
                    statistic=1.0,
                    p_value=0.001,
                    threshold=0.05,
                )
            )


@pytest.fixture
def told(mlops: Command) -> Callable[..., Any]:
    """What a command that succeeds says on stdout: with --json what that means."""

    def run(*arguments: str) -> Any:
        answer = mlops("drift", *arguments)
        assert answer.exit_code == 0, answer.stderr
        return json.loads(answer.stdout) if "--json" in arguments else answer.stdout

    return run


def refused(answer: Result, code: Exit, told: str) -> None:
    assert answer.exit_code == code, answer.output
    assert told in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_the_list_is_the_newest_sweep_with_the_effect_that_was_judged(
    told: Callable[..., Any], mlops: Command, tenant: TenantId
) -> None:
    assert told("list", "--json") == []
    assert "`mlops drift run` at once" in told("list")
    before = JUDGED | {"verdict": "stable", "change": None, "reason": "as it was"}
    put_sweep(tenant, before)
    put_sweep(tenant, before, model="new@1.0.0")
    put_sweep(tenant, JUDGED, OTHER, at=HOUR + timedelta(hours=1))
    new, old = told("list", "--json")
    assert (new["function"], new["model"], new["verdict"]) == ("shop", "new@1.0.0", "stable")
    assert (old["verdict"], old["reason"]) == ("drift", JUDGED["reason"])
    assert (new["change"], old["change"]) == (None, "median 2 s to 3 s")
    assert (old["effect_name"], old["effect_size"], old["p_adjusted"]) == (
        "ks_distance",
        0.4,
        0.002,
    )
    assert [one["model"] for one in told("list", "--model", "old@1.0.0", "--json")] == ["old@1.0.0"]
    refused(mlops("drift", "list", "--function", "chop"), Exit.NOT_FOUND, "no function 'chop'")
    for width in (150, 120):
        text = mlops("drift", "list", width=width).stdout
        # What has moved comes first.
        table = text[text.index("\n") :]
        assert table.index("old@1.0.0") < table.index("new@1.0.0")
        for number in ("median 2 s to 3 s", "10 %)", "0.002", "400 / 300"):
            assert number in text
        assert text.count("median") == 1
    assert "1 drift, 1 no drift shown\n" in text
    # A finding's numbers are in the table; the test that found nothing has not shown stability.
    assert "it moved" not in text
    assert "no drift shown" in text
    assert "stable" not in text


def test_a_sweep_by_hand_does_not_hide_that_of_the_timetable(
    told: Callable[..., Any], tenant: TenantId
) -> None:
    put_sweep(tenant, JUDGED)
    assert "newer" not in told("list")
    calm = JUDGED | {"verdict": "stable"}
    put_sweep(tenant, calm, at=HOUR + timedelta(hours=2), kind=SweepKind.BY_HAND)
    text = told("list")
    assert text.startswith(
        "timetable, 2026-11-18 12:00 UTC: 2026-11-18 12:00 to 2026-11-19 12:00 against"
        " 2026-11-11 12:00 to 2026-11-18 12:00\n"
        "a sweep by hand is newer (2026-11-18 14:00 UTC, old@1.0.0 in shop): `--newest` shows it\n"
    )
    assert [one["verdict"] for one in told("list", "--json")] == ["drift"]
    (newest,) = told("list", "--newest", "--json")
    assert (newest["verdict"], newest["kind"]) == ("stable", "by_hand")
    assert told("list", "--newest").startswith("by hand, 2026-11-18 14:00 UTC")
    assert told("show", "latency").startswith("DRIFT")
    assert told("show", "latency", "--newest").startswith("NO DRIFT SHOWN")


def test_the_worst_is_first_and_what_was_never_sent_is_counted(
    mlops: Command, told: Callable[..., Any], tenant: TenantId
) -> None:
    put_sweep(tenant, JUDGED)
    put_sweep(tenant, JUDGED | {"effect_size": 0.9}, model="a-name-that-is-quite-long@1.0.0")
    put_sweep(tenant, JUDGED | {"verdict": "warning", "effect_size": 0.95}, model="warned@1.0.0")
    empty = JUDGED | {"verdict": "no_data", "reason": "the baseline window is empty"}
    put_sweep(tenant, empty | {"n_baseline": 0, "n_current": 0}, model="quiet@1.0.0")
    for width in (120, 80, 60):
        text = mlops("drift", "list", width=width).stdout
        order = [text.index(f"{share} % (matters from 10 %)") for share in (90, 40, 95)]
        assert order == sorted(order)
        assert "\N{HORIZONTAL ELLIPSIS}" not in text
        # Nothing is left out for want of room, and no word cut.
        assert text.count("adjusted p 0.03, n 400 / 300\n") == 3
        assert "1 more have no data in either window: `mlops drift list --all` names them" in text
        assert "2 drift, 1 slight drift, 1 no data\n" in text
        assert "quiet@1.0.0" not in text
    assert "quiet@1.0.0" in told("list", "--all")
    assert len(told("list", "--json")) == 4


def test_what_has_not_moved_is_only_counted_after_a_sweep_by_hand(
    tenant: TenantId, capsys: pytest.CaptureFixture[str]
) -> None:
    calm = JUDGED | {"verdict": "stable", "change": None}
    put_sweep(tenant, JUDGED)
    put_sweep(tenant, calm, model="calm@1.0.0")
    with tenant_session(tenant) as session:
        both, quiet = newest_findings(session), newest_findings(session, model="calm@1.0.0")
    print_findings(both, "What has moved", empty="", with_stable=False)
    text = capsys.readouterr().out
    assert "calm@1.0.0" not in text
    assert text.endswith("1 drift, 1 no drift shown: `mlops drift list --newest` lists all\n")
    print_findings(quiet, "What has moved", empty="", with_stable=False)
    assert capsys.readouterr().out == (
        "nothing has moved\n0 drift, 1 no drift shown: `mlops drift list --newest` lists all\n"
    )


def test_that_requests_are_as_ever_is_not_that_nothing_has_moved(
    tenant: TenantId, capsys: pytest.CaptureFixture[str]
) -> None:
    overlap = JUDGED | {"verdict": "insufficient", "reason": "the windows overlap"}
    put_sweep(tenant, overlap, JUDGED | {"verdict": "stable", "metric": "request_volume"})
    with tenant_session(tenant) as session:
        found = newest_findings(session)
    print_findings(found, "What has moved", empty="", with_stable=False)
    assert capsys.readouterr().out.startswith(
        "nothing but request_volume could be judged, which has not moved\n"
        "not judged: the windows overlap: latency of old@1.0.0 in shop\n"
    )


def test_the_list_says_how_many_false_alarms_are_to_be_expected(
    told: Callable[..., Any], tenant: TenantId
) -> None:
    put_sweep(tenant, JUDGED)
    with tenant_session(tenant) as session:
        # Of one sweep.
        for metric in ("tokens", "latency"):
            raise_alert(session, "drift", metric, Severity.WARNING, "it moved")
        raise_alert(session, "queue", "b", Severity.WARNING, "it was spent")
    assert "an alarm in the last 7 days: 1; at most 1 a week are expected" in told("list")
    told("budget", "100")
    # No sweep is as loose as that.
    assert "at most 8.4 a week are expected" in told("list")


def test_why_drift_is_unknown_is_said_once_for_all_that_it_holds_for(
    told: Callable[..., Any], tenant: TenantId
) -> None:
    few = JUDGED | {"verdict": "insufficient", "reason": "the window holds 5 values"}
    for model in ("old@1.0.0", "new@1.0.0"):
        put_sweep(tenant, few, model=model)
    text = told("list")
    assert "nothing could be judged" in text
    assert text.count("the window holds 5 values") == 1
    assert (
        "not judged: the window holds 5 values: latency of new@1.0.0 in shop,"
        " latency of old@1.0.0 in shop\n"
    ) in text


def test_a_metric_is_shown_with_all_its_tests(
    told: Callable[..., Any], mlops: Command, tenant: TenantId
) -> None:
    refused(mlops("drift", "show", "latency"), Exit.NOT_FOUND, "`mlops drift run` makes one")
    put_sweep(tenant, JUDGED, OTHER)
    text = told("show", "latency", "--function", "shop")
    assert text.startswith("DRIFT")
    assert "40 % of values differ" in text
    assert "2026-11-11 12:00" in text
    # Its rollups are not there: figures stay, what the windows held is not made up.
    assert "what the windows held is not known" in text
    assert "mann_whitney" in text
    # The tests are under their own drawing.
    put_sweep(tenant, JUDGED, model="new@1.0.0")
    both = told("show", "latency")
    parts = ("by new@1.0.0", "new@1.0.0 in shop", "by old@1.0.0", "old@1.0.0 in shop")
    assert [both.index(part) for part in parts] == sorted(both.index(part) for part in parts)
    (found,) = told("show", "latency", "--model", "old@1.0.0", "--json")
    assert [test["name"] for test in found["tests"]] == ["kolmogorov_smirnov", "mann_whitney"]
    assert found["baseline"] == BASELINE
    refused(mlops("drift", "show", "latenzy"), Exit.NOT_FOUND, "near it: latency")


def test_earlier_sweeps_are_shown_of_windows_as_long(tenant: TenantId) -> None:
    six_hours = CURRENT | {"start": "2026-11-19T06:00:00Z"}
    for n, current in enumerate((CURRENT, six_hours, CURRENT)):
        put_sweep(tenant, JUDGED | {"current": current}, at=HOUR + timedelta(hours=n))
    with tenant_session(tenant) as session:
        (shown,) = recalled(session, newest_findings(session), with_history=True)
    (metric,) = shown.metrics
    assert [one.at for one in metric.history] == [HOUR, HOUR + timedelta(hours=2)]


def test_a_report_is_one_page_that_says_what_moved(
    told: Callable[..., Any], mlops: Command, tenant: TenantId, tmp_path: Path
) -> None:
    page = tmp_path / "drift.html"
    refused(mlops("drift", "report", str(page)), Exit.NOT_FOUND, "no sweep yet")
    assert not page.exists()
    unknown = {"verdict": "insufficient", "reason": "<script>alert(1)</script>"}
    put_sweep(tenant, JUDGED | unknown, OTHER | unknown, model="<b>old</b>@1.0.0")
    assert told("report", str(page)) == f"{page}\n"
    text = page.read_text("utf-8")
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text
    assert "<b>old" not in text
    assert "shop" in text
    assert told("report", str(page), "--json") == {"path": str(page)}
    refused(mlops("drift", "report", os.devnull), Exit.FAILURE, "no regular file")
    refused(
        mlops("drift", "report", str(tmp_path / "no" / "where.html")), Exit.FAILURE, "No such file"
    )


def test_the_quality_of_the_data_is_checked_against_the_baseline(
    told: Callable[..., Any], mlops: Command, tenant: TenantId
) -> None:
    assert "nothing could be checked" in told("quality")
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    columns = ModelPerformance.__table__.columns
    empty = {name: 0 for name, column in columns.items() if isinstance(column.type, sa.BigInteger)}
    with tenant_session(tenant) as session:
        for at, sure, models in (
            (now - timedelta(days=3), 100, {"llm_call.gpt-4.1": 100}),
            (now, 40, {"llm_call.gpt-4.1": 90, "llm_call.o5": 10}),
        ):
            packed = {name.value: b"" for name in HISTOGRAMS}
            packed["confidence"] = Histogram.from_values(list(range(sure))).to_bytes()
            row = empty | packed | {"llm_calls": 100, "names": models, "errors_by_type": {}}
            row |= {"tenant_id": tenant, "hour": at, "model": "buyer@1", "function": "shop"}
            session.execute(sa.insert(ModelPerformance), [row | {"variant": ""}])
            mark_days(session, [at])
    told_json = told("quality", "--json")
    assert (told_json["window"]["end"], told_json["unsummed_hours"]) == (
        (now + timedelta(hours=1)).isoformat(),
        0,
    )
    (function,) = told_json["functions"]
    found = {(one["column"], one["check"]): one for one in function["checks"]}
    assert {check for _, check in found} == set(QualityCheck)
    missing = found["confidence", "missing"]
    # All of it is of one hour: that says less than as many values of a day.
    assert (missing["state"], missing["value"], missing["baseline"]) == ("warning", 0.6, 0.0)
    assert "may be chance" in missing["reason"]
    assert "'o5'" in found["llm_models", "new_categories"]["reason"]
    assert found["confidence", "constant"]["state"] == "good"
    # A field that nobody ever reported is no field.
    assert not [column for column, _ in found if column == "quality"]
    text = told("quality")
    assert "The data of 20" in text
    assert "suspicious: confidence missing, of buyer@1 in shop: 60 of 100 (60.00%)" in text
    assert "as of 20" in text
    # Nothing is wrong with what is not named.
    assert " ok " in text
    assert "40 values" not in text
    assert "confidence" in told("quality", "--all")
    # No word is cut for want of room.
    for arguments in ((), ("--all",)):
        text = mlops("drift", "quality", *arguments, width=60).stdout
        assert "buyer@1 in shop: suspicious: missing, new names; ok: " in text
        assert "\u2502" not in text


def test_when_the_level_changed_is_told_or_why_not(
    told: Callable[..., Any], tenant: TenantId
) -> None:
    assert "no telemetry in the last 28 days" in told("changes")
    assert told("changes", "--json") == []
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    columns = ModelPerformance.__table__.columns
    empty = {name: 0 for name, column in columns.items() if isinstance(column.type, sa.BigInteger)}
    packed = {name.value: b"" for name in HISTOGRAMS}
    row = empty | packed | {"model": "buyer@1", "function": "shop", "errors_by_type": {}}
    row |= {"tenant_id": tenant, "hour": now - 2 * timedelta(hours=1), "llm_calls": 3}
    with tenant_session(tenant) as session:
        session.execute(sa.insert(ModelPerformance), [row | {"variant": ""}])
    assert told("changes") == (
        "no change of level in 0 series\nnot judged: no hour holds 5 values, without which it says"
        " nothing of a level: error_rate of buyer@1 in shop\n"
    )


def test_a_baseline_is_set_listed_accepted_and_removed(
    told: Callable[..., Any], mlops: Command, tenant: TenantId
) -> None:
    assert "compared with the week before" in told("baseline", "list")
    told("baseline", "set", "--previous", "48")
    unknown = mlops("drift", "baseline", "set", "--function", "chop", "--previous", "48")
    assert "no function 'chop' has ever been reported" in unknown.stderr
    assert unknown.exit_code == 0
    told("baseline", "remove", "--function", "chop")
    fixed = (
        "baseline", "set", "--function", "shop",
        "--from", "2026-11-01T00:00Z", "--to", "2026-11-15T00:00Z",
    )  # fmt: skip
    refused(
        mlops("drift", *fixed), Exit.USAGE, "no data of shop, every model from 2026-11-01 00:00"
    )
    with tenant_session(tenant) as session:
        roll_up(session, HOUR - timedelta(days=7), {}, function="shop")
    made = told(*fixed)
    assert made == "shop, every model: fixed 2026-11-01 00:00 to 2026-11-15 00:00\n"
    put_sweep(tenant, JUDGED)
    accepted = told("baseline", "set", "--function", "shop", "--model", "old@1.0.0", "--accept")
    assert accepted == (
        "shop, old@1.0.0: accepted 2026-11-18 12:00 to 2026-11-19 12:00\n"
        "judged again from 2026-11-19 18:00 UTC on; 0 alerts closed\n"
        "it holds until the next --accept, or `mlops drift baseline remove`\n"
    )
    # What was accepted does not lead the list any more.
    put_sweep(tenant, JUDGED | {"effect_size": 0.2}, model="new@1.0.0")
    text = told("list")
    assert "1 drift, 1 accepted\n" in text
    assert text.index("latency of new@1.0.0") < text.index("latency of old@1.0.0")
    text = told("baseline", "list")
    assert "the 2 d before" in text
    assert "accepted 2026-11-18 12:00" in text
    assert len(told("baseline", "list", "--json")) == 3
    told("baseline", "remove", "--function", "shop")
    assert len(told("baseline", "list", "--json")) == 2
    refused(
        mlops("drift", "baseline", "remove", "--function", "shop"), Exit.NOT_FOUND, "no baseline"
    )
    assert "the longest window" not in accepted
    of_model = told("baseline", "set", "--model", "new@1.0.0", "--accept")
    assert of_model.startswith(
        "every function, new@1.0.0: accepted 2026-11-18 12:00 to 2026-11-19 12:00\n"
    )
    assert "it is the longest window that the newest sweep saw of them\n" in of_model


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("baseline", "set"), "expected --previous HOURS, --from and --to, or --accept"),
        (("baseline", "set", "--from", "2026-11-01T00:00Z"), "expected --previous HOURS"),
        (("baseline", "set", "--previous", "2", "--accept"), "expected --previous HOURS"),
        (("baseline", "set", "--previous", "99999"), "--previous"),
        (("run", "--until", "0001-01-01T00:00Z"), "between the years 2000 and 2200"),
        (("baseline", "set", "--accept"), "no sweep has looked at every function"),
        (
            ("baseline", "set", "--from", "2026-11-01T00:30Z", "--to", "2026-11-02T00:00Z"),
            "not on the hour",
        ),
        (("baseline", "set", "--from", "x", "--to", "2026-11-02T00:00Z"), "--from: 'x' is no time"),
        (
            ("baseline", "set", "--from", "2199-11-01T00:00Z", "--to", "2199-11-02T00:00Z"),
            "still to come",
        ),
        (
            ("baseline", "set", "--accept", "--to", "2026-11-15T00:00Z"),
            "--accept, with --from or without",
        ),
        (
            ("baseline", "set", "--accept", "--baseline-model", "x"),
            "leave out --baseline-model",
        ),
        (("run", "--requests", "50", "--baseline-model", "x"), "needs --baseline-from"),
        # A variable of the shell that is not set is not every function.
        (("baseline", "set", "--function", "", "--accept"), "--function '': expected 1 to 200"),
        (("baseline", "remove", "--model", ""), "--model '': expected 1 to 200"),
        (("run", "--function", ""), "--function '': expected 1 to 200"),
        (("run", "--function", "bad\udcff"), "--function 'bad\\udcff' is not valid text"),
        (("run", "--model", "bad\udcff"), "is not valid text"),
        (("run", "--baseline-function", "bad\udcff"), "is not valid text"),
        (("run", "--model", "a\x01b"), "none of them a control character"),
        (("run", "--until", "2199-01-01T00:00Z"), "is still to come"),
        (("effect", "set", "success", "1.5"), "a share of values; expected 0.001 to 1"),
        (("effect", "set", "success", "nan"), "expected 0.001 to 1"),
        (("effect", "set", "request_volume", "0.5"), "expected 1.05 to 100"),
        (("budget", "0"), "expected 0.001 to 100"),
        (("budget", "nan"), "expected 0.001 to 100"),
        (("run", "--baseline-from", "2026-11-01T00:00Z"), "go together"),
        (
            ("run", "--baseline-from", "2100-01-01T00Z", "--baseline-to", "2100-01-02T00Z"),
            "--baseline-to 2100-01-02T00Z is still to come; expected a window that is over",
        ),
        (("run", "--baseline-function", "shop"), "goes with --baseline-from"),
        (("run", "--requests", "5"), "--requests"),
        (("run", "--requests", "500", "--hours", "5"), "--requests and --hours both say how long"),
        (("run", "--requests", "5000000000"), "--requests"),
        (("baseline", "set", "--function", "x" * 300, "--previous", "2"), "1 to 200 characters"),
        (
            (
                "run",
                "--baseline-from",
                "2026-11-01T00:00+05:30",
                "--baseline-to",
                "2026-11-02T00:00+05:30",
            ),
            "not on the hour",
        ),
    ],
)
def test_a_mistake_is_one_line(mlops: Command, arguments: tuple[str, ...], said: str) -> None:
    refused(mlops("drift", *arguments), Exit.USAGE, said)


def test_a_sweep_of_a_function_that_nobody_reported_is_refused(
    mlops: Command, tenant: TenantId
) -> None:
    put_sweep(tenant, JUDGED)
    answer = mlops("drift", "run", "--function", "chop")
    refused(
        answer, Exit.NOT_FOUND, "no function 'chop' has ever been reported; did you mean 'shop'"
    )
    before = ("--baseline-from", "2026-11-01T00Z", "--baseline-to", "2026-11-02T00Z")
    answer = mlops("drift", "run", *before, "--baseline-function", "chop")
    refused(
        answer, Exit.NOT_FOUND, "no function 'chop' has ever been reported; did you mean 'shop'"
    )


def test_the_budget_of_false_alarms_is_shown_and_set(told: Callable[..., Any]) -> None:
    assert told("budget", "--json") == {
        "false_alarms_a_week": 1.0,
        "sweeps_a_week": 168.0,
        "false_discovery_rate_of_a_sweep": pytest.approx(1 / 168),
    }
    assert told("budget", "0.5").startswith("0.5 false alarms a week are accepted")
    assert told("budget", "--json")["false_alarms_a_week"] == 0.5


def test_where_a_metric_matters_from_is_set_listed_and_removed(
    told: Callable[..., Any], mlops: Command
) -> None:
    assert "none was set" in told("effect", "list")
    assert told("effect", "set", "error_rate", "0.02") == "error_rate matters from 2 %\n"
    assert told("effect", "set", "request_volume", "2") == "request_volume matters from 2 times\n"
    text = told("effect", "list")
    assert "2 times" in text
    assert [one["metric"] for one in told("effect", "list", "--json")] == [
        "error_rate",
        "request_volume",
    ]
    assert "as built in" in told("effect", "remove", "error_rate")
    refused(mlops("drift", "effect", "remove", "error_rate"), Exit.NOT_FOUND, "no effect was set")
    refused(mlops("drift", "effect", "set", "eror_rate", "0.1"), Exit.NOT_FOUND, "error_rate")


def test_a_baseline_may_be_the_window_of_another_model(
    told: Callable[..., Any], mlops: Command, tenant: TenantId
) -> None:
    put_sweep(tenant, JUDGED, model="buyer@1.2.0")
    said = told("baseline", "set", "--model", "buyer@1.3.0", "--baseline-model", "buyer@1.2.0")
    assert "the 7 d before of buyer@1.2.0" in said
    assert "of buyer@1.2.0" in " ".join(told("baseline", "list").split())
    for command in (("baseline", "set"), ("run",)):
        answer = mlops("drift", *command, "--baseline-model", "bier@1.2.0")
        refused(answer, Exit.FAILURE, "no model 'bier@1.2.0' is registered")


def test_a_feature_of_ones_own_is_drawn_from_its_stored_values(
    told: Callable[..., Any], tenant: TenantId, tmp_path: Path
) -> None:
    source, begin, now = Source.parse("nightly"), HOUR - timedelta(days=7), datetime.now(UTC)

    def register(session: Session, unit: str) -> None:
        register_feature(session, "basket", DataType.NUMBER, source, "shop", "Of carts.", unit)

    with tenant_session(tenant) as session:
        register(session, "EUR")
        rows = [
            (f"e{n}", begin + n * timedelta(minutes=30), float(n % 10 + (5 if n >= 336 else 0)))
            for n in range(384)
        ]
        write_values(session, "basket", rows, now)
        windows = {
            "baseline": WindowOf(start=begin, end=HOUR),
            "current": WindowOf(start=HOUR, end=HOUR + timedelta(days=1)),
        }
        detect(session, DetectDrift(**windows), uuid4())
    moved = "median 4 to 9, 95 % 9 to 14 EUR"
    text = told("show", "basket")
    heading, change = text.splitlines()[:2]
    assert heading.split() == ["DRIFT", "basket", "of", "the", "feature", "store"]
    assert change == moved
    assert "baseline  n 336  5 % 0  median 4  95 % 9" in text
    assert "not known" not in text
    page = tmp_path / "drift.html"
    told("report", str(page))
    shown = page.read_text()
    assert 'basket</a> of <span class="name">the feature store</span>: ' in shown
    assert '<span class="name">The feature store</span></h2>' in shown
    assert "The baseline has 336 values: 5 % 0, median 4, 95 % 9." in shown
    # A new version has no values of then: what the sweep said stays.
    with tenant_session(tenant) as session:
        register(session, "USD")
    text = told("show", "basket")
    assert text.splitlines()[1] == moved
    assert "what the windows held is not known" in text
    told("report", str(page))
    assert moved.replace(" %", "\N{NO-BREAK SPACE}%") in page.read_text()
