"""`mlops ab ...`: make an A/B test, let it run, and read what it has shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.abtest_arguments import json_object, rules_of_a_new_test, variant_of, weights_of
from mlops.abtest_looks import print_looks
from mlops.abtest_plans import (
    Alpha,
    Guardrails,
    MinimumEffect,
    OwnMetrics,
    Pausing,
    Power,
    Units,
    Winsorize,
    planned,
    power,
    print_plan,
)
from mlops.abtest_results import print_verdict, sentence, warnings
from mlops.abtest_states import (
    described,
    on_its_way,
    print_changed,
    so_far,
    state_line,
    variant_told,
    without_units,
)
from mlops.console import (
    Json,
    looking_up,
    note,
    one_line_errors,
    print_json,
    print_table,
    require_name,
    say,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from shared.abtest.tables import AbTest

app = typer.Typer(no_args_is_help=True, help="A/B tests: which agent does better.")
app.command()(power)

Name = Annotated[str, typer.Argument(help="The test's name.")]
Environment = Annotated[str, typer.Option(help="Where the test runs.")]


RulesJson = Annotated[
    str,
    typer.Option(
        "--rules",
        help="JSON with targeting, namespace, holdout, forced, starts_at, ends_at, or any other"
        " part of a definition: see docs/ab-tests.md.",
    ),
]

Version = Annotated[
    int | None,
    typer.Option(help="Refuse if the test has changed since this version, which `show` tells."),
]


@app.command()
def create(
    name: Name,
    variant: Annotated[
        list[str],
        typer.Option(
            help="NAME, NAME:WEIGHT or NAME=MODEL:WEIGHT; the first is the control. The weights sum"
            " to 1; without any all are the same."
        ),
    ],
    environment: Environment = "production",
    metric: Annotated[str, typer.Option(help="What the variants are compared by.")] = "success",
    coverage: Annotated[float, typer.Option(help="The share that takes part, 0 to 1.")] = 1.0,
    sticky: Annotated[
        bool, typer.Option("--sticky", help="Units keep their variant when weights change.")
    ] = False,
    allocation: Annotated[
        str,
        typer.Option(
            help="fixed, or thompson: the weights follow the results, and units keep their variant."
        ),
    ] = "fixed",
    least_share: Annotated[
        float, typer.Option(help="Of each variant, where the weights follow the results.")
    ] = 0.05,
    guardrail: Guardrails = None,
    minimum_effect: MinimumEffect = None,
    units: Units = None,
    alpha: Alpha = None,
    power: Power = None,
    pause_when_harmed: Pausing = None,
    winsorize: Winsorize = None,
    own_metric: OwnMetrics = None,
    rules: RulesJson = "{}",
    as_json: Json = False,
) -> None:
    """Make a test, as a draft.

    Example: mlops ab create choice --variant control=old:0.5 --variant treatment=new@2.0.0:0.5
    """
    with one_line_errors():
        from shared.abtest import lifecycle
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        variants = [variant_of(text, 1 / len(variant)) for text in variant]
        plan = planned(
            guardrail,
            minimum_effect,
            units,
            alpha,
            power,
            pause_when_harmed,
            winsorize,
            own_metric,
        )
        given = {
            "coverage": coverage,
            "sticky": sticky or allocation == "thompson",
            "allocation": allocation,
            "least_share": least_share,
        }
        given |= plan | rules_of_a_new_test(rules)
        with tenant_session(current_tenant()) as session:
            _require_models(session, variants)
            made = lifecycle.create(
                session, name, variants, environment=environment, success_metric=metric, **given
            )
            few = _too_few(session, made)
            print_changed(made, as_json, on_its_way(session, made))
        for line in few:
            note(line)


@app.command()
def redefine(
    name: Name,
    variant: Annotated[
        list[str] | None, typer.Option(help="As `create` takes them; all of them anew.")
    ] = None,
    environment: Environment = "production",
    metric: Annotated[str | None, typer.Option(help="What the variants are compared by.")] = None,
    coverage: Annotated[
        float | None, typer.Option(help="The share that takes part, 0 to 1.")
    ] = None,
    sticky: Annotated[
        bool | None,
        typer.Option("--sticky/--no-sticky", help="Units keep their variant when weights change."),
    ] = None,
    guardrail: Guardrails = None,
    minimum_effect: MinimumEffect = None,
    units: Units = None,
    alpha: Alpha = None,
    power: Power = None,
    pause_when_harmed: Pausing = None,
    winsorize: Winsorize = None,
    own_metric: OwnMetrics = None,
    rules: RulesJson = "{}",
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Change a draft: what is given takes the place of what it had, and all else stays.

    Once a test has begun its plan is fixed.

    Example: mlops ab redefine choice --minimum-effect 0.02 --guardrail error_rate:0.01
    """
    with one_line_errors():
        from shared.abtest import lifecycle
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        changes: dict[str, Any] = {
            "variants": [variant_of(text, 1 / len(variant)) for text in variant]
            if variant
            else None,
            "success_metric": metric,
            "coverage": coverage,
            "sticky": sticky,
        }
        changes = {key: value for key, value in changes.items() if value is not None}
        changes |= planned(
            guardrail,
            minimum_effect,
            units,
            alpha,
            power,
            pause_when_harmed,
            winsorize,
            own_metric,
        )
        changes |= json_object("--rules", rules)
        with tenant_session(current_tenant()) as session:
            with looking_up():
                test = lifecycle.find(session, name, environment)
            _require_models(session, changes.get("variants", []))
            before = lifecycle.definition_of(test).model_dump(mode="json")
            if "success_metric" in changes and "guardrails" not in changes:
                # What is compared now is no guardrail of itself any more.
                before["guardrails"] = [
                    one
                    for one in before["guardrails"]
                    if one["metric"] != changes["success_metric"]
                ]
            changes |= {"name": name, "environment": environment}
            # What it had is part of what it becomes: it must not have changed in between.
            read = test.table_version if version is None else version
            made = lifecycle.redefine(session, before | changes, expected_version=read)
            print_changed(made, as_json, on_its_way(session, made))


