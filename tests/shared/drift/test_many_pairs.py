from __future__ import annotations

import numpy as np
import pytest

from shared.drift.comparison import Comparison, compare
from shared.drift.many_pairs import AT_ONCE, compare_all
from shared.drift.window_pair import WindowPair
from shared.telemetry.histograms import LARGEST_VALUE, Histogram


def drawn(rng: np.random.Generator) -> tuple[Histogram, Histogram]:
    """Windows of any size, some tied heavily, some with a value far out, some with few values."""
    kind, sizes = rng.integers(5), 1 + np.rint(rng.lognormal(4, 1.5, 2)).astype(int)
    shift = rng.choice([1.0, 1.0, 1.5])
    if kind == 0:
        values = [rng.integers(0, 3, size) for size in sizes]
    elif kind == 1:
        values = [np.rint(rng.lognormal(7, 0.5, sizes[0])), np.rint(rng.lognormal(7, 2, sizes[1]))]
    elif kind == 2:
        values = [np.append(np.full(size, 5), [6, LARGEST_VALUE]) for size in sizes]
    elif kind == 3:
        values = [np.full(size, 7) for size in sizes]
    else:
        values = [np.rint(shift**n * rng.gamma(4, 50, s)) for n, s in enumerate(sizes)]
    old, new = (Histogram.from_values(one) for one in values)
    return old, new


def same(found: Comparison, expected: Comparison) -> None:
    assert (found.n_baseline, found.n_current, found.reason) == (
        expected.n_baseline,
        expected.n_current,
        expected.reason,
    )
    for one, other in zip(found.tests, expected.tests, strict=True):
        assert (one.name, one.effect_name, one.reason) == (
            other.name,
            other.effect_name,
            other.reason,
        )
        for name in ("statistic", "p_value", "effect_size"):
            value, wanted = getattr(one, name), getattr(other, name)
            assert (value is None) == (wanted is None)
            if wanted is not None:
                assert value == pytest.approx(wanted, rel=1e-9, abs=1e-12), (one.name, name)
    for effect, size in found.effects.items():
        assert size == pytest.approx(expected.effects[effect], rel=1e-9, abs=1e-12)


def test_pairs_together_are_what_each_is_alone() -> None:
    rng = np.random.default_rng(5)
    pairs = [drawn(rng) for _ in range(3 * AT_ONCE)]
    pairs += [(Histogram.empty(), pairs[0][1]), (pairs[0][0], Histogram.empty())]
    pairs += [(Histogram.empty(), Histogram.empty())]
    huge = Histogram.from_counts([3, 9], [2**52, 2**51])
    pairs += [(huge, huge), (huge, pairs[0][1])]
    for pair, found in zip(pairs, compare_all(pairs), strict=True):
        same(found, compare(WindowPair.from_histograms(*pair)))


def test_no_pair_is_no_comparison() -> None:
    assert compare_all([]) == []
