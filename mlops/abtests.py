"""`mlops ab ...`: make an A/B test, let it run, and read what it has shown."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.console import (
    Exit,
    Json,
    complain,
    looking_up,
    one_line_errors,
    print_json,
    print_table,
    say,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from shared.abtest.analysis import Analysis, Difference, VariantResult
    from shared.abtest.tables import AbTest
    from shared.evaluation.intervals import Interval

app = typer.Typer(no_args_is_help=True, help="A/B tests: which agent does better.")

Name = Annotated[str, typer.Argument(help="The test's name.")]
Environment = Annotated[str, typer.Option(help="Where the test runs.")]


@app.command()
def create(
    name: Name,
    variant: Annotated[
        list[str],
        typer.Option(help="NAME=MODEL:WEIGHT; the first is the control, the weights sum to 1."),
    ],
    environment: Environment = "production",
    as_json: Json = False,
) -> None:
    """Make a test, as a draft.

    Example: mlops ab create choice --variant control=old:0.5 --variant treatment=new@2.0.0:0.5
    """
    with one_line_errors():
        from shared.abtest import lifecycle
        from shared.database import tenant_session
        from shared.registry.models import resolve
        from shared.tenancy.tenants import current_tenant

        variants = [_variant(text) for text in variant]
        with tenant_session(current_tenant()) as session:
            for one in variants:
                with looking_up():
                    resolve(session, one["model"])
            made = lifecycle.create(session, name, variants, environment=environment)
            _result(made, as_json)


@app.command()
def start(name: Name, environment: Environment = "production", as_json: Json = False) -> None:
    """Let a draft assign units.

    Example: mlops ab start choice
    """
    with one_line_errors():
        from shared.abtest import lifecycle

        _move(lifecycle.start, name, environment, as_json)


@app.command()
def stop(name: Name, environment: Environment = "production", as_json: Json = False) -> None:
    """Let a running test assign no more, for good.

    Example: mlops ab stop choice
    """
    with one_line_errors():
        from shared.abtest import lifecycle

        _move(lifecycle.stop, name, environment, as_json)


@app.command("list")
def list_tests(as_json: Json = False) -> None:
    """List the tests.

    Example: mlops ab list --json
    """
    with one_line_errors():
        import sqlalchemy as sa

        from shared.abtest.tables import AbTest
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            query = sa.select(AbTest).order_by(AbTest.environment, AbTest.name)
            rows = [_described(test) for test in session.scalars(query)]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["test", "environment", "status", "variants", "created"],
        [
            (
                row["name"],
                row["environment"],
                row["status"],
                ", ".join(f"{v['name']}={v['model']}:{v['weight']:g}" for v in row["variants"]),
                f"{row['created_at']:%Y-%m-%d %H:%M:%S}",
            )
            for row in rows
        ],
        empty="no A/B tests yet: `mlops ab create NAME --variant ... --variant ...` makes one",
    )


@app.command()
def show(name: Name, environment: Environment = "production", as_json: Json = False) -> None:
    """Show what a test has come to so far: the verdict, then what it rests on.

    Example: mlops ab show choice
    """
    with one_line_errors():
        from shared.abtest import analysis, lifecycle
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            with looking_up():
                test = lifecycle.find(session, name, environment)
            found = analysis.analyze(session, test)
            described = _described(test)
    if as_json:
        print_json(described | asdict(found))
        return
    if not any(result.counts.units for result in found.variants):
        say(_without_units(described))
        return
    say(found.verdict)
    _print_analysis(found)


def _print_analysis(found: Analysis) -> None:
    differences = {difference.variant: difference for difference in found.differences}
    print_table(
        ["variant", "model", "weight", "units", "episodes", "success (95 %)", "to the control"],
        [
            (
                result.counts.name,
                result.counts.model,
                f"{result.counts.weight:g}",
                result.counts.units,
                result.counts.episodes,
                _rate(result),
                _difference(differences.get(result.counts.name)),
            )
            for result in found.variants
        ],
    )
    if found.sample_ratio_p is None:
        say("sample ratio: the weights have changed, or only one variant gets units: not tested")
    else:
        say(f"sample ratio: p = {found.sample_ratio_p:.2g} that the units follow the weights")


def _without_units(test: Mapping[str, Any]) -> str:
    """What to say of a test that has assigned nothing yet: how it comes to do so."""
    name, environment = test["name"], test["environment"]
    where = "" if environment == "production" else f" --environment {shlex.quote(environment)}"
    match test["status"]:
        case "draft":
            how = f"it is a draft: `mlops ab start {shlex.quote(name)}{where}` lets it assign"
        case "running":
            split = {"test": name} | ({"environment": environment} if where else {})
            job = json.dumps({"job": "run_benchmark", "seeds": [1, 2, 3], "ab": split})
            how = f"`mlops job submit {shlex.quote(job)}` evaluates with it"
        case status:
            how = f"it is {status}"
    return f"{name} has assigned no unit yet, so nothing is known; {how}"


def _move(
    move: Callable[[Session, str, str], AbTest], name: str, environment: str, as_json: bool
) -> None:
    """Change the state of the test and say what it is now."""
    from shared.abtest import lifecycle
    from shared.database import tenant_session
    from shared.tenancy.tenants import current_tenant

    with tenant_session(current_tenant()) as session:
        with looking_up():
            lifecycle.find(session, name, environment)
        _result(move(session, name, environment), as_json)


def _variant(text: str) -> dict[str, Any]:
    name, equals, rest = text.partition("=")
    # The last colon: a model's name may have some of its own.
    model, colon, weight = rest.rpartition(":")
    try:
        if not (name and equals and model and colon):
            raise ValueError
        return {"name": name, "model": model, "weight": float(weight)}
    except ValueError:
        raise complain(
            f"variant {text[:200]!r} is not NAME=MODEL:WEIGHT, such as control=my-agent:0.5",
            Exit.USAGE,
        ) from None


def _described(test: AbTest) -> dict[str, Any]:
    return {
        "name": test.name,
        "environment": test.environment,
        "status": test.status,
        "variants": [{k: v[k] for k in ("name", "model", "weight")} for v in test.variants],
        "created_at": test.created_at,
    }


def _result(test: AbTest, as_json: bool) -> None:
    if as_json:
        print_json(_described(test))
    else:
        say(f"{test.name} {test.status}")


def _rate(result: VariantResult) -> str | None:
    if result.success_rate is None:
        return None
    return f"{result.success_rate:.0%}{_between(result.interval)} of {result.counts.scored}"


def _difference(difference: Difference | None) -> str | None:
    if difference is None or difference.difference is None:
        return None
    between = _between(difference.interval)
    return f"{100 * difference.difference:+.1f} points{between}: {difference.state.value}"


def _between(interval: Interval | None) -> str:
    return "" if interval is None else f" ({100 * interval.low:.0f} to {100 * interval.high:.0f})"
