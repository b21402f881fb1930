"""`mlops cost prices`: what models cost, and the tenant's own prices."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.console import Exit, Json, complain, one_line_errors, print_json, print_table, say
from shared.money import dollars, money_fields

if TYPE_CHECKING:
    from shared.costs.prices import PriceTable, Quote, Rate

app = typer.Typer(invoke_without_command=True)

_CLASSES = ("input", "cached_input", "cache_write", "output", "cache_write_1h", "reasoning")


@app.callback()
def list_prices(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Option(help="Every known price whose PROVIDER/MODEL holds this text."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Prices: list your own and those shipped with this program, as they hold today.

    Other models have the prices of the embedded table: --model looks through it.

    Example: mlops cost prices --model gpt-4.1
    """
    if context.invoked_subcommand is not None:
        return
    with one_line_errors():
        from shared.costs.prices import Unpriced, embedded_models
        from shared.costs.pricing import tenant_prices
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            table = tenant_prices(session)
        now = datetime.now(UTC)
        names = {(entry.provider, entry.model) for entry in (*table.own, *table.shipped)}
        if model is not None:
            names = {name for name in names if model.lower() in "/".join(name).lower()}
            try:
                names |= set(embedded_models(model))
            except ImportError:
                raise complain(
                    "the embedded price table, the package genai-prices, is not installed"
                ) from None
        found = [table.quote(*name, now) for name in sorted(names)]
        quotes = [one for one in found if not isinstance(one, Unpriced)]
    if as_json:
        print_json({"version": table.version, "prices": [_described(one) for one in quotes]})
        return
    print_table(
        ["model", "input", "cached", "cache write", "output", "whose"],
        [
            (
                f"{one.provider}/{one.model}",
                *(_first(getattr(one, name)) for name in _CLASSES[:4]),
                f"{one.origin}, simulated" if one.simulated else one.origin,
            )
            for one in quotes
        ],
        title="Dollars per million tokens today; + for more above a size of the input",
        empty="no such price is known" if model else "no prices of your own",
    )
    say(f"version: {table.version}")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="PROVIDER/MODEL")],
    on: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="A day (UTC); today when left out."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a model costs on a day, and who says so.

    Example: mlops cost prices show openai/gpt-4.1-mini --on 2026-11-01
    """
    with one_line_errors():
        from shared.costs.prices import Unpriced
        from shared.costs.pricing import tenant_prices
        from shared.database import tenant_session
        from shared.telemetry.seen import did_you_mean
        from shared.tenancy.tenants import current_tenant

        provider, slash, model = name.partition("/")
        if not slash or not provider or not model:
            raise complain(f"{name!r}: expected PROVIDER/MODEL, as openai/gpt-4.1-mini", Exit.USAGE)
        with tenant_session(current_tenant()) as session:
            table = tenant_prices(session)
        at = datetime.now(UTC) if on is None else on.replace(tzinfo=UTC)
        quote = table.quote(provider, model, at)
        if isinstance(quote, Unpriced):
            near = did_you_mean(name, _names(table))
            raise complain(f"{quote.reason} on {at:%Y-%m-%d}{near}", Exit.NOT_FOUND)
    if as_json:
        print_json(_described(quote) | {"version": table.version})
        return
    rates = [(name.replace("_", " "), getattr(quote, name)) for name in _CLASSES]
    print_table(
        ["tokens", "dollars per million", "of inputs"],
        [
            (name if step == 0 else "", f"{price:f}", _above(above))
            for name, rate in rates
            if rate is not None
            for step, (above, price) in enumerate(rate.steps)
        ],
        title=f"{name} on {at:%Y-%m-%d} (UTC)",
    )
    if quote.request_nanos:
        say(f"and {dollars(quote.request_nanos)} for each call")
    since = "" if quote.starts is None else f" from {quote.starts} on"
    simulated = ", simulated: no real money" if quote.simulated else ""
    say(f"{quote.origin}{since}{simulated}: {quote.source}")


@app.command("import")
def import_prices(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml")], as_json: Json = False
) -> None:
    """Make a file's prices your own, instead of all that you had.

    They hold from the next batch of telemetry and the next episode on; what was priced before
    keeps its cost. `[]` as the file's only line removes all.

    Example: mlops cost prices import prices.yaml
    """
    with one_line_errors():
        from dataclasses import asdict

        from shared.costs.overrides import read_overrides
        from shared.costs.pricing import replace_own_prices
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        entries = read_overrides(file)
        with tenant_session(current_tenant()) as session:
            done = replace_own_prices(session, entries)
    if as_json:
        print_json(asdict(done))
    else:
        prices = "price" if done.after == 1 else "prices"
        say(f"{done.after} {prices} of your own, instead of {done.before}; version: {done.version}")


@app.command("export")
def export() -> None:
    """Write the prices of your own to stdout, as a file that `import` takes.

    Example: mlops cost prices export > prices.yaml
    """
    with one_line_errors():
        from shared.costs.overrides import written
        from shared.costs.pricing import tenant_prices
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            table = tenant_prices(session)
    sys.stdout.write(written(table.own))


def _names(table: PriceTable) -> set[str]:
    """Every `provider/model` that has a price."""
    from shared.costs.prices import embedded_models

    try:
        embedded = embedded_models("")
    except ImportError:
        embedded = []
    entries = ((entry.provider, entry.model) for entry in (*table.own, *table.shipped))
    return {"/".join(pair) for pair in (*embedded, *entries)}


def _described(quote: Quote) -> dict[str, Any]:
    return {
        "provider": quote.provider,
        "model": quote.model,
        "whose": quote.origin.value,
        "source": quote.source,
        "starts": quote.starts,
        "simulated": quote.simulated,
        **money_fields(request=quote.request_nanos),
    } | {name: _steps(getattr(quote, name)) for name in _CLASSES}


def _steps(rate: Rate | None) -> list[dict[str, Any]] | None:
    """Dollars per million tokens as texts, so that no digit is lost."""
    if rate is None:
        return None
    return [
        {"above_input_tokens": max(above, 0), "dollars_per_million": f"{price:f}"}
        for above, price in rate.steps
    ]


def _first(rate: Rate | None) -> str | None:
    if rate is None:
        return None
    return f"{rate.steps[0][1]:f}" + ("+" if len(rate.steps) > 1 else "")


def _above(above: int) -> str:
    return "" if above < 0 else f"above {above:,} tokens"
