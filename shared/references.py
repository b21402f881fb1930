"""What people may call a row: its name, its identifier, or the unique beginning of one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

import sqlalchemy as sa

_DIGITS: Final = 32
_FEWEST: Final = 4
"Digits of the beginning of an identifier: one or two are as likely a name."
_HEXADECIMAL: Final = frozenset("0123456789abcdef")

Rows = TypeVar("Rows", bound=sa.Select[Any])


def by_identifier(query: Rows, column: Any, reference: str) -> Rows:
    """At most two rows whose identifier begins with `reference`; none if that is no identifier,
    or fewer than four digits of one."""
    digits = reference.strip().lower().replace("-", "")
    if not (_FEWEST <= len(digits) <= _DIGITS and set(digits) <= _HEXADECIMAL):
        return query.where(sa.false())
    first, last = (UUID(digits.ljust(_DIGITS, end)) for end in "0f")
    return query.where(column.between(first, last)).limit(2)


def near(reference: str, names: Sequence[str], most: int = 5) -> str:
    """What may have been meant: the names near `reference`, else some of those there are."""
    if not names:
        return "there is none yet"
    alike = difflib.get_close_matches(reference[:200], names[:2000], n=most, cutoff=0.5)
    if alike:
        return f"near it: {', '.join(alike)}"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"there is: {', '.join(names[:most])}{more}"
