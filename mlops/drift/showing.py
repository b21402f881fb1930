"""`mlops drift list`, `show` and `report`: what sweeps have found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.console import (
    Exit,
    Json,
    complain,
    one_line_errors,
    out,
    print_json,
    print_table,
    say,
)
from mlops.drift.quality import with_quality
from mlops.drift.tables import described, print_accepted, print_findings, print_sweeps

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from shared.drift.reading import StoredFinding
    from shared.drift.showing import FalseAlarmBudget, FunctionDrift
    from shared.drift.tables import SweepKind

Function = Annotated[str | None, typer.Option(help="Only this one.")]
Model = Annotated[str | None, typer.Option(help="Only this one.")]
Newest = Annotated[
    bool, typer.Option("--newest", help="A sweep by hand too, where it is the newest.")
]

_NARROWEST = 20


def list_findings(
    function: Function = None,
    model: Model = None,
    newest: Newest = False,
    all_metrics: Annotated[
        bool, typer.Option("--all", help="Metrics that neither window has anything of, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List what the timetable's newest sweep said of each function and model, the worst first.

    What a sweep by hand said is shown where there is none of the timetable, or with --newest.

    Example: mlops drift list --function checkout
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.drift.baselines import baselines
        from shared.drift.reading import newest_findings, newest_sweeps
        from shared.tenancy.tenants import current_tenant

        now = datetime.now(UTC)
        with tenant_session(current_tenant()) as session:
            _require_seen(session, function, model)
            kind = _preferred(newest)
            sweeps = newest_sweeps(session, function, model, kind)
            found = newest_findings(session, function, model, preferred=kind)
            normal = baselines(session)
            budget = _budget(session, now)
    if as_json:
        kinds = {one.sweep_id: one.kind.value for one in sweeps}
        print_json([described(one) | {"kind": kinds[one.sweep_id]} for one in found])
        return
    print_sweeps(sweeps, found)
    print_accepted(sweeps, normal, now)
    print_findings(
        found,
        "The current window against the baseline; n of baseline / current",
        empty="no sweep yet: beat asks for one every hour once there is telemetry, and"
        " `mlops drift run` at once",
        with_empty=all_metrics,
        newest=newest,
        normal=normal,
    )
    if found:
        say(
            f"sweeps of the timetable that raised an alarm in the last {budget.days} days:"
            f" {budget.raised}; at most {budget.expected_per_week:.2g} a week are expected where"
            " nothing drifts"
            " (`mlops drift budget`)"
        )


def show(
    metric: Annotated[str, typer.Argument(help="As `mlops drift list` names it.")],
    function: Function = None,
    model: Model = None,
    newest: Newest = False,
    as_json: Json = False,
) -> None:
    """Draw both windows of a metric, and say what the newest sweep found in them.

    Example: mlops drift show llm_latency_ms --function checkout
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.drift.reading import newest_findings
        from shared.drift.recalling import recalled
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            _require_seen(session, function, model)
            kind = _preferred(newest)
            found = newest_findings(session, function, model, metric, kind)
            if not found:
                others = newest_findings(session, function, model, preferred=kind)
                there = sorted({one.metric for one in others})
                raise complain(_nothing(metric, there), Exit.NOT_FOUND)
            drawn = () if as_json else recalled(session, found, with_history=True)
    if as_json:
        print_json([described(one) for one in found])
        return
    _draw(drawn, {(one.function, one.model): one for one in found})


