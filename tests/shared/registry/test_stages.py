from __future__ import annotations

import pytest

from shared.registry.errors import RegistryError
from shared.registry.stages import MOVES, Stage, next_stage, require_move, stage_of, target_of


def test_a_version_goes_from_development_by_staging_to_production() -> None:
    assert next_stage(Stage.DEVELOPMENT) is Stage.STAGING
    assert next_stage(Stage.STAGING) is Stage.PRODUCTION
    for stage in (Stage.PRODUCTION, Stage.ARCHIVED):
        with pytest.raises(RegistryError, match=f"from {stage} there is no promotion"):
            next_stage(stage)


def test_every_move_that_is_not_listed_is_refused_with_those_that_are() -> None:
    for before in Stage:
        for after in Stage:
            if after in MOVES[before]:
                require_move(before, after, fixed=False)
            else:
                with pytest.raises(RegistryError, match=f"a version in {before} cannot go to"):
                    require_move(before, after, fixed=False)
    with pytest.raises(RegistryError, match=r"it may go to staging, archived$"):
        require_move(Stage.PRODUCTION, Stage.DEVELOPMENT, fixed=True)


@pytest.mark.parametrize("before", [Stage.STAGING, Stage.ARCHIVED])
def test_what_has_been_in_production_is_never_developed_again(before: Stage) -> None:
    with pytest.raises(RegistryError, match="it has been in production, and does not change"):
        require_move(before, Stage.DEVELOPMENT, fixed=True)


def test_a_stage_that_is_none_names_what_is_near() -> None:
    with pytest.raises(RegistryError, match="no stage 'prodction'; near it: production"):
        stage_of("prodction")
    with pytest.raises(RegistryError, match="the archive is no target"):
        target_of("archived")
