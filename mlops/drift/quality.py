"""`mlops drift quality`: is what arrives what used to arrive?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops import freshness
from mlops.console import Json, fits, one_line_errors, print_json, print_table, say
from mlops.monitoring.windows import Hours, last_hours

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from shared.drift.quality import QualityCheck, QualityFinding
    from shared.drift.rollup_quality import Checked
    from shared.drift.showing import FunctionDrift
    from shared.drift.windows import Subject

_DAY = 24


def quality(
    function: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    hours: Hours = _DAY, *, all_checks: Annotated[
        bool, typer.Option("--all", help="Each check, also those that found nothing.")
    ] = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Check the data itself: missing, out of range, new names, constant, sent again, late.

    Each function and model is compared with its baseline, as `mlops drift baseline` has it. What
    is broken in the last 24 full hours is an alert as well.

    Example: mlops drift quality --hours 6
    """
    with one_line_errors():
        from shared.alerts.data_quality import lost_fields
        from shared.costs.freshness import freshness as look
        from shared.database import tenant_session
        from shared.drift.rollup_quality import check_functions
        from shared.telemetry.seen import require_seen
        from shared.tenancy.tenants import current_tenant

        now = datetime.now(UTC)
        window = last_hours(now, hours)
        with tenant_session(current_tenant()) as session:
            require_seen(session, "function", function)
            require_seen(session, "model", model)
            fresh = look(session, now)
            found = check_functions(session, window, lost_fields(session), function, model)
    if as_json:
        described = {"window": asdict(window), "functions": _described(found)}
        print_json(freshness.described(fresh) | described)
        return
    title = f"The data of {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC"
    _print_worst(found, title, hours)
    if all_checks:
        _print_checks(found)
    else:
        _print_found(found)
    freshness.tell(fresh)


def with_quality(
    session: Session,
    functions: Sequence[FunctionDrift],
    now: datetime,
    function: str | None,
    model: str | None,
) -> list[FunctionDrift]:
    """The functions with the checks of their data of the last day, as `quality` has them.

    Those that no sweep has looked at come last. A filter that is None is none.
    """
    from shared.alerts.data_quality import lost_fields
    from shared.drift.rollup_quality import check_functions
    from shared.drift.showing import FunctionDrift, Period, ShownQuality

    window = last_hours(now, _DAY)
    checks: dict[str, list[ShownQuality]] = {one.function: [] for one in functions}
    found = check_functions(session, window, lost_fields(session), function, model)
    for subject, checked in found.items():
        checks.setdefault(subject.function, []).extend(
            ShownQuality(subject.model, finding) for finding in checked.findings
        )
    swept = {one.function: one for one in functions}
    return [
        replace(
            swept.get(name) or FunctionDrift(name, ()),
            quality=found,
            quality_of=Period(window.start, window.end),
        )
        for name, found in checks.items()
    ]


def _described(found: Mapping[Subject, Checked]) -> list[dict[str, Any]]:
    return [
        asdict(subject)
        | {
            "current": asdict(checked.current),
            "baseline": asdict(checked.baseline) | {"set_by_hand": checked.set_by_hand},
            "checks": [asdict(finding) for finding in checked.findings],
        }
        for subject, checked in found.items()
    ]


def _print_worst(found: Mapping[Subject, Checked], title: str, hours: int) -> None:
    """A line per function and model: the worst that each check says of any field."""
    from shared.drift.quality import QualityCheck
    from shared.drift.wording import check_said

    columns = ["function", "model", *map(check_said, QualityCheck)]
    worst = [
        (subject, [_worst(checked.findings, check) for check in QualityCheck])
        for subject, checked in sorted(found.items(), key=_worst_first)
    ]
    rows = [[subject.function, subject.model, *states] for subject, states in worst]
    if not rows or fits(columns, rows):
        none = f"no telemetry in the last {hours} hours: nothing could be checked"
        print_table(columns, rows, title=title, empty=none)
        return
    say(title)
    for subject, states in worst:
        checks: dict[str, list[str]] = {}
        for check, state in zip(QualityCheck, states, strict=True):
            if state is not None:
                checks.setdefault(state, []).append(check_said(check))
        said = "; ".join(f"{state}: {', '.join(of)}" for state, of in checks.items())
        say(f"{subject}: {said or 'nothing was checked'}")


def _worst_first(item: tuple[Subject, Checked]) -> tuple[int, Subject]:
    subject, checked = item
    return min((_rank(one) for one in checked.findings), default=len(_order())), subject


def _worst(findings: Sequence[QualityFinding], check: QualityCheck) -> str | None:
    from shared.drift.quality import QualityState
    from shared.drift.wording import quality_said

    states = [(_rank(one), one.state) for one in findings if one.check is check]
    if not states:
        return None
    _, worst = min(states)
    # Eight columns have no room for more.
    return "ok" if worst is QualityState.GOOD else quality_said(worst)


def _rank(finding: QualityFinding) -> int:
    return _order().index(finding.state)


def _order() -> list[str]:
    """The worst first. What some field has nothing found of is said before what is not known."""
    from shared.drift.quality import QualityState

    return [
        QualityState.BROKEN,
        QualityState.WARNING,
        QualityState.GOOD,
        QualityState.INSUFFICIENT,
        QualityState.NO_DATA,
    ]


def _print_found(found: Mapping[Subject, Checked]) -> None:
    """What is broken or suspicious, a line each, and how many checks found nothing or could not."""
    from shared.drift.quality import QualityState
    from shared.drift.wording import checked_said, quality_said

    rows = [
        (_rank(one), subject, one) for subject, checked in found.items() for one in checked.findings
    ]
    for _, subject, one in sorted(rows, key=lambda row: row[:2]):
        if one.state in (QualityState.BROKEN, QualityState.WARNING):
            field = checked_said(one.column, one.check)
            say(f"{quality_said(one.state)}: {field}, of {subject}: {one.reason}")
    if rows:
        good = sum(one.state is QualityState.GOOD for _, _, one in rows)
        unknown = sum(
            one.state in (QualityState.NO_DATA, QualityState.INSUFFICIENT) for _, _, one in rows
        )
        say(
            f"{good:,} of {len(rows):,} checks found nothing, {unknown:,} had too little data:"
            " `--all` shows each"
        )


def _print_checks(found: Mapping[Subject, Checked]) -> None:
    from shared.drift.wording import check_said, checked_said, quality_said

    checks = [
        (subject, one)
        for subject, checked in found.items()
        for one in sorted(checked.findings, key=_rank)
    ]
    columns = ["function", "model", "field", "check", "state", "what was found"]
    rows = [
        (
            subject.function,
            subject.model,
            one.column,
            check_said(one.check),
            quality_said(one.state),
            one.reason,
        )
        for subject, one in checks
    ]
    if not rows or fits(columns, rows):
        print_table(columns, rows, empty="there is nothing to check")
        return
    for subject, one in checks:
        field = checked_said(one.column, one.check)
        say(f"{quality_said(one.state)}: {field}, of {subject}: {one.reason}")
