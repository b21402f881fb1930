from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from shared.abtest.assignment import AssignmentTable
from shared.abtest.definition import Rules, Variant
from shared.abtest.slots import allocate
from shared.abtest.states import AbStatus

TEST_ID = UUID(int=7)


@pytest.fixture
def table() -> Callable[..., AssignmentTable]:
    """Make a table of a running test with the rules that are given."""

    def make(
        *weights: float,
        status: AbStatus = AbStatus.RUNNING,
        name: str = "prompt",
        version: int = 2,
        **rules: Any,
    ) -> AssignmentTable:
        shares = weights or (0.5, 0.5)
        given = Rules.model_validate(rules)
        return AssignmentTable(
            test_id=TEST_ID,
            name=name,
            version=version,
            status=status,
            variants=tuple(
                Variant(name=letter, weight=share)
                for letter, share in zip("abcdefgh", shares, strict=False)
            ),
            rules=given,
            slots=allocate(shares, given.coverage),
            winner="b" if status is AbStatus.CONCLUDED else None,
        )

    return make
