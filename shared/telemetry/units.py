"""Units: whom or what an A/B test assigns, a user or a session. Stored is a digest, never the name.

A unit's identifier is its owner's own, often a mail address or an account. To count and to join
nothing but sameness is needed, so the identifier does not leave the process that has it.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final
from uuid import UUID

LONGEST_UNIT_ID: Final = 1_000
"Characters."


class UnitError(ValueError):
    """What is said to be a unit's identifier is none; the message is one line."""


def unit_digest(unit_id: str) -> UUID:
    """128 bits of BLAKE2b of the identifier's UTF-8 (RFC 7693), as a UUID.

    Of 10**9 units two are the same with a probability of 1.5e-21. Raises `UnitError` unless
    `unit_id` is 1 to 1,000 characters without NUL that UTF-8 can hold.
    """
    return UUID(bytes=blake2b(unit_bytes(unit_id), digest_size=16).digest())


def unit_bytes(unit_id: str) -> bytes:
    """The identifier in UTF-8. Raises `UnitError` as `unit_digest` does."""
    if not isinstance(unit_id, str):
        raise UnitError(f"unit id {str(unit_id)[:40]!r} is no text but {type(unit_id).__name__}")
    try:
        encoded = unit_id.encode()
    except UnicodeEncodeError:
        encoded = b""
    if not 1 <= len(unit_id) <= LONGEST_UNIT_ID or "\x00" in unit_id or not encoded:
        raise UnitError(
            f"unit id {unit_id[:40]!r} of {len(unit_id)} characters: it must be 1 to"
            f" {LONGEST_UNIT_ID} characters without NUL, which UTF-8 can hold"
        )
    return encoded
