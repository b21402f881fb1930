"""Money as it is told to people."""

from __future__ import annotations


def dollars(nanos: int | None) -> str:
    """Dollars with cents, and with more digits below ten cents; `unknown` for None."""
    if nanos is None:
        return "unknown"
    amount = nanos / 10**9
    return f"${amount:,.2f}" if abs(amount) >= 0.1 or not nanos else f"${amount:.3g}"
