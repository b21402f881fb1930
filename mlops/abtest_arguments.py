"""What `mlops ab ...` is told, read: variants, weights and JSON. A mistake is one of usage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mlops.console import Exit, complain


def variant_of(text: str, equal: float) -> dict[str, Any]:
    """`NAME`, `NAME:WEIGHT` or `NAME=MODEL:WEIGHT`; without a weight it is `equal`."""
    name, equals, model = text.partition("=")
    rest = model if equals else name
    # The last colon: a model's name may have some of its own.
    before, colon, weight = rest.rpartition(":")
    if not colon and not equals:
        before, weight = rest, str(equal)
    try:
        if not (name and before and weight):
            raise ValueError
        share = float(weight)
    except ValueError:
        raise complain(
            f"variant {text[:200]!r} is not NAME=MODEL:WEIGHT, such as control=my-agent:0.5, nor"
            " NAME:WEIGHT or NAME",
            Exit.USAGE,
        ) from None
    if equals:
        return {"name": name, "model": before, "weight": share}
    return {"name": before, "model": None, "weight": share}


def weights_of(given: Sequence[str]) -> dict[str, float]:
    """`NAME:WEIGHT` of each variant, once."""
    found: dict[str, float] = {}
    for name, weight in map(_weight, given):
        if name in found:
            raise complain(f"variant {name[:200]!r} is given two weights", Exit.USAGE)
        found[name] = weight
    return found


def _weight(text: str) -> tuple[str, float]:
    """`NAME:WEIGHT`."""
    name, _, weight = text.rpartition(":")
    try:
        if not name:
            raise ValueError
        return name, float(weight)
    except ValueError:
        raise complain(
            f"weight {text[:200]!r} is not NAME:WEIGHT, such as control:0.2", Exit.USAGE
        ) from None


def rules_of_a_new_test(text: str) -> dict[str, Any]:
    """`--rules`, without what the command has words of its own for."""
    rules = json_object("--rules", text)
    for key, said_by in _SAID_OTHERWISE.items():
        if key in rules:
            raise complain(f"--rules has {key!r}, which is said by {said_by}", Exit.USAGE)
    return rules


_SAID_OTHERWISE = {
    "name": "the argument NAME",
    "environment": "--environment",
    "variants": "--variant",
    "success_metric": "--metric",
}


def json_object(option: str, text: str) -> dict[str, Any]:
    """The JSON object of an option."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise complain(f"{option} {text[:100]!r} is nested too deeply", Exit.USAGE) from None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise complain(f"{option} {text[:100]!r} is no JSON object", Exit.USAGE)
    return value
