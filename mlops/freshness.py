"""As of when a report is, in a line for people and as JSON has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops.console import say

if TYPE_CHECKING:
    from shared.costs.freshness import Freshness


def described(found: Freshness) -> dict[str, Any]:
    """The keys that every report has beside its own."""
    return {
        "as_of": found.as_of,
        "summed_at": found.summed_at,
        "unsummed_hours": found.unsummed_hours,
        "oldest_unsummed_hour": found.oldest_unsummed,
        "waiting_batches": found.waiting_batches,
    }


def tell(found: Freshness) -> None:
    """`as of 2026-11-20 14:31 UTC, ...`: what is summed, and what is not yet."""
    parts = [f"as of {found.as_of:%Y-%m-%d %H:%M} UTC"]
    if found.summed_at is None:
        parts.append("nothing was summed yet")
    else:
        parts.append(f"summed last at {found.summed_at:%Y-%m-%d %H:%M}")
    if found.oldest_unsummed is not None:
        hours = "1 hour is" if found.unsummed_hours == 1 else f"{found.unsummed_hours:,} hours are"
        parts.append(f"{hours} not summed yet, the oldest {found.oldest_unsummed:%Y-%m-%d %H:%M}")
    if found.waiting_batches:
        one = found.waiting_batches == 1
        parts.append(
            f"{found.waiting_batches:,} batch{' waits' if one else 'es wait'} to be stored"
        )
    say("; ".join(parts))
