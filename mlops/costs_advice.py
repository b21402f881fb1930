"""`mlops cost advise`: what would save money, how much, and how that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops import freshness
from mlops.console import Exit, Json, complain, one_line_errors, out, print_json, print_table, say
from mlops.monitoring.windows import last_hours
from shared.money import dollars, money_fields

if TYPE_CHECKING:
    from shared.costs.advice.advising import Advised
    from shared.costs.advice.pieces import Advice, Figure, Saving

_MOST_OF_A_KIND = 4
_MOST_MISSING = 3

_NAMES = {
    "cheaper_model": "cheaper model",
    "prompt_caching": "prompt caching",
    "failed_calls": "failed calls",
    "long_prompts": "long prompts",
    "never_succeeds": "never succeeds",
}


def advise(
    days: Annotated[int, typer.Option(min=1, max=366, help="What the last so many showed.")] = 30,
    margin: Annotated[
        float,
        typer.Option(help="Points of success that a cheaper model may lose at most."),
    ] = 5.0,
    as_json: Json = False,
) -> None:
    """Advise what would save money, the largest known saving first, with the evidence.

    A cheaper model is advised only where both were tried on the same tasks and the most that it
    can lose is below the margin. Savings are for 30 days, and may overlap: do not add them up.

    Example: mlops cost advise --days 30
    """
    with one_line_errors():
        from shared.abtest.costing import split_tests
        from shared.costs.advice.advising import advise as advise_on
        from shared.costs.freshness import freshness as look
        from shared.costs.pricing import tenant_prices
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        if not 0 < margin < 100:
            raise complain(
                f"--margin {margin:g}: expected points above 0 and below 100", Exit.USAGE
            )
        now = datetime.now(UTC)
        window = last_hours(now, 24 * days)
        with tenant_session(current_tenant()) as session:
            found = advise_on(
                session,
                window,
                tenant_prices(session),
                split_tests(session),
                now=now,
                margin=margin / 100,
            )
            fresh = look(session, now)
    if as_json:
        print_json(freshness.described(fresh) | _described(found, margin))
        return
    _print(found, days)
    freshness.tell(fresh)


def _print(found: Advised, days: int) -> None:
    if not found.advice:
        say(f"no advice for the last {days} days; what was looked at, and what is missing:")
        _print_sections(found, every=True)
        return
    shown = _foremost(found.advice)
    print_table(
        ["", "advice", "model", "function", "saving in 30 days", "interval"],
        [
            (
                number,
                _NAMES[one.kind],
                one.model,
                one.function,
                _amount(one),
                _interval(one.saving),
            )
            for number, one in enumerate(shown, 1)
        ],
        title=f"Advice from the last {days} days; savings may overlap, do not add them up",
    )
    if len(found.advice) > len(shown):
        say(f"and {len(found.advice) - len(shown)} more like these (--json has all)")
    for number, one in enumerate(shown, 1):
        out.print()
        say(f"{number}. {one.action}")
        say(f"   saving: {_amount(one)}; {one.saving.explanation}")
        for figure in one.evidence:
            say(f"   - {_shown(figure)}")
    out.print()
    _print_sections(found, every=False)


def _foremost(advice: Sequence[Advice]) -> list[Advice]:
    """The first of each kind, in their order: many of one kind must not hide the others."""
    return [
        one
        for place, one in enumerate(advice)
        if sum(before.kind is one.kind for before in advice[:place]) < _MOST_OF_A_KIND
    ]


def _print_sections(found: Advised, *, every: bool) -> None:
    """What was looked at of each kind, of those without advice or of all, and what is missing."""
    for section in found.sections:
        if every or not section.advice:
            say(f"{_NAMES[section.kind]}: no advice; looked at {section.looked_at}")
        for missing in section.missing[:_MOST_MISSING]:
            say(f"   missing for {_NAMES[section.kind]}: {missing}")
        if len(section.missing) > _MOST_MISSING:
            say(f"   and {len(section.missing) - _MOST_MISSING} more (--json has all)")


def _amount(one: Advice) -> str:
    saving = one.saving
    words = {"at_least": "at least ", "at_most": "at most "}.get(saving.certainty, "")
    text = "unknown" if saving.nanos is None else words + dollars(saving.nanos)
    return text + (" (simulated)" if one.simulated else "")


def _interval(saving: Saving) -> str | None:
    if saving.interval is None:
        return None
    return f"{dollars(round(saving.interval.low))} to {dollars(round(saving.interval.high))}"


def _shown(figure: Figure) -> str:
    text = f"{figure.name}: {_value(figure.value, figure.unit)}"
    if figure.interval is not None:
        low, high = (_value(bound, figure.unit) for bound in figure.interval)
        text += f" ({low} to {high})"
    unit = "" if figure.unit in ("share", "nanos") else f" {figure.unit}"
    return f"{text}{unit}, n = {figure.n:,}; {figure.source}"


def _value(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:.1f} %"
    return dollars(round(value)) if unit == "nanos" else f"{value:,.0f}"


def _described(found: Advised, margin: float) -> dict[str, Any]:
    return {
        "from": found.window.start,
        "to": found.window.end,
        "margin_points": margin,
        "advice": [_piece(one) for one in found.advice],
        "looked_at": [
            {
                "kind": section.kind.value,
                "advice": len(section.advice),
                "looked_at": section.looked_at,
                "missing": section.missing,
            }
            for section in found.sections
        ],
    }


def _piece(one: Advice) -> Mapping[str, Any]:
    return {
        "kind": one.kind.value,
        "model": one.model,
        "function": one.function,
        "saving": {
            **money_fields(in_30_days=one.saving.nanos),
            "certainty": one.saving.certainty.value,
            **money_fields(low=_end(one.saving.interval, 0), high=_end(one.saving.interval, 1)),
            "explanation": one.saving.explanation,
        },
        "simulated": one.simulated,
        "action": one.action,
        "evidence": [
            {
                "name": figure.name,
                "value": figure.value,
                "unit": figure.unit,
                **_in_money(figure),
                "n": figure.n,
                "interval": _pair(figure.interval),
                "source": figure.source,
            }
            for figure in one.evidence
        ],
    }


def _in_money(figure: Figure) -> Mapping[str, Any]:
    return money_fields(value=figure.value) if figure.unit == "nanos" else {}


def _end(interval: Sequence[float] | None, which: int) -> float | None:
    return None if interval is None else interval[which]


def _pair(interval: Sequence[float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
