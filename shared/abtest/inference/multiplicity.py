"""Several comparisons at once: each p-value raised, so that one wrong call in all is 5 %."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number, in the order they came in.

    S. Holm, Scandinavian Journal of Statistics 6 (1979), 65-70: whatever depends on what, the
    chance that any true null is rejected at alpha is alpha at most; also of always-valid p-values,
    at any time. ValueError for one outside of 0 to 1.
    """
    for p_value in p_values:
        if not 0 <= p_value <= 1:
            raise ValueError(f"p-value {p_value}; expected 0 to 1")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for left, place in zip(
        range(len(p_values), 0, -1),
        sorted(range(len(p_values)), key=p_values.__getitem__),
        strict=True,
    ):
        largest = max(largest, min(1.0, left * p_values[place]))
        adjusted[place] = largest
    return adjusted
