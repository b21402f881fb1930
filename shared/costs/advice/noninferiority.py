"""How much worse another model may be at most: one-sided bounds of the loss of success.

The loss is the base's success rate minus the other one's. Another model is as good for the purpose
when the bound is below a margin that was chosen beforehand. A difference that is merely not
significant shows nothing of the kind: it is so of any two models that were tried rarely enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from shared.evaluation.intervals import wilson
from shared.evaluation.results.clustering import Cluster, clustered_mean, student_quantile

CONFIDENCE: Final = 0.95
"One-sided."
_BOTH_SIDES: Final = 2 * CONFIDENCE - 1
_BISECTIONS: Final = 50


def paired_loss_bounds(differences: Sequence[Sequence[int]]) -> tuple[float, float] | None:
    """The least and the most loss, each at 95 % one-sided, of pairs that come in tasks.

    `differences` are of one task each: 1 where only the base succeeded, -1 where only the other
    one did, else 0. None for fewer than two tasks.

    Score bounds of T. Tango (Statistics in Medicine 17 (1998), 891-908), which hold for
    pairs that seldom differ and are z**2 / (n + z**2) where none does, with as many pairs as those
    of clustered tasks are worth and Student's quantile, as `results.clustering.rate_interval` has
    it for a rate. Where the pairs show no spread, each task counts as one.
    """
    found = clustered_mean([Cluster(sum(values), len(values)) for values in differences])
    if found is None:
        return None
    n = found.n
    lost = sum(value > 0 for values in differences for value in values)
    gained = sum(value < 0 for values in differences for value in values)
    spread = (lost + gained) / n - found.mean**2
    if spread <= 0:
        worth = float(found.clusters)
    elif found.variance <= spread / n:
        worth = float(n)
    else:
        worth = spread / found.variance
    z = student_quantile(found.degrees, _BOTH_SIDES)
    share = worth / n
    most = _tango_upper(lost * share, gained * share, worth, z)
    return -_tango_upper(gained * share, lost * share, worth, z), most


def split_loss_bounds(
    base_successes: int, base_n: int, other_successes: int, other_n: int
) -> tuple[float, float]:
    """The least and the most loss, each at 95 % one-sided, of two groups of independent trials.

    R. G. Newcombe, Statistics in Medicine 17 (1998), 873-890, method 10, with 90 % on both sides.
    ValueError if a group has no trials.
    """
    base = wilson(base_successes, base_n, _BOTH_SIDES)
    other = wilson(other_successes, other_n, _BOTH_SIDES)
    if base is None or other is None:
        raise ValueError(f"{base_n} and {other_n} trials; expected at least 1 in each group")
    p_base, p_other = base_successes / base_n, other_successes / other_n
    loss = p_base - p_other
    return (
        loss - math.hypot(p_base - base.low, other.high - p_other),
        loss + math.hypot(base.high - p_base, p_other - other.low),
    )


def _tango_upper(lost: float, gained: float, n: float, z: float) -> float:
    """The difference above the observed one whose score statistic is -z, by bisection."""
    low, high = (lost - gained) / n, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _tango_score(lost, gained, n, middle) > -z:
            low = middle
        else:
            high = middle
    return high


def _tango_score(lost: float, gained: float, n: float, difference: float) -> float:
    # The likeliest share of gained pairs, given the difference (Tango 1998).
    a = 2 * n
    b = -lost - gained + (2 * n - lost + gained) * difference
    c = -gained * difference * (1 - difference)
    gained_share = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * gained_share + difference * (1 - difference))
    if variance <= 0:
        return -math.inf if lost - gained < n * difference else math.inf
    return (lost - gained - n * difference) / math.sqrt(variance)
