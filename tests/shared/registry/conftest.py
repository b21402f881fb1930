from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sqlalchemy.orm import Session

from shared.registry.models import register
from shared.registry.tables import ModelVersion

Put = Callable[..., ModelVersion]


def accepted(agent: str, parameters: Mapping[str, Any]) -> None:
    """Takes every agent."""


@pytest.fixture
def put(session: Session) -> Put:
    """Register a version; keywords are its parameters."""

    def made(name: str = "walker", version: str = "1.0.0", **parameters: Any) -> ModelVersion:
        return register(session, name, version, "rule-based", parameters, check=accepted)

    return made
