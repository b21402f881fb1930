"""How a verdict on drift is said to people. What is stored, and JSON, keep the names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared.drift.quantities import number, percent
from shared.drift.verdicts import DriftState

# A test that finds nothing has not shown that there is nothing.
_SAID: Final[Mapping[str, str]] = {
    DriftState.STABLE: "no drift shown",
    DriftState.WARNING: "slight drift",
    DriftState.DRIFT: "drift",
    DriftState.NO_DATA: "no data",
    DriftState.INSUFFICIENT: "too little data",
}


def said(verdict: str) -> str:
    """The words for a stored verdict, which is a `DriftState`'s name."""
    return _SAID.get(verdict, verdict)


_SHARES: Final[Mapping[str, str]] = {
    "ks_distance": "of values differ",
    "total_variation": "of values in another category",
    "outcome_difference": "change of the rate at the same inputs",
    "outcome_movement": "movement of the rate at the same inputs",
}
_NUMBERS: Final[Mapping[str, str]] = {
    "auc": "Cliff's delta",
    "wasserstein": "mean distance moved",
    "jensen_shannon": "Jensen-Shannon distance",
    "psi": "population stability index",
    "cramers_v": "Cramer's V",
}


def effect_said(effect: str, magnitude: float) -> str:
    """`at least 12.3 % of values differ`: a stored effect with its magnitude, from 0, in words."""
    if effect in _SHARES:
        # The Kolmogorov-Smirnov distance is the least that can explain the difference.
        least = "at least " if effect == "ks_distance" and magnitude else ""
        return f"{least}{percent(magnitude)} {_SHARES[effect]}"
    return f"{_NUMBERS.get(effect, effect.replace('_', ' '))} {number(magnitude)}"


def magnitude_said(effect: str, magnitude: float) -> str:
    """The magnitude alone, as `effect_said` says it: `12.3 %` or `0.123`."""
    return percent(magnitude) if effect in _SHARES else number(magnitude)
