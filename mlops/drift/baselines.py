"""`mlops drift baseline` and `mlops drift budget`: what is normal, and how strict drift is."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from mlops.console import (
    Exit,
    Json,
    complain,
    note,
    one_line_errors,
    print_json,
    print_table,
    require_name,
    say,
)
from mlops.times import hours_between, moment_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from shared.drift.baselines import Baseline

app = typer.Typer(no_args_is_help=True, help="What a function and model is compared with.")

_OF = typer.Option(help="Of this one; every one without its own if left out.")
Function = Annotated[str | None, _OF]
Model = Annotated[str | None, _OF]


@app.command("set")
def set_baseline(
    function: Function = None,
    model: Model = None,
    previous: Annotated[
        int | None,
        typer.Option(min=1, max=24 * 366, help="So many hours right before the current window."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="A fixed window, or what is accepted: from this hour on"),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="up to this one.")] = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept",
            help="What the newest sweep saw is normal, until the next such or `baseline remove`:"
            " closes its alerts at once.",
        ),
    ] = False,
    baseline_model: Annotated[
        str | None,
        typer.Option(help="The window of this model, such as the version before; alone: its week."),
    ] = None,
) -> None:
    """Say what is normal, from the next sweep on. Without one it is the week before.

    What is accepted ends with the newest sweep; hours after it are judged once there are six of
    them. If something changed within that sweep's window and is normal now, --from says when.

    Example: mlops drift baseline set --function checkout --from 2026-11-01T00Z --to 2026-11-15T00Z
    """
    with one_line_errors():
        from shared.alerts.drifting import accept_as_normal
        from shared.database import tenant_session
        from shared.drift import baselines
        from shared.drift.quantities import minute
        from shared.drift.windows import known_model
        from shared.telemetry.reading import Window
        from shared.telemetry.seen import NeverSeenError, require_seen
        from shared.tenancy.tenants import current_tenant

        function, model = _subject(function, model)
        fixed = (start is not None or end is not None) and not accept
        if baseline_model is not None and not fixed and previous is None and not accept:
            previous = baselines.DEFAULT_LENGTH // timedelta(hours=1)
        if accept and baseline_model is not None:
            raise complain(
                "--accept is of the model itself; leave out --baseline-model", Exit.USAGE
            )
        if (
            sum((previous is not None, fixed, accept)) != 1
            or (fixed and None in (start, end))
            or (accept and end is not None)
        ):
            raise complain(
                "expected --previous HOURS, --from and --to, or --accept, with --from or without",
                Exit.USAGE,
            )
        closed = 0
        with tenant_session(current_tenant()) as session:
            of_model = None if baseline_model is None else known_model(session, baseline_model)
            if accept:
                since = None if start is None else moment_of("--from", start)
                accepted = accept_as_normal(session, function, model, since)
                chosen, closed = accepted.baseline, accepted.closed
            else:
                if previous is not None:
                    kind, length = baselines.BaselineKind.PREVIOUS, timedelta(hours=previous)
                    chosen = baselines.Baseline(kind, length, model=of_model)
                else:
                    window = hours_between(
                        moment_of("--from", start or ""), moment_of("--to", end or "")
                    )
                    kind = baselines.BaselineKind.FIXED
                    chosen = baselines.Baseline(kind, window=Window(*window), model=of_model)
                baselines.set_baseline(session, function, model, chosen)
            for field, name in (("function", function), ("model", model)):
                try:
                    require_seen(session, field, name or None)
                except NeverSeenError as never:
                    # It may be one that is still to come.
                    note(never)
        if accept and start is None:
            # Once it is accepted: this takes a while, and the timetable's sweeps would wait.
            with tenant_session(current_tenant()) as session:
                changed_at = _changed_within(session, function, model, chosen)
            if changed_at is not None:
                note(
                    f"a level changed at {minute(changed_at)} UTC: what was before is accepted"
                    f" too, unless `--from {changed_at:%Y-%m-%dT%H:%MZ}` leaves it out"
                )
        say(f"{baselines.subject(function, model)}: {baselines.said(chosen)}")
        if chosen.judged_from is not None:
            say(
                f"judged again from {minute(chosen.judged_from.astimezone(UTC))} UTC on;"
                f" {closed} {'alert' if closed == 1 else 'alerts'} closed"
            )
            if not (function and model):
                say("it is the longest window that the newest sweep saw of them")
            say("it holds until the next --accept, or `mlops drift baseline remove`")


def _changed_within(
    session: Session, function: str, model: str, accepted: Baseline
) -> datetime | None:
    """When something that drifts last changed within what was accepted; None if that is unknown."""
    from shared.drift.reading import newest_findings
    from shared.drift.recalling import shown_changes
    from shared.drift.sequential import DetectorUnavailableError

    found = newest_findings(session, function or None, model or None)
    try:
        changes = shown_changes(session, found, datetime.now(UTC))
    except DetectorUnavailableError:
        return None
    window = accepted.window
    within = [
        one.changed_at for one in changes if window and window.start < one.changed_at < window.end
    ]
    return max(within, default=None)


def _subject(function: str | None, model: str | None) -> tuple[str, str]:
    """As baselines name it: what is left out is every one."""
    from shared.drift.baselines import EVERY

    require_name("--function", function)
    require_name("--model", model)
    return function or EVERY, model or EVERY


@app.command("remove")
def remove(function: Function = None, model: Model = None) -> None:
    """Go back to what holds for every function and model.

    Example: mlops drift baseline remove --function checkout
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.drift import baselines
        from shared.tenancy.tenants import current_tenant

        function, model = _subject(function, model)
        subject = baselines.subject(function, model)
        with tenant_session(current_tenant()) as session:
            if not baselines.remove_baseline(session, function, model):
                raise complain(
                    f"no baseline was set of {subject}; `mlops drift baseline list` shows those"
                    " that were",
                    Exit.NOT_FOUND,
                )
    say(f"{subject}: as all others")


@app.command("list")
def list_baselines(as_json: Json = False) -> None:
    """List the baselines that were set.

    Example: mlops drift baseline list
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.drift import baselines
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            found = baselines.baselines(session)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    print_table(
        ["function", "model", "compared with", "set"],
        [
            (
                one.function or "every other",
                one.model or "every other",
                baselines.said(one.baseline),
                f"{one.changed_at:%Y-%m-%d %H:%M}",
            )
            for one in found
        ],
        empty="none was set: everything is compared with the week before",
    )


def budget(
    false_alarms: Annotated[
        float | None, typer.Argument(help="How many a week are accepted; shown when left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show or set how many false alarms of drift a week are accepted.

    The sweeps of the timetable are so strict that no more are expected where nothing drifts. A
    small number finds less.

    Example: mlops drift budget 0.5
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.drift.budget import false_alarms_a_week, set_false_alarms_a_week
        from shared.drift.false_alarms import false_discovery_rate
        from shared.drift.watching import SWEEPS_A_WEEK
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            if false_alarms is not None:
                set_false_alarms_a_week(session, false_alarms)
            accepted = false_alarms_a_week(session)
    rate = false_discovery_rate(SWEEPS_A_WEEK, accepted)
    if as_json:
        print_json(
            {
                "false_alarms_a_week": accepted,
                "sweeps_a_week": SWEEPS_A_WEEK,
                "false_discovery_rate_of_a_sweep": rate,
            }
        )
        return
    say(
        f"{accepted:g} false alarms a week are accepted: with {SWEEPS_A_WEEK:g} sweeps a week, a"
        f" false discovery rate of {rate:.4f} for each"
    )
