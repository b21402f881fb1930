"""`mlops feature register`, `write`, `watch` and `unwatch`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mlops.console import Json, one_line_errors, print_json, say
from mlops.features.showing import described


class Type(StrEnum):
    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"


def register(
    name: str,
    source: Annotated[
        str,
        typer.Option(
            help="rollup:METRIC, event:KIND.FIELD, or words that name the query it comes from."
        ),
    ],
    owner: Annotated[str, typer.Option(help="Who answers for it.")],
    description: Annotated[str, typer.Option(help="What it says of an entity.")],
    data_type: Annotated[Type, typer.Option("--type", help="Of its values.")] = Type.NUMBER,
    unit: Annotated[str, typer.Option(help="Such as ms.")] = "",
    as_json: Json = False,
) -> None:
    """Register a feature; a changed one becomes the next version, the same one stays.

    Example: mlops feature register basket_size --owner shop --source "nightly sum of orders"
    --description "Items in the basket" --unit items
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.telemetry.features.definitions import DataType, Source
        from shared.telemetry.features.registering import register_feature
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            made = register_feature(
                session,
                name,
                DataType(data_type.value),
                Source.parse(source),
                owner,
                description,
                unit,
            )
    if as_json:
        print_json(described(made))
    else:
        say(made.key)


def write(
    file: Annotated[
        Path, typer.Argument(help="CSV or JSONL: entity, event_time, and a column per feature.")
    ],
    as_json: Json = False,
) -> None:
    """Write the values of a file, all of them or none. An empty cell is no value.

    A value that is written again for the same time takes the place of the one before.

    Example: mlops feature write values.csv
    """
    with one_line_errors():
        from datetime import UTC, datetime

        from mlops.features.files import TIME_OF_VALUE, FileError, read
        from shared.database import tenant_session
        from shared.telemetry.features.registering import find_features
        from shared.telemetry.features.writing import UnfitRowError, write_values
        from shared.tenancy.tenants import current_tenant

        table = read(file, TIME_OF_VALUE)
        written = []
        with tenant_session(current_tenant()) as session:
            for feature, column in zip(
                find_features(session, table.columns), table.columns, strict=True
            ):
                lines, values = table.values(column, feature.data_type)
                try:
                    counts = write_values(session, feature.key, values, datetime.now(UTC))
                except UnfitRowError as error:
                    raise FileError(file, lines[error.row - 1], error.reason) from None
                written.append(
                    {
                        "feature": feature.key,
                        "stored": counts.stored,
                        "unchanged": counts.unchanged,
                    }
                )
    if as_json:
        print_json(written)
        return
    for row in written:
        say(f"{row['feature']}: {row['stored']:,} stored, {row['unchanged']:,} unchanged")


def watch(name: str, as_json: Json = False) -> None:
    """Look for drift in a monitored feature again.

    Example: mlops feature watch confidence
    """
    with one_line_errors():
        _switch(name, on=True, as_json=as_json)


def unwatch(name: str, as_json: Json = False) -> None:
    """Look for drift in a monitored feature no longer. Open alerts stay.

    Example: mlops feature unwatch dom_nodes
    """
    with one_line_errors():
        _switch(name, on=False, as_json=as_json)


def _switch(name: str, *, on: bool, as_json: bool) -> None:
    from shared.database import tenant_session
    from shared.telemetry.features import watching
    from shared.tenancy.tenants import current_tenant

    with tenant_session(current_tenant()) as session:
        changed = (watching.watch if on else watching.unwatch)(session, name)
    if as_json:
        print_json({"feature": name, "watched": on, "changed": changed})
        return
    said = "is watched" if on else "is not watched"
    say(f"{name} {said}{' from the next sweep on' if changed else ' already'}")
