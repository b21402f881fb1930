"""What names and values may be, so that they can be stored and shown. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from shared.tracking.errors import TrackingError

LONGEST_NAME: Final = 200
LONGEST_TEXT: Final = 1_000_000
"Characters of a message or a description."
LARGEST_VALUE: Final = 65_536
"Bytes of a param, a tag, a configuration or details, as JSON."
_INT8: Final = 2**63


def required_name(what: str, name: object) -> str:
    """`name` if it can be one: 1 to 200 printable characters, no space at either end."""
    if not isinstance(name, str):
        raise TrackingError(f"{what} {name!r:.60}: expected text, and this is {_kind(name)}")
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        shown = name if len(name) <= 60 else f"{name[:60]}..."
        raise TrackingError(
            f"{what} {shown!r}: expected 1 to {LONGEST_NAME} printable characters, with no space"
            f" at either end, and this has {len(name)}"
        )
    return name


def required_text(what: str, text: object) -> str:
    """`text` if it can be stored."""
    if not isinstance(text, str):
        raise TrackingError(f"{what}: expected text, and this is {_kind(text)}")
    if len(text) > LONGEST_TEXT:
        raise TrackingError(f"{what} has {len(text)} characters; at most {LONGEST_TEXT}")
    if "\x00" in text or not _is_utf_8(text):
        raise TrackingError(f"{what} holds a NUL or half of a character, which cannot be stored")
    return text


def required_values(what: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Named values as JSON gives them back. NaN and infinity become the text that says so."""
    if not isinstance(given, Mapping):
        raise TrackingError(f"{what}: expected names with values, and this is {_kind(given)}")
    stored = {required_name(what, name): _value(what, name, value) for name, value in given.items()}
    size = len(json.dumps(stored))
    if size > LARGEST_VALUE:
        raise TrackingError(f"{what}: {size} bytes as JSON; at most {LARGEST_VALUE}")
    return stored


def required_number(what: str, value: object) -> float:
    """`value` as a float; NaN and infinity are numbers too."""
    if isinstance(value, str | bytes):
        raise TrackingError(f"{what} {value!r:.60}: expected a number, and this is text")
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        raise TrackingError(f"{what}: the number is too large for a float") from None
    except (TypeError, ValueError):
        raise TrackingError(f"{what}: expected a number, and this is {_kind(value)}") from None


def required_step(step: object) -> int | None:
    if step is None:
        return None
    if isinstance(step, bool) or not hasattr(step, "__index__"):
        raise TrackingError(f"step {step!r:.60}: expected a whole number")
    whole = int(step.__index__())
    if not -_INT8 <= whole < _INT8:
        raise TrackingError(f"step {whole}: expected a whole number of 64 bits")
    return whole


def _value(what: str, name: str, value: object) -> Any:
    try:
        return json.loads(json.dumps(_said(value), allow_nan=False), parse_constant=str)
    except (TypeError, ValueError, RecursionError):
        raise TrackingError(
            f"{what} {name!r}: expected text, numbers, true, false, or lists and names of them,"
            f" and this is {_kind(value)}"
        ) from None


def _said(value: object) -> Any:
    """`value` with what JSON has no word for as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _said(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_said(one) for one in value]
    if isinstance(value, str):
        return required_text("a value", value)
    if hasattr(value, "item") and not isinstance(value, int | float):
        # A number of numpy.
        return _said(value.item())
    return value


def _is_utf_8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
