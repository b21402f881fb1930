"""`mlops feature list` and `show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.console import Json, one_line_errors, print_json, print_table, say

if TYPE_CHECKING:
    from shared.telemetry.features.definitions import Feature

_SAID = {True: "watched", False: "not watched"}


def list_features(as_json: Json = False) -> None:
    """List the newest version of every feature, and whether drift is looked for in it.

    Example: mlops feature list
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.telemetry.features.registering import features
        from shared.telemetry.features.watching import watched_features
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            watched = {feature.name for feature in watched_features(session)}
            rows = [described(one) | {"watched": one.name in watched} for one in features(session)]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["feature", "type", "unit", "owner", "source", "drift", "description"],
        [
            (
                row["feature"],
                row["data_type"],
                row["unit"] or None,
                row["owner"],
                row["source"],
                _SAID[row["watched"]],
                row["description"],
            )
            for row in rows
        ],
    )


def show(
    feature: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")], as_json: Json = False
) -> None:
    """Show a feature, its versions, and how many values it has.

    Example: mlops feature show basket_size
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.telemetry.features.reading import stored_values
        from shared.telemetry.features.registering import find_features, versions
        from shared.telemetry.features.watching import watched_features
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            (found,) = find_features(session, [feature])
            watched = {one.name for one in watched_features(session)}
            of_all = [one.version for one in versions(session, found.name)]
            stored = stored_values(session, found)
    shown = described(found) | {"versions": of_all, "watched": found.name in watched}
    if as_json:
        print_json(shown | {"values": stored})
        return
    say(f"{found.key}: {found.description}")
    made = found.created_at
    lines = {
        "type": found.data_type,
        "unit": found.unit or "none",
        "owner": found.owner,
        "source": found.source,
        "versions": ", ".join(map(str, of_all)),
        "made": "comes with the product" if made is None else f"{made:%Y-%m-%d %H:%M} UTC",
        "values": "measured from events, in the rollups" if stored is None else f"{stored:,}",
        "drift": _SAID[shown["watched"]],
    }
    for name, line in lines.items():
        say(f"{name}: {line}")


def described(feature: Feature) -> dict[str, Any]:
    """A feature as JSON has it."""
    return {
        "feature": feature.key,
        "name": feature.name,
        "version": feature.version,
        "data_type": feature.data_type,
        "unit": feature.unit,
        "owner": feature.owner,
        "source": str(feature.source),
        "description": feature.description,
        "created_at": feature.created_at,
    }
