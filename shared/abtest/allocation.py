"""How the units are shared among the variants: as the author said, or by what the variants do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

LEAST_SHARE: Final = 0.05
"Of each variant, unless the author says another: a variant that gets nobody shows nothing."
LEAST_MOVE: Final = 0.01
"A change of all weights by less is not worth the units of a sticky test that it moves."

_PARTS: Final = 1_000
"Weights are whole parts of so many, so that they sum to 1."


class Allocation(StrEnum):
    FIXED = "fixed"
    "The weights change only when somebody changes them."
    THOMPSON = "thompson"
    "The weights follow the probability that each variant is the best, every hour."


def thompson_weights(
    best: Mapping[str, float], least_share: float = LEAST_SHARE
) -> dict[str, float]:
    """Weights by the probability of each variant to be the best, none below `least_share`.

    To draw a variant with this probability is Thompson sampling (W. R. Thompson, Biometrika 25,
    1933, 285-294); here for all units of an hour at once. What the least shares leave is shared
    by it. Weights are thousandths that sum to 1. ValueError for probabilities that do not sum to
    1, and unless all the least shares together are at most 1.
    """
    if any(not 0 <= one <= 1 for one in best.values()) or not math.isclose(
        math.fsum(best.values()), 1, abs_tol=1e-6
    ):
        raise ValueError(f"probabilities {dict(best)}; expected some that sum to 1")
    require_least_share(least_share, len(best))
    least = min(math.ceil(round(least_share * _PARTS, 6)), _PARTS // len(best))
    left = _PARTS - least * len(best)
    exact = {name: left * probability for name, probability in best.items()}
    parts = {name: math.floor(share) for name, share in exact.items()}
    missing = left - sum(parts.values())
    for name in sorted(exact, key=lambda one: parts[one] - exact[one])[:missing]:
        parts[name] += 1
    return {name: (least + part) / _PARTS for name, part in parts.items()}


def require_least_share(least_share: float, variants: int) -> None:
    """ValueError unless all the least shares together are at most 1."""
    if not 0 <= least_share * variants <= 1 + 1e-9:
        raise ValueError(
            f"least share {least_share:g} of {variants} variants; expected 0 to {1 / variants:.4g}"
        )


def require_least_weights(weights: Mapping[str, float], least_share: float) -> None:
    """ValueError unless each variant has the least share, which `require_least_share` takes."""
    require_least_share(least_share, len(weights))
    # `thompson_weights` gives thousandths: of three variants that have a third at least, 0.333.
    least = min(least_share, _PARTS // len(weights) / _PARTS)
    for name, weight in weights.items():
        if weight < least - 1e-9:
            raise ValueError(
                f"weight {weight:g} of {name!r}; where the weights follow the results expected the"
                f" least share or more, {least_share:g}"
            )


def is_worth_moving(weights: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    """Whether any weight would change by `LEAST_MOVE` or more."""
    return any(abs(wanted[name] - weight) >= LEAST_MOVE - 1e-9 for name, weight in weights.items())
