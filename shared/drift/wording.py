"""How a verdict on drift is said to people. What is stored, and JSON, keep the names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from shared.drift.effects import Effect
from shared.drift.own_variation import TIMES
from shared.drift.quality import QualityCheck, QualityState
from shared.drift.quantities import number, percent, probability
from shared.drift.several_windows import SeveralWindows
from shared.drift.verdicts import MOST_VALUES, DriftState, MetricVerdict
from shared.telemetry.features.built_in import BY_NAME
from shared.telemetry.metrics import Volume, Words

# A test that finds nothing has not shown that there is nothing.
_SAID: Final[Mapping[str, str]] = {
    DriftState.STABLE: "no drift shown",
    DriftState.WARNING: "slight drift",
    DriftState.DRIFT: "drift",
    DriftState.NO_DATA: "no data",
    # Too little data, or windows that cannot be compared: the reason says which.
    DriftState.INSUFFICIENT: "not judged",
}


def said(verdict: str) -> str:
    """The words for a stored verdict, which is a `DriftState`'s name."""
    return _SAID.get(verdict, verdict)


_COUNTED: Final[Mapping[str, str]] = {Volume.REQUESTS: " hours", Words.QUERY_VOCABULARY: " texts"}


FEATURE_STORE: Final = "the feature store"
"Where a tenant's own features are from, which are of no function and no model."


def counted_said(metric: str, *sizes: int) -> str:
    """What the sizes of a metric's windows count, after the numbers; nothing where it is values.

    Of a tenant's own feature, that a window had more than the `sizes` say.
    """
    drawn = metric not in BY_NAME and max(sizes, default=0) >= MOST_VALUES
    return f" values, at most {MOST_VALUES:,} drawn" if drawn else _COUNTED.get(metric, "")


_QUALITY: Final[Mapping[str, str]] = {
    QualityState.GOOD: "nothing found",
    QualityState.WARNING: "suspicious",
    QualityState.BROKEN: "broken",
    QualityState.NO_DATA: "no data",
    QualityState.INSUFFICIENT: "too little data",
}
_SHARES: Final[Mapping[str, str]] = {
    Effect.KS_DISTANCE: "of values differ",
    Effect.TOTAL_VARIATION: "of values in another category",
    Effect.OUTCOME_DIFFERENCE: "change of the rate at the same inputs",
    Effect.OUTCOME_MOVEMENT: "change of the rate at the same inputs",
    Effect.UNSEEN_WORDS: "of words new beyond what is usual",
}
_NUMBERS: Final[Mapping[str, str]] = {
    Effect.AUC: "Cliff's delta",
    Effect.WASSERSTEIN: "mean distance moved",
    Effect.JENSEN_SHANNON: "Jensen-Shannon distance",
    Effect.PSI: "population stability index",
    Effect.CRAMERS_V: "Cramer's V",
}


def quality_said(state: str) -> str:
    """The words for a check of data, which is a `QualityState`'s name."""
    return _QUALITY.get(state, state)


_CHECKS: Final[Mapping[str, str]] = {
    QualityCheck.MISSING: "missing",
    QualityCheck.OUT_OF_RANGE: "out of range",
    QualityCheck.NEW_CATEGORIES: "new names",
    QualityCheck.CONSTANT: "constant",
    QualityCheck.DUPLICATES: "sent again",
    QualityCheck.LATE: "late",
}


def check_said(check: str) -> str:
    """The words for what was checked, which is a `QualityCheck`'s name."""
    return _CHECKS.get(check, check)


def checked_said(column: str | None, check: str) -> str:
    """`confidence missing`, or `events late` where it is of no field."""
    return f"{column or 'events'} {check_said(check)}"


def effect_said(effect: str, magnitude: float) -> str:
    """`at least 12.3 % of values differ`: a stored effect with its magnitude, from 0, in words."""
    if effect == Effect.VOLUME_RATIO:
        return f"{magnitude_said(effect, magnitude)} off what was expected"
    if effect in _SHARES:
        # The Kolmogorov-Smirnov distance is the least that can explain the difference.
        least = "at least " if effect == Effect.KS_DISTANCE and magnitude else ""
        return f"{least}{percent(magnitude)} {_SHARES[effect]}"
    return f"{_NUMBERS.get(effect, effect.replace('_', ' '))} {number(magnitude)}"


def magnitude_said(effect: str, magnitude: float) -> str:
    """The magnitude alone, as `effect_said` says it: `12.3 %`, `1.5 times` or `0.123`."""
    if effect == Effect.VOLUME_RATIO:
        return f"{number(1 + magnitude)} times" if math.isfinite(magnitude) else "endlessly far"
    return percent(magnitude) if effect in _SHARES else number(magnitude)


def matters_from(verdict: MetricVerdict) -> str:
    """`matters from 10 %`, and why, where the baseline itself asks for more than the rule does."""
    name, least, usual = verdict.effect_name, verdict.minimum_effect, verdict.usual_effect
    words = f"matters from {magnitude_said(name, least)}"
    if usual is None or not math.isclose(least, TIMES * usual):
        return words
    return f"{words}: twice the {magnitude_said(name, usual)} that the baseline varies by itself"


def days_said(days: SeveralWindows | None) -> str | None:
    """Whether the days of a baseline differ among themselves; None where that is not known."""
    if days is None or days.p_value is None or days.ks_distance is None:
        return None
    test = f"k-sample Anderson-Darling over {len(days.sizes)}, p {probability(days.p_value)}"
    if days.p_value > _SURE:
        return f"no difference shown between the days of the baseline ({test})"
    return (
        f"the days of the baseline differ among themselves ({test}), the furthest from the others"
        f" by {percent(days.ks_distance)} of values"
    )


_SURE: Final = 0.01
