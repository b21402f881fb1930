"""Which tasks there are on the sites."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from shared.evaluation.sites.across import ACROSS
from shared.evaluation.sites.desk.tasks import DESK
from shared.evaluation.sites.mail.tasks import MAIL
from shared.evaluation.sites.shop.tasks import SHOP
from shared.evaluation.sites.stays.tasks import STAYS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.evaluation.protocol import Task
    from shared.evaluation.sites.problem import Blueprint


@cache
def blueprints() -> Mapping[str, Blueprint]:
    """How each task's problems are made, by the task's name."""
    kinds = (SHOP, STAYS, MAIL, DESK, ACROSS)
    return MappingProxyType({made.task.name: made for kind in kinds for made in kind.all})


def catalogue() -> dict[str, Task]:
    """Every task by its name, in the order of the catalogue."""
    return {name: blueprint.task for name, blueprint in blueprints().items()}
