"""Sums over units whose values a test has at hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.abtest.inference.estimates import Moments


def of_values(y: npt.ArrayLike, x: npt.ArrayLike | None = None) -> Moments:
    """Of the units' values, 1-D."""
    ys = np.asarray(y, dtype=np.float64)
    xs = np.zeros_like(ys) if x is None else np.asarray(x, dtype=np.float64)
    assert ys.shape == xs.shape == (ys.size,)
    if not ys.size:
        return Moments(0, 0.0, 0.0)
    dy, dx = ys - ys.mean(), xs - xs.mean()
    products = (float(one @ two) for one, two in ((dy, dy), (dx, dx), (dx, dy)))
    yy, xx, xy = products
    return Moments(ys.size, float(ys.mean()), yy, float(xs.mean()), xx, xy)


def of_share(successes: int, n: int) -> Moments:
    """Of units with one trial each."""
    middle = successes / n if n else 0.0
    return Moments(n, middle, successes * (1 - middle), 1.0 if n else 0.0)
