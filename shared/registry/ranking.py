"""Which of several versions is best, by weights that somebody sets, and without any. Pure.

The score is the weighted mean of three parts between 0 and 1. The part of success is the success
rate itself. The parts of cost and latency are ratios to the best, least / own: 1 for the cheapest
or fastest of those ranked, 0.5 for one that costs twice as much. A ratio keeps the order of two
versions that differ in nothing else whatever else is ranked, and needs no worst case that somebody
would have to choose.

The Pareto front needs no weights: a version is on it if no other is at least as good in all three
and better in one. Both are of point estimates: whether a difference is one is told by comparing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.references import near
from shared.registry.errors import RegistryError

WEIGHTS: Final[Mapping[str, float]] = {"success": 0.6, "cost": 0.2, "latency": 0.2}
"Of those who set none. The names are also the attributes of `Figures`."


@dataclass(frozen=True)
class Figures:
    """What was measured of a version; None is unknown."""

    name: str
    success: float | None
    "Share of the tasks."
    cost: float | None
    "Of a task, in any unit that all have."
    latency: float | None
    "Of a task, in any unit that all have."


@dataclass(frozen=True)
class Ranked:
    """A version with a score; `place` is the same for equal scores."""

    place: int
    name: str
    score: float
    parts: Mapping[str, float]
    "Of the metrics that have a weight, each before it is weighted."
    on_front: bool | None
    "Whether it is on the Pareto front; None where one of its three figures is unknown."
    dominated_by: tuple[str, ...]


@dataclass(frozen=True)
class Unranked:
    """A version that has no score, since these figures of it are unknown."""

    name: str
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    weights: Mapping[str, float]
    "They sum to 1."
    ranked: tuple[Ranked, ...]
    "The best first."
    unknown: tuple[Unranked, ...]

    @property
    def front(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.ranked if one.on_front)


def required_weights(given: Mapping[str, float] | None) -> Mapping[str, float]:
    """The weights scaled to a sum of 1; what is not named has none. Raises `RegistryError`."""
    if given is None:
        return WEIGHTS
    for name, weight in given.items():
        if name not in WEIGHTS:
            raise RegistryError(f"no weight {str(name)[:60]!r}; {near(str(name), list(WEIGHTS))}")
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise RegistryError(f"weight of {name} {weight!r:.60}: expected a number")
        if not (math.isfinite(weight) and weight >= 0):
            raise RegistryError(f"weight of {name} {weight!r:.60}: expected 0 or more, and finite")
    total = math.fsum(given.values())
    if not (math.isfinite(total) and total > 0):
        raise RegistryError("the weights sum to nothing that counts: give one of them more than 0")
    return {name: given.get(name, 0.0) / total for name in WEIGHTS}


def rank(figures: Sequence[Figures], weights: Mapping[str, float] | None = None) -> Ranking:
    """Rank versions; one without a figure that has a weight is unknown, and has no place.

    Raises `RegistryError` for weights that are none.
    """
    scaled = required_weights(weights)
    counted = tuple(name for name, weight in scaled.items() if weight > 0)
    lacking = {one.name: _lacking(one, counted) for one in figures}
    known = [one for one in figures if not lacking[one.name]]
    best = {
        name: min((float(getattr(one, name)) for one in known), default=0.0)
        for name in counted
        if name != "success"
    }
    whole = [one for one in figures if not _lacking(one, tuple(WEIGHTS))]
    parts = {one.name: {name: _part(one, name, best) for name in counted} for one in known}
    scores = {
        name: math.fsum(scaled[metric] * part for metric, part in of.items())
        for name, of in parts.items()
    }
    dominated = {
        one.name: tuple(other.name for other in whole if _dominates(other, one)) for one in whole
    }
    return Ranking(
        weights=scaled,
        ranked=tuple(
            Ranked(
                place=1 + sum(other > scores[one.name] for other in scores.values()),
                name=one.name,
                score=scores[one.name],
                parts=parts[one.name],
                on_front=not dominated[one.name] if one.name in dominated else None,
                dominated_by=dominated.get(one.name, ()),
            )
            for one in sorted(known, key=lambda one: (-scores[one.name], one.name))
        ),
        unknown=tuple(
            Unranked(one.name, lacking[one.name]) for one in figures if lacking[one.name]
        ),
    )


def _lacking(one: Figures, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if getattr(one, name) is None)


def _part(one: Figures, name: str, best: Mapping[str, float]) -> float:
    value = float(getattr(one, name))
    if name == "success":
        return value
    # Nothing is free or instant twice as much as something else.
    return 1.0 if value == best[name] else best[name] / value


def _dominates(other: Figures, one: Figures) -> bool:
    pairs = [
        (-(other.success or 0.0), -(one.success or 0.0)),
        (other.cost or 0.0, one.cost or 0.0),
        (other.latency or 0.0, one.latency or 0.0),
    ]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
