"""`mlops drift run`: a sweep now, as the timetable asks for one every hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from mlops.console import Exit, Json, complain, one_line_errors, print_json, require_name
from mlops.drift.tables import described, print_findings
from mlops.times import hours_between, moment_of

_HOURS: Final = 24
"Of the current window, where nothing was said."


def run(
    function: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Only this one; give it again for more.")
    ] = None,
    hours: Annotated[
        int | None,
        typer.Option(
            min=1, max=24 * 366, help="The current window: the last so many; 24 when left out."
        ),
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(
            min=30, max=10**9, help="Instead: the newest hours that hold so many model calls."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="The end of the current window; now when left out.")
    ] = None,
    baseline_from: Annotated[
        str | None, typer.Option(help="Not the baseline that was set: from this hour on,")
    ] = None,
    baseline_to: Annotated[str | None, typer.Option(help="up to this one,")] = None,
    baseline_function: Annotated[str | None, typer.Option(help="of this function.")] = None,
    all_metrics: Annotated[
        bool, typer.Option("--all", help="Show what has not moved, and what has no data, too.")
    ] = False,
    baseline_model: Annotated[
        str | None,
        typer.Option(help="Of this model, such as the version before; alone: its week before."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare what happens now with what is normal, and say what has moved.

    Each function and model is compared with itself, metric by metric: with the week before unless
    `mlops drift baseline set` said otherwise. Hours are UTC, and those that are not summed yet
    are not seen.

    Example: mlops drift run --function checkout --hours 6
    """
    with one_line_errors():
        from mlops.client import submit
        from mlops.waiting import made_by_worker
        from shared.database import tenant_session
        from shared.drift.baselines import DEFAULT_LENGTH
        from shared.drift.reading import findings_of
        from shared.drift.windows import known_model
        from shared.hours import whole_hour_from
        from shared.jobs.contracts import DetectDrift, LastRequests, WindowOf
        from shared.telemetry.seen import require_seen
        from shared.tenancy.tenants import current_tenant

        now = whole_hour_from(datetime.now(UTC))
        end = now if until is None else whole_hour_from(moment_of("--until", until))
        if end > now:
            raise complain(f"--until {until} is still to come", Exit.USAGE)
        for option, name in (
            ("--function", function),
            ("--baseline-function", baseline_function),
            ("--baseline-model", baseline_model),
            *(("--model", one) for one in model or ()),
        ):
            require_name(option, name)
        if requests is not None and hours is not None:
            raise complain(
                "--requests and --hours both say how long the current window is; expected one",
                Exit.USAGE,
            )
        length = timedelta(hours=_HOURS if hours is None else hours)
        if (baseline_from is None) != (baseline_to is None):
            raise complain("--baseline-from and --baseline-to go together", Exit.USAGE)
        baseline = None
        if baseline_from is not None and baseline_to is not None:
            start, stop = hours_between(
                moment_of("--baseline-from", baseline_from), moment_of("--baseline-to", baseline_to)
            )
            if stop > datetime.now(UTC):
                raise complain(
                    f"--baseline-to {baseline_to} is still to come; expected a window that is over",
                    Exit.USAGE,
                )
            baseline = WindowOf(
                start=start, end=stop, function=baseline_function, model=baseline_model
            )
        elif baseline_function is not None:
            raise complain("--baseline-function goes with --baseline-from", Exit.USAGE)
        elif baseline_model is not None:
            if requests is not None:
                raise complain("--baseline-model with --requests needs --baseline-from", Exit.USAGE)
            before = end - length
            baseline = WindowOf(start=before - DEFAULT_LENGTH, end=before, model=baseline_model)
        with tenant_session(current_tenant()) as session:
            for of in (function, baseline_function):
                require_seen(session, "function", of)
            if baseline_model is not None:
                known_model(session, baseline_model)
        current: WindowOf | LastRequests
        if requests is not None:
            current = LastRequests(requests=requests, until=end, function=function)
        else:
            current = WindowOf(start=end - length, end=end, function=function)
        job = submit(DetectDrift(current=current, baseline=baseline, models=tuple(model or ())))
        made = made_by_worker(job)
        with tenant_session(current_tenant()) as session:
            found = findings_of(session, job.id)
    if as_json:
        print_json({"job": job.id, "summary": made, "findings": [described(one) for one in found]})
        return
    print_findings(
        found,
        "What has moved; n of baseline / current",
        empty="nothing to compare: no rollups in either window; `mlops monitor health` says what"
        " telemetry there is",
        with_empty=all_metrics,
        newest=True,
        with_stable=all_metrics,
    )
