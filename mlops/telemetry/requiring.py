"""What is asked of the arguments that a caller configures and reads with: one line says what."""

from __future__ import annotations

from typing import Final

_LONGEST_SHOWN: Final = 80
_LONGEST_NAME: Final = 200


def require_number(
    name: str, value: object, least: float, most: float, *, whole: bool = False
) -> None:
    """Raises TypeError for what is no number, and ValueError for one out of range."""
    expected = f"expected {least:,} to {most:,}"
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        what = "a whole number" if whole else "a number"
        raise TypeError(f"{name} is {_shown(value)}; {expected}, {what}")
    if not least <= value <= most:
        raise ValueError(f"{name} is {value}; {expected}")


def require_name(name: str, value: object) -> None:
    """Raises TypeError for what is neither a text nor None, and ValueError for an unfit text."""
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name} is {_shown(value)}; expected a text, or None")
    if len(value) > _LONGEST_NAME or not value.isprintable():
        raise ValueError(
            f"{name} is {_shown(value)}; expected at most {_LONGEST_NAME} printable characters"
        )


def _shown(value: object) -> str:
    """A value, or its type where it is long or cannot be shown."""
    try:
        shown = repr(value)
    except Exception:  # noqa: BLE001 (of whatever the caller has passed)
        shown = ""
    return shown if 0 < len(shown) <= _LONGEST_SHOWN else f"of type {type(value).__name__}"
