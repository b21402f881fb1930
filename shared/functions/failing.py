"""Why a function has not answered, of a kind that a caller can act on. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from shared.functions.asking import Answered, Try


class Cause(StrEnum):
    """What stands between a request and its answer."""

    HARD_STOP = "hard_stop"
    "The tenant's own: nothing was asked, and asking again does not help."
    RATE_LIMITED = "rate_limited"
    "The endpoint refuses for too many requests, or for want of a quota."
    UNAVAILABLE = "unavailable"
    "The endpoint says so, or nobody else was let in to it in time."
    TIMEOUT = "timeout"
    BROKEN = "broken"
    "It cannot be reached, fails, refuses the request or the key, or talks nonsense."


_OF_THE_LAST_CALL: Final = {
    "http_429": Cause.RATE_LIMITED,
    "http_503": Cause.UNAVAILABLE,
    "http_408": Cause.TIMEOUT,
    "http_504": Cause.TIMEOUT,
    "timeout": Cause.TIMEOUT,
}


def cause_of(answered: Answered) -> Cause:
    """Why the last that was asked, the fallback if there is one, gave no answer."""
    last: Try = answered.tries[-1]
    if last.refused:
        return Cause.HARD_STOP
    if last.calls:
        return _OF_THE_LAST_CALL.get(last.calls[-1].error_type or "", Cause.BROKEN)
    # A key that is missing is for good; a place at the endpoint may be there a moment later.
    return Cause.BROKEN if last.permanent else Cause.UNAVAILABLE