@app.command()
def start(
    name: Name,
    environment: Environment = "production",
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Let a draft assign units.

    Example: mlops ab start choice
    """
    with one_line_errors():
        from shared.abtest import lifecycle

        _change(lifecycle.start, name, environment, version, as_json)


@app.command()
def pause(
    name: Name,
    environment: Environment = "production",
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Let a running test assign nothing until it is resumed, in every process at once.

    Example: mlops ab pause choice
    """
    with one_line_errors():
        from shared.abtest import lifecycle

        _change(lifecycle.pause, name, environment, version, as_json)


@app.command()
def resume(
    name: Name,
    environment: Environment = "production",
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Let a paused test assign again.

    Example: mlops ab resume choice
    """
    with one_line_errors():
        from shared.abtest import lifecycle

        _change(lifecycle.resume, name, environment, version, as_json)


@app.command()
def stop(
    name: Name,
    environment: Environment = "production",
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Let a test assign no more, for good.

    Of one that was concluded nobody gets the winner any more.

    Example: mlops ab stop choice
    """
    with one_line_errors():
        from shared.abtest import lifecycle

        _change(lifecycle.stop, name, environment, version, as_json)


@app.command()
def conclude(
    name: Name,
    winner: Annotated[str, typer.Argument(help="The variant that everyone gets from now on.")],
    environment: Environment = "production",
    version: Version = None,
    as_json: Json = False,
) -> None:
    """End a test with a winner, and say what it has shown and what speaks against that.

    Example: mlops ab conclude choice treatment
    """
    with one_line_errors():
        from shared.abtest import analysis, lifecycle
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            with looking_up():
                lifecycle.find(session, name, environment)
            test = lifecycle.conclude(session, name, winner, environment, expected_version=version)
        with tenant_session(current_tenant()) as session:
            found = analysis.analysis_of(session, test, datetime.now(UTC))
    against = warnings(found, winner)
    if as_json:
        shown = {"state": found.state, "verdict": found.verdict, "warnings": against}
        print_json({**described(test), "moving": None, **shown})
        return
    say(f"{test.name} {sentence(test.status, winner, found.state, found.verdict)}")
    for line in against:
        note(f"warning: {line}")


@app.command()
def ramp(
    name: Name,
    coverage: Annotated[float, typer.Argument(help="The share that takes part, 0 to 1.")],
    environment: Environment = "production",
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Let another share of the units take part; upwards nobody changes the variant.

    Example: mlops ab ramp choice 0.5
    """
    with one_line_errors():
        from shared.abtest import lifecycle

        def move(session: Session, of: str, where: str, **seen: int | None) -> AbTest:
            return lifecycle.ramp(session, of, coverage, where, **seen)

        _change(move, name, environment, version, as_json)


@app.command()
def weights(
    name: Name,
    split: Annotated[list[str], typer.Argument(help="NAME:WEIGHT of each variant; they sum to 1.")],
    environment: Environment = "production",
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Give the variants new weights; only the units move that must.

    Example: mlops ab weights choice control:0.2 treatment:0.8
    """
    with one_line_errors():
        from shared.abtest import lifecycle

        wanted = weights_of(split)

        def move(session: Session, of: str, where: str, **seen: int | None) -> AbTest:
            return lifecycle.change_weights(session, of, wanted, where, **seen)

        _change(move, name, environment, version, as_json)


@app.command()
def force(
    name: Name,
    unit: Annotated[str, typer.Argument(help="The unit's id.")],
    variant: Annotated[
        str | None, typer.Argument(help="Its variant; left out, the unit is let go again.")
    ] = None,
    environment: Environment = "production",
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Give a unit a variant whatever else holds, for a look at it; it does not count.

    Example: mlops ab force choice tester-7 treatment
    """
    with one_line_errors():
        from shared.abtest import lifecycle

        def move(session: Session, of: str, where: str, **seen: int | None) -> AbTest:
            return lifecycle.force(session, of, {unit: variant}, where, **seen)

        _change(move, name, environment, version, as_json)


@app.command()
def assign(
    name: Name,
    unit: Annotated[str, typer.Argument(help="The unit's id.")],
    attributes: Annotated[
        str, typer.Option(help="The unit's attributes as a JSON object, for targeting.")
    ] = "{}",
    environment: Environment = "production",
    as_json: Json = False,
) -> None:
    """Show what a unit gets, and why. It is not counted.

    Example: mlops ab assign choice user-7 --attributes '{"country": "DE"}'
    """
    with one_line_errors():
        from shared.abtest import serving
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        known = json_object("--attributes", attributes)
        with tenant_session(current_tenant()) as session:
            with looking_up():
                test = serving.look_up(session, name, environment)
            given = test.assign(unit, known)
    told = None if given.variant is None else given.variant.name
    if as_json:
        payload = None if given.variant is None else given.variant.payload
        print_json(
            {
                "test": name,
                "unit": unit,
                "variant": told,
                "reason": given.reason,
                "in_test": given.in_test,
                "payload": payload,
            }
        )
        return
    say(f"{told or 'no variant'} ({given.reason})")


@app.command("list")
def list_tests(
    environment: Annotated[
        str | None, typer.Option(help="Only those there; without it those of all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the tests, and what the timetable's newest look at each has found.

    Example: mlops ab list --json
    """
    with one_line_errors():
        import sqlalchemy as sa

        from shared.abtest.looks import newest_looks
        from shared.abtest.tables import AbTest
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        require_name("--environment", environment)
        with tenant_session(current_tenant()) as session:
            query = sa.select(AbTest).order_by(AbTest.environment, AbTest.name)
            if environment is not None:
                query = query.where(AbTest.environment == environment)
            looks = newest_looks(session)
            rows = [
                described(test) | {"look": looks.get(test.id)} for test in session.scalars(query)
            ]
    if as_json:
        print_json([row | {"look": row["look"] and asdict(row["look"])} for row in rows])
        return
    print_table(
        ["test", "environment", "status", "variants", "created", "so far"],
        [
            (
                row["name"],
                row["environment"],
                row["status"],
                ", ".join(variant_told(variant) for variant in row["variants"]),
                f"{row['created_at']:%Y-%m-%d}",
                row["look"] and so_far(row["status"], row["look"].state.value),
            )
            for row in rows
        ],
        empty="no A/B tests"
        + ("" if environment is None else f" in {environment}")
        + " yet: `mlops ab create NAME --variant ... --variant ...` makes one",
    )
    for row in rows:
        if look := row["look"]:
            at = f"{look.looked_at:%Y-%m-%d %H:%M} UTC"
            told = sentence(row["status"], row["winner"], look.state, look.verdict)
            say(f"{row['name']} in {row['environment']}, as of {at}: {told}")


@app.command()
def show(name: Name, environment: Environment = "production", as_json: Json = False) -> None:
    """Show what a test has come to so far: the verdict, what it rests on, and how it went.

    Example: mlops ab show choice
    """
    with one_line_errors():
        from shared.abtest import analysis, lifecycle
        from shared.abtest.history import harms_that_paused
        from shared.abtest.looks import look_of, looks_of
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        now = datetime.now(UTC)
        with tenant_session(current_tenant()) as session:
            with looking_up():
                test = lifecycle.find(session, name, environment)
            found = analysis.analysis_of(session, test, now)
            looks = looks_of(session, test)
            newest = look_of(test, found, now)
            told = described(test) | on_its_way(session, test)
            plan, paused_by = analysis.plan_judged_by(test), harms_that_paused(session, test)
    if as_json:
        print_json(told | analysis.described(found) | {"looks": [asdict(look) for look in looks]})
        return
    if not found.units:
        say(without_units(told))
        print_plan(plan, found, paused_by)
        say(state_line(told))
        return
    say(sentence(told["status"], told["winner"], found.state, found.verdict))
    print_verdict(found)
    print_plan(plan, found, paused_by)
    print_looks([*looks, newest])
    say(state_line(told))


def _too_few(session: Session, test: AbTest) -> list[str]:
    """The percentiles that a draft wants to be capped at, and cannot be as it stands."""
    from shared.abtest.capping import settled
    from shared.abtest.states import AbTestError
    from shared.abtest.unit_analysis import plan_of

    try:
        settled(session, plan_of(test), datetime.now(UTC))
    except AbTestError as error:
        return [f"it cannot start as it is: {error}"]
    return []


def _require_models(session: Session, variants: Sequence[Mapping[str, Any]]) -> None:
    """A model that is not there is exit code 5."""
    from shared.registry.models import resolve

    for one in variants:
        if one.get("model") is not None:
            with looking_up():
                resolve(session, one["model"])


def _change(
    change: Callable[..., AbTest], name: str, environment: str, version: int | None, as_json: bool
) -> None:
    """Change the test and say what it is now."""
    from shared.abtest import lifecycle
    from shared.database import tenant_session
    from shared.tenancy.tenants import current_tenant

    with tenant_session(current_tenant()) as session:
        with looking_up():
            lifecycle.find(session, name, environment)
        test = change(session, name, environment, expected_version=version)
        moving = on_its_way(session, test)
    print_changed(test, as_json, moving)