def report(
    target: Annotated[Path, typer.Argument(help="The HTML file to write.")],
    function: Function = None,
    model: Model = None,
    newest: Newest = False,
    as_json: Json = False,
) -> None:
    """Write one page of HTML with all that is known of drift, with plots, for a browser or print.

    Example: mlops drift report drift.html
    """
    with one_line_errors():
        from shared.alerts.drifting import open_alerts
        from shared.database import tenant_session
        from shared.drift.reading import newest_findings
        from shared.drift.recalling import recalled, shown_changes
        from shared.drift.report.page import write_report
        from shared.drift.sequential import DetectorUnavailableError
        from shared.drift.showing import DriftReport, ShownChange
        from shared.settings import settings
        from shared.tenancy.tenants import current_tenant

        now = datetime.now(UTC)
        with tenant_session(current_tenant()) as session:
            _require_seen(session, function, model)
            found = newest_findings(session, function, model, preferred=_preferred(newest))
            if not found:
                raise complain(
                    "no sweep yet that could be reported: `mlops drift run` makes one",
                    Exit.NOT_FOUND,
                )
            swept = recalled(session, found, with_history=False)
            functions = with_quality(session, swept, now, function, model)
            remarks: list[str] = []
            changes: tuple[ShownChange, ...] = ()
            try:
                changes = shown_changes(session, found, now)
            except DetectorUnavailableError as unavailable:
                remarks.append(f"When levels changed is not known: {unavailable}.")
            page = DriftReport(
                settings().tenant,
                now,
                functions,
                _budget(session, now),
                open_alerts(session, function, model),
                changes,
                remarks,
            )
        try:
            write_report(page, target)
        except OSError as error:
            raise complain(f"{target}: {error.strerror}") from None
    if as_json:
        print_json({"path": target})
    else:
        say(target)


def _preferred(newest: bool) -> SweepKind | None:
    from shared.drift.tables import SweepKind

    return None if newest else SweepKind.TIMETABLE


def _require_seen(session: Session, function: str | None, model: str | None) -> None:
    from shared.telemetry.seen import require_seen

    require_seen(session, "function", function)
    require_seen(session, "model", model)


def _draw(
    functions: Sequence[FunctionDrift], findings: Mapping[tuple[str, str], StoredFinding]
) -> None:
    """Each drawing of one metric, and under it the tests of its finding, by function and model."""
    from shared.drift.drawing.metric import draw_concept, draw_metric
    from shared.drift.drawing.signs import signs_for

    width, signs = max(_NARROWEST, out.width), signs_for(out.encoding)
    for one in functions:
        drawings: list[tuple[str, list[Any]]] = [
            (each.model, draw_metric(each, width, signs)) for each in one.metrics
        ]
        drawings += [(each.model, draw_concept(each, width, signs)) for each in one.concepts]
        for model, lines in drawings:
            for line in lines:
                out.print(line, no_wrap=True, crop=False)
            out.print()
            _print_tests(findings[one.function, model])


def _print_tests(finding: StoredFinding) -> None:
    from shared.drift.wording import FEATURE_STORE

    print_table(
        ["test", "statistic", "p", "adjusted p", "effect"],
        [
            (
                test.name,
                _number(test.statistic),
                _number(test.p_value),
                _number(test.p_adjusted),
                None if test.effect_size is None else f"{test.effect_name} {test.effect_size:.3f}",
            )
            for test in finding.tests
        ],
        title=f"{finding.model} in {finding.function}"
        if finding.function
        else finding.model or FEATURE_STORE,
    )


def _nothing(metric: str, there: list[str]) -> str:
    import difflib

    if not there:
        return "no sweep yet that looked at it: `mlops drift run` makes one"
    near = difflib.get_close_matches(metric, there, n=3, cutoff=0.5)
    return f"no metric {metric[:100]!r}; {'near it: ' if near else 'there is: '}" + ", ".join(
        near or there
    )


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def _budget(session: Session, now: datetime) -> FalseAlarmBudget:
    """What false alarms are accepted, and how many alarms there were: a share of them is false."""
    import sqlalchemy as sa

    from shared.alerts.drifting import KIND
    from shared.alerts.tables import Alert
    from shared.drift.budget import WEEK, false_alarms_a_week
    from shared.drift.false_alarms import expected_false_alarms, false_discovery_rate
    from shared.drift.showing import FalseAlarmBudget
    from shared.drift.watching import SWEEPS_A_WEEK

    # What one sweep finds is one alarm, however many metrics it names: they share their data.
    raised = session.scalar(
        sa.select(sa.func.count(sa.distinct(Alert.raised_at))).where(
            Alert.kind == KIND, Alert.raised_at >= now - WEEK
        )
    )
    rate = false_discovery_rate(SWEEPS_A_WEEK, false_alarms_a_week(session))
    return FalseAlarmBudget(expected_false_alarms(SWEEPS_A_WEEK, rate), raised or 0)
