"""Semantic versions, and which of two is newer (https://semver.org/spec/v2.0.0.html)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

LONGEST: Final = 64
"Characters; the specification sets no limit, a key in telemetry needs one."

# The expression that semver.org suggests ("Is there a suggested regular expression?"), with
# [0-9] for \d: Python's \d takes the digits of every script.
_SEMANTIC: Final = re.compile(
    r"(?P<major>0|[1-9][0-9]*)\.(?P<minor>0|[1-9][0-9]*)\.(?P<patch>0|[1-9][0-9]*)"
    r"(?:-(?P<prerelease>(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
    r"(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+(?P<build>[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?"
)

Identifier = tuple[int, int, str]


@dataclass(frozen=True, order=True)
class SemanticVersion:
    """Compares by precedence (section 11): build metadata does not count."""

    major: int
    minor: int
    patch: int
    is_release: bool
    "A version with a pre-release part comes before the one without."
    prerelease: tuple[Identifier, ...]
    "Numbers before words, numbers by value, words by ASCII, the shorter first."
    build: str = field(compare=False)


def parse_version(text: str) -> SemanticVersion:
    """`1.4.0`, `2.0.0-rc.1`, `1.0.0+build.5`. Raises ValueError, in one line, for others."""
    found = _SEMANTIC.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        raise ValueError(
            f"version {text[:LONGEST]!r} is not semantic: it must be like 1.0.0 or 1.0.0-rc.1,"
            f" at most {LONGEST} characters"
        )
    prerelease = found["prerelease"]
    return SemanticVersion(
        major=int(found["major"]),
        minor=int(found["minor"]),
        patch=int(found["patch"]),
        is_release=prerelease is None,
        prerelease=tuple(_identifier(part) for part in (prerelease or "").split(".") if part),
        build=found["build"] or "",
    )


def _identifier(part: str) -> Identifier:
    return (0, int(part), "") if part.isdigit() else (1, 0, part)
