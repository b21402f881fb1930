"""When a call that failed is tried again, and how long after. Pure but for the lot it draws."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

MOST_ASKED_SECONDS: Final = 120.0
"A server that asks for a longer wait is not waited for."
_FIRST_SECONDS: Final = 0.5
_MOST_SECONDS: Final = 8.0


def is_transient(status: int, headers: Mapping[str, str], code: str | None) -> bool:
    """Whether the same request may do better later, by its status and what the server says."""
    said = headers.get("x-should-retry")
    if said in ("true", "false"):
        return said == "true"
    if code == "insufficient_quota":
        return False
    return status in (408, 409, 425, 429) or status >= 500


def pause(failures: int, headers: Mapping[str, str]) -> float:
    """Seconds to wait after `failures` failures in a row: what the server asks for, else backoff.

    Half a second, doubled each time up to 8, less a random quarter so that many do not come back
    as one.
    """
    asked = asked_seconds(headers)
    if asked is not None:
        return asked
    return min(_FIRST_SECONDS * 2.0 ** (failures - 1), _MOST_SECONDS) * (1 - random.random() / 4)


def asked_seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: `retry-after-ms`, else `retry-after` in seconds or as a
    date (RFC 9110, 10.2.3); None where it asks for nothing."""
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / divisor
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    try:
        return max(
            parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time(), 0
        )
    except (ValueError, OverflowError):
        return None
