"""Figures as JSON has them: it knows no infinity, so an interval without an end has None there."""

from __future__ import annotations

import math
from typing import Any


def finite(value: Any) -> Any:
    """`value`, a tuple as a list, with None for each number in it that is not finite."""
    match value:
        case dict():
            return {key: finite(one) for key, one in value.items()}
        case list() | tuple():
            return [finite(one) for one in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
