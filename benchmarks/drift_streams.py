"""Streams whose changes are known to the observation, because they are made here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LENGTH = 10_000
EVERY = 1_000
"Observations between two changes, on average."
STRAY = 200
"A change comes up to so many later than at a multiple of `EVERY`, so that no habit meets it."
GRADUAL = 200
"Observations that a gradual change takes."
MEMORY = 0.5
"Correlation of neighbours where there is one."

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Stream:
    values: Floats
    changes: tuple[int, ...]
    "Where each change begins; none where nothing changes."


def streams(seed: int) -> Mapping[str, Stream]:
    """Changes go to and fro: up by one standard deviation, twice the spread, errors of 5 and 15 %.

    Those without changes are independent and normal, independent and lognormal, and correlated.
    """
    rng = np.random.default_rng(seed)
    changes = tuple(at + int(rng.integers(STRAY)) for at in range(EVERY, LENGTH, EVERY))
    moved = (np.searchsorted(changes, np.arange(LENGTH), side="right") % 2).astype(np.float64)
    ramp = np.convolve(np.pad(moved, (GRADUAL - 1, 0)), np.full(GRADUAL, 1 / GRADUAL), "valid")
    noise = [rng.normal(size=LENGTH) for _ in range(5)]
    correlated = np.empty(LENGTH)
    correlated[0] = noise[4][0]
    for at in range(1, LENGTH):
        step = noise[4][at] * np.sqrt(1 - MEMORY**2)
        correlated[at] = MEMORY * correlated[at - 1] + step
    return {
        "abrupt": Stream(noise[0] + moved, changes),
        "gradual": Stream(noise[1] + ramp, changes),
        "spread": Stream(noise[2] * (1 + moved), changes),
        "errors": Stream((rng.random(LENGTH) < 0.05 + 0.1 * moved).astype(np.float64), changes),
        "noise": Stream(noise[3], ()),
        "skewed": Stream(np.exp(rng.normal(size=LENGTH)), ()),
        "correlated": Stream(correlated, ()),
    }
