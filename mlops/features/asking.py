"""`mlops feature latest` and `as-of`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.console import Exit, Json, complain, one_line_errors, print_json, print_table

if TYPE_CHECKING:
    from datetime import datetime

    from shared.telemetry.features.reading import FeatureVector

Features = Annotated[list[str], typer.Argument(help="NAME or NAME@VERSION, one or more.")]


def latest(
    features: Features,
    entity: Annotated[list[str], typer.Option(help="Whose values; may be given several times.")],
    as_json: Json = False,
) -> None:
    """Show the newest value of each feature.

    Example: mlops feature latest basket_size mood --entity ann --entity bob
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.telemetry.features.reading import read_latest
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            found = read_latest(session, features, entity)
    _tell(found, as_json)


def as_of(
    features: Features,
    entity: Annotated[str | None, typer.Option(help="Whose values, at --at.")] = None,
    at: Annotated[
        str | None, typer.Option(help="ISO time with its zone, such as 2026-11-20T12:00Z.")
    ] = None,
    points: Annotated[
        Path | None, typer.Option(help="CSV or JSONL with entity and time, instead of those two.")
    ] = None,
    known_then: Annotated[
        bool, typer.Option("--known-then", help="Nothing that was written later, either.")
    ] = False,
    max_age_hours: Annotated[
        float | None, typer.Option(min=0, max=1_000_000, help="What is older counts as none.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what each feature was at a time: nothing that happened later is in it.

    Example: mlops feature as-of basket_size --entity ann --at 2026-11-20T12:00Z
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.telemetry.features.reading import Knowledge, read_as_of
        from shared.tenancy.tenants import current_tenant

        asked = _points(entity, at, points)
        knowledge = Knowledge.THEN if known_then else Knowledge.NOW
        age = None if max_age_hours is None else timedelta(hours=max_age_hours)
        with tenant_session(current_tenant()) as session:
            found = read_as_of(session, features, asked, knowledge, age)
    _tell(found, as_json)


def _points(
    entity: str | None, at: str | None, file: Path | None
) -> Sequence[tuple[str, datetime]]:
    from mlops.features.files import TIME_OF_POINT, read
    from mlops.times import moment

    if file is not None and entity is None and at is None:
        return read(file, TIME_OF_POINT).points()
    if file is None and entity is not None and at is not None:
        try:
            return [(entity, moment(at))]
        except ValueError as error:
            raise complain(f"--at: {error}", Exit.USAGE) from None
    raise complain("expected --entity and --at, or --points", Exit.USAGE)


def _tell(found: Sequence[FeatureVector], as_json: bool) -> None:
    if as_json:
        print_json([_row(one) for one in found])
        return
    timed = any(one.at is not None for one in found)
    names = list(found[0].readings) if found else []
    print_table(
        ["entity", *(["at"] if timed else []), *names],
        [
            (
                one.entity,
                *([one.at] if timed else []),
                *(None if value is None else _shown(value) for value in one.values.values()),
            )
            for one in found
        ],
        empty="no points in the file",
    )


def _row(one: FeatureVector) -> dict[str, Any]:
    return {
        "entity": one.entity,
        "at": one.at,
        "values": {
            name: None
            if reading is None
            else {
                "value": reading.value,
                "event_time": reading.event_time,
                "written_at": reading.written_at,
            }
            for name, reading in one.readings.items()
        },
    }


def _shown(value: float | str | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.15g}" if isinstance(value, float) else value
