"""Made-up people and companies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.evaluation.sites.chance import Chance

GIVEN_NAMES: Final = (
    "Ada", "Amir", "Anna", "Ben", "Bianca", "Carl", "Chloe", "Daniel", "Daria", "Elias", "Elena",
    "Emre", "Fiona", "Frank", "Grace", "Gustav", "Hana", "Hugo", "Ines", "Ivan", "Jana", "Jonas",
    "Julia", "Kai", "Karin", "Lars", "Leila", "Lucas", "Mara", "Marco", "Mina", "Nadia", "Nils",
    "Olga", "Omar", "Paula", "Peter", "Priya", "Quinn", "Rahel", "Ravi", "Rosa", "Samir", "Sara",
    "Simon", "Sofia", "Tessa", "Tom", "Uma", "Vera", "Victor", "Wanda", "Yusuf", "Zoe",
)  # fmt: skip
FAMILY_NAMES: Final = (
    "Abbott", "Alder", "Barros", "Becker", "Bergman", "Castillo", "Chen", "Cole", "Costa", "Dahl",
    "Dubois", "Eriksen", "Fabre", "Fischer", "Garcia", "Grant", "Haddad", "Hansen", "Hayes", "Ito",
    "Jansen", "Kaya", "Keller", "Klein", "Kovacs", "Lambert", "Larsen", "Lopez", "Marin", "Meyer",
    "Moreau", "Murphy", "Nakamura", "Novak", "Okafor", "Olsen", "Patel", "Petrov", "Quist", "Reyes",
    "Ricci", "Rossi", "Sato", "Schmidt", "Silva", "Singh", "Stein", "Tanaka", "Torres", "Ueda",
    "Vidal", "Vogel", "Walsh", "Weber", "Wood", "Young", "Zeman",
)  # fmt: skip
COMPANIES: Final = (
    "Alpine Metrics",
    "Bluefin Foods",
    "Cobalt Studio",
    "Delta Harbor",
    "Elm Street Dental",
    "Fjord Systems",
    "Granite Works",
    "Hollow Tree Books",
    "Indigo Travel",
    "Juniper Clinic",
    "Kestrel Robotics",
    "Lumen Energy",
    "Maple Logistics",
    "North Pier Media",
    "Orchid Labs",
    "Pioneer Glass",
)
HOME: Final = "Northgate"
"The company that the user works for."


@dataclass(frozen=True)
class Person:
    name: str
    email: str
    company: str

    @property
    def given(self) -> str:
        return self.name.split()[0]


def address(name: str, company: str) -> str:
    domain = company.lower().replace(" ", "")
    return f"{name.lower().replace(' ', '.')}@{domain}.example"


def people(chance: Chance, count: int, companies: tuple[str, ...]) -> list[Person]:
    """`count` people who share neither a given nor a family name, in companies by turns."""
    given = chance.some(GIVEN_NAMES, count)
    family = chance.some(FAMILY_NAMES, count)
    made = []
    for at in range(count):
        name, company = f"{given[at]} {family[at]}", companies[at % len(companies)]
        made.append(Person(name, address(name, company), company))
    return made
