"""The stages of a model's version, and which moves between them there are. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from shared.references import near
from shared.registry.errors import RegistryError


class Stage(StrEnum):
    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"
    ARCHIVED = "archived"


# What has been in production is fixed, so it never becomes something that is worked on again. From
# the archive a version goes back to where it was: that is how a bad one is taken back.
MOVES: Final[Mapping[Stage, frozenset[Stage]]] = {
    Stage.DEVELOPMENT: frozenset({Stage.STAGING, Stage.PRODUCTION, Stage.ARCHIVED}),
    Stage.STAGING: frozenset({Stage.DEVELOPMENT, Stage.PRODUCTION, Stage.ARCHIVED}),
    Stage.PRODUCTION: frozenset({Stage.STAGING, Stage.ARCHIVED}),
    Stage.ARCHIVED: frozenset({Stage.DEVELOPMENT, Stage.STAGING, Stage.PRODUCTION}),
}

_NEXT: Final = {Stage.DEVELOPMENT: Stage.STAGING, Stage.STAGING: Stage.PRODUCTION}


def stage_of(text: str) -> Stage:
    """The stage of that name. Raises `RegistryError` that says which there are."""
    try:
        return Stage(text)
    except ValueError:
        stages = [stage.value for stage in Stage]
        raise RegistryError(f"no stage {str(text)[:60]!r}; {near(str(text), stages)}") from None


def target_of(text: str) -> Stage:
    """The stage that a version may be deployed to. Raises `RegistryError`."""
    target = stage_of(text)
    if target is Stage.ARCHIVED:
        raise RegistryError("the archive is no target of a deployment: archive the version instead")
    return target


def next_stage(stage: Stage) -> Stage:
    """Where promotion leads. Raises `RegistryError` where it leads nowhere."""
    if stage not in _NEXT:
        raise RegistryError(f"from {stage} there is no promotion: say which stage is meant")
    return _NEXT[stage]


def require_move(before: Stage, after: Stage, *, fixed: bool) -> None:
    """Raises `RegistryError` unless a version may go from `before` to `after`.

    `fixed` says whether it has ever been in production.
    """
    allowed = MOVES[before] - ({Stage.DEVELOPMENT} if fixed else set())
    if after not in allowed:
        listed = ", ".join(stage.value for stage in Stage if stage in allowed)
        why = (
            "it has been in production, and does not change any more"
            if after in MOVES[before]
            else f"it may go to {listed}"
        )
        raise RegistryError(f"a version in {before} cannot go to {after}: {why}")
