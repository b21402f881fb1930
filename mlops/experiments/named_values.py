"""NAME=VALUE as it is typed, and figures as they are shown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from mlops.console import print_json, say


def named_values(option: str, given: Sequence[str]) -> dict[str, Any]:
    """`lr=0.1` and `team=web`: what is JSON is taken as such, all else is text."""
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{text[:60]!r}: expected NAME=VALUE", param_hint=option)
        found[name] = _value(value)
    return found


def figure(value: float | None) -> str | None:
    """A number for people: six digits, and a word for what is none."""
    return None if value is None else f"{value:.6g}"


def plain_number(value: float | None) -> float | str | None:
    """A number for machines; JSON has no NaN and no infinity, so they are text."""
    return value if value is None or math.isfinite(value) else str(value)


def print_tags(tags: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(dict(tags))
    else:
        say(", ".join(f"{name}={value}" for name, value in tags.items()) or "no tags")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
