"""How many units a test needs, and how small a difference it can show.

In one look at the end, and in as many as one likes, which takes about twice as many units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from shared.abtest.inference.sequential import mixture_scale, reach

MOST_UNITS: Final = 10**12
"Of each variant: what takes more cannot be shown, and the numbers do not tell how many it takes."
GUARDED: Final = 3
"Guardrails that a test has unless its author says otherwise."


def required_units(
    variance_control: float,
    variance_treatment: float,
    difference: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """Units of each variant, as many of both, to show a true `difference` in one look.

        n = (z(1 - alpha/2) + z(power))^2 (s1^2 + s2^2) / difference^2, to the nearest unit

    (Fleiss, "Statistical Methods for Rates and Proportions", 3rd ed. 2003, section 4.2, with each
    side's own variance; of a share p it is p (1 - p): 10 % against 12 % asks for 3,838.) ValueError
    for a difference of 0 or one that takes more than `MOST_UNITS`, negative variances, and unless
    0 < alpha < power < 1.
    """
    _require(variance_control, variance_treatment, power, alpha)
    if difference == 0 or not math.isfinite(difference):
        raise ValueError(f"a difference of {difference}; expected a finite number that is not 0")
    spread = _quantiles(power, alpha) ** 2 * (variance_control + variance_treatment)
    # The square of a small difference may be 0.
    if not math.sqrt(spread) <= math.sqrt(MOST_UNITS) * abs(difference):
        raise ValueError(
            f"a difference of {difference:g} takes more than {MOST_UNITS:.0e} units of each"
            " variant; expected a larger one"
        )
    return max(2, round(spread / difference**2)) if spread else 2


def minimum_detectable_effect(
    variance_control: float,
    variance_treatment: float,
    n_control: int,
    n_treatment: int,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float | None:
    """The least true difference that one look would show; None where a variant has no unit.

    ValueError as `required_units`.
    """
    _require(variance_control, variance_treatment, power, alpha)
    if n_control <= 0 or n_treatment <= 0:
        return None
    variance = variance_control / n_control + variance_treatment / n_treatment
    return _quantiles(power, alpha) * math.sqrt(variance)


@dataclass(frozen=True)
class Size:
    """So many units of each variant show so large a difference, in one look."""

    units: int
    effect: float
    units_at_any_time: int | None = None
    "For a verdict that is looked at again and again, beside `GUARDED` guardrails; of an effect."


def sized(
    *,
    baseline: float | None = None,
    deviation: float | None = None,
    effect: float | None = None,
    units: int | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
) -> Size:
    """The units that an `effect` takes, or the effect that so many `units` of each variant show.

    Of a share `baseline` is the control's, and the treatment has `baseline + effect`; of a mean
    `deviation` is the units' standard deviation, the same in both. For units the share's variance
    is taken at the baseline on both sides. ValueError unless just one of baseline and deviation and
    just one of effect and units is given, and for what cannot be.
    """
    if (baseline is None) == (deviation is None):
        raise ValueError("expected either a baseline, of a share, or a deviation, of a mean")
    if (effect is None) == (units is None):
        raise ValueError("expected either an effect or a number of units")
    if effect is not None and not (effect != 0 and math.isfinite(effect)):
        raise ValueError(f"effect {effect}; expected a finite number that is not 0")
    control = treatment = 0.0
    if baseline is not None:
        other = baseline + (effect or 0.0)
        if not (0 < baseline < 1 and 0 <= other <= 1):
            raise ValueError(f"a share of {baseline:g} against {other:g}; expected between 0 and 1")
        control, treatment = baseline * (1 - baseline), other * (1 - other)
    if deviation is not None:
        if not (deviation > 0 and math.isfinite(deviation)):
            raise ValueError(f"deviation {deviation}; expected a finite number above 0")
        # A float to the power of 2 that is beyond all floats is an error, and no infinity.
        control = treatment = deviation * deviation
    if effect is not None:
        needed = required_units(control, treatment, effect, power=power, alpha=alpha)
        # About twice as many are needed: made narrowest there, the intervals are at their best.
        again_and_again = always_valid_units(
            control,
            treatment,
            effect,
            planned=4 * needed,
            power=power,
            alpha=alpha,
            comparisons=1 + GUARDED,
        )
        return Size(needed, effect, again_and_again)
    assert units is not None
    if units > MOST_UNITS:
        raise ValueError(f"that many units of each variant; expected at most {MOST_UNITS:.0e}")
    least = minimum_detectable_effect(control, treatment, units, units, power=power, alpha=alpha)
    if least is None:
        raise ValueError(f"{units} units of each variant; expected 1 or more")
    return Size(units, least)


def days(units: int, a_day: float) -> float:
    """How long so many units take to come. ValueError unless some come each day."""
    if not (a_day > 0 and math.isfinite(a_day)):
        raise ValueError(f"{a_day} units a day; expected a finite number above 0")
    if math.isinf(took := units / a_day):
        raise ValueError(f"{units} units at {a_day:g} units a day: they never come")
    return took


def always_valid_units(
    variance_control: float,
    variance_treatment: float,
    difference: float,
    *,
    planned: float,
    power: float = 0.8,
    alpha: float = 0.05,
    comparisons: int = 1,
    ratio: float = 1.0,
) -> int | None:
    """Units of the control at which confidence sequences show a `difference`.

    The treatment has `ratio` r times as many: the same unless it is given. The least n with

        (reach((1 + r) n) + z(power)) sqrt(s1^2 / n + s2^2 / (r n)) <= difference

    so that the look at these units has the power by itself, and looks before it add to it. The
    reach is that of intervals made narrowest for `planned` units (see `sequential.reach`), at
    alpha / `comparisons`: what Holm asks of the first of so many to be told. None where they are
    more than `MOST_UNITS`. ValueError for a difference of 0, negative variances, unless
    0 < alpha < power < 1, for none planned, for no comparison, and for a ratio not above 0.
    """
    _require(variance_control, variance_treatment, power, alpha)
    if difference == 0 or not math.isfinite(difference):
        raise ValueError(f"a difference of {difference}; expected a finite number that is not 0")

    if not (ratio > 0 and math.isfinite(ratio)):
        raise ValueError(f"a ratio of {ratio}; expected a finite number above 0")

    def enough(n: int) -> bool:
        least = always_valid_effect(
            variance_control,
            variance_treatment,
            n,
            ratio * n,
            planned=planned,
            power=power,
            alpha=alpha,
            comparisons=comparisons,
        )
        return least is not None and least <= abs(difference)

    low, high = 1, 2
    while not enough(high):
        if high > MOST_UNITS:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def always_valid_effect(
    variance_control: float,
    variance_treatment: float,
    n_control: float,
    n_treatment: float,
    *,
    planned: float,
    power: float = 0.8,
    alpha: float = 0.05,
    comparisons: int = 1,
) -> float | None:
    """The least true difference that confidence sequences show at these units with `power`.

    As `always_valid_units` has it. None where a variant has no unit.
    """
    _require(variance_control, variance_treatment, power, alpha)
    if comparisons < 1:
        raise ValueError(f"{comparisons} comparisons; expected 1 or more")
    if n_control <= 0 or n_treatment <= 0:
        return None
    errors = reach(n_control + n_treatment, mixture_scale(planned, alpha), alpha / comparisons)
    variance = variance_control / n_control + variance_treatment / n_treatment
    return (errors + NormalDist().inv_cdf(power)) * math.sqrt(variance)


def days_left(required: int, there: int, a_day: float) -> float | None:
    """Until `required` units are there, at today's rate; 0 if they are. None if none come."""
    if there >= required:
        return 0.0
    return (required - there) / a_day if a_day > 0 else None


def _quantiles(power: float, alpha: float) -> float:
    return NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)


def _require(one: float, two: float, power: float, alpha: float) -> None:
    for variance in (one, two):
        if not (variance >= 0 and math.isfinite(variance)):
            raise ValueError(f"a variance of {variance}; expected from 0")
    if not 0 < alpha < power < 1:
        raise ValueError(f"alpha {alpha} and power {power}; expected 0 < alpha < power < 1")
