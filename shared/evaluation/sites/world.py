"""Everything that the sites of one episode know, made from the seed when it is first asked for."""

from __future__ import annotations

from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Final

from shared.evaluation.sites.chance import Chance
from shared.evaluation.sites.comparing import differences
from shared.evaluation.sites.desk.state import Desk, make_desk
from shared.evaluation.sites.mail.state import Mail, make_mail
from shared.evaluation.sites.people import HOME, Person, people
from shared.evaluation.sites.shop.state import Shop, make_shop
from shared.evaluation.sites.stays.state import Stays, make_stays

if TYPE_CHECKING:
    from collections.abc import Iterator

TODAY: Final = date(2024, 3, 13)
"The day at which the clock of every page stands."

_SITES: Final = ("shop", "stays", "mail", "desk")


class World:
    """The state of the four sites. A site that nobody looks at is never made."""

    def __init__(self, *key: object) -> None:
        self._key = key

    def _chance(self, subject: str) -> Chance:
        return Chance(*self._key, subject)

    @cached_property
    def staff(self) -> tuple[Person, ...]:
        """The user, and after them the colleagues."""
        return tuple(people(self._chance("staff"), 9, (HOME,)))

    @property
    def user(self) -> Person:
        return self.staff[0]

    @cached_property
    def shop(self) -> Shop:
        return make_shop(self._chance("shop"), self.user, TODAY)

    @cached_property
    def stays(self) -> Stays:
        return make_stays(self._chance("stays"), self.user, TODAY)

    @cached_property
    def mail(self) -> Mail:
        return make_mail(self._chance("mail"), self.staff, TODAY)

    @cached_property
    def desk(self) -> Desk:
        return make_desk(self._chance("desk"), self.staff, TODAY)

    def differences(self, actual: World) -> Iterator[str]:
        """What is not in `actual` as it is here, one line each."""
        for site in _SITES:
            if site in self.__dict__ or site in actual.__dict__:
                yield from differences(getattr(self, site), getattr(actual, site), site)
