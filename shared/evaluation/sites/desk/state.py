"""What the back office knows, and what can be done in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from shared.evaluation.sites.people import COMPANIES, FAMILY_NAMES, GIVEN_NAMES

if TYPE_CHECKING:
    from shared.evaluation.sites.chance import Chance
    from shared.evaluation.sites.people import Person

PLANS: Final = ("Free", "Starter", "Pro", "Enterprise")
STATUSES: Final = ("Active", "Trial", "Suspended")
COUNTRIES: Final = ("Austria", "Belgium", "Canada", "Denmark", "France", "Ireland", "Spain")
PRIORITIES: Final = ("Low", "Normal", "High", "Urgent")
STATES: Final = ("Open", "Pending", "Closed")
_TOPICS: Final = (
    "Cannot log in",
    "Question on the invoice",
    "Export is empty",
    "Wrong address on receipt",
    "Slow report",
    "How do I add a colleague",
    "Webhook fails",
    "Cancel my subscription",
    "Mobile app crashes",
    "Import stops half-way",
)


class RefusedError(ValueError):
    """What was asked for cannot be done; the message is for the page."""


@dataclass
class Invoice:
    number: str
    issued: date
    amount: int
    "In cents."
    status: str


@dataclass
class Customer:
    id: int
    name: str
    email: str
    company: str
    plan: str
    status: str
    country: str
    joined: date
    spent: int
    "In cents."
    notes: str = ""
    invoices: tuple[Invoice, ...] = ()


@dataclass
class Ticket:
    id: int
    subject: str
    customer: int
    priority: str
    state: str
    assignee: str
    "Name of a colleague, empty for nobody."
    opened: date
    text: str
    comments: list[str] = field(default_factory=list)


@dataclass
class Desk:
    customers: dict[int, Customer]
    tickets: dict[int, Ticket]
    team: tuple[str, ...]
    api_key: str
    "Of the workspace, shown to administrators."

    def save(self, customer: Customer) -> None:
        """Put a new or changed customer in. Raises `RefusedError`."""
        if not customer.name:
            raise RefusedError("Please enter a name.")
        if customer.email.count("@") != 1 or "." not in customer.email.partition("@")[2]:
            raise RefusedError("Please enter a valid e-mail address.")
        for other in self.customers.values():
            if other.id != customer.id and other.email == customer.email:
                raise RefusedError(f"{other.name} already has this e-mail address.")
        self.customers[customer.id] = customer

    def next_customer(self) -> int:
        return max(self.customers) + 1


def make_desk(chance: Chance, staff: tuple[Person, ...], today: date) -> Desk:
    team = tuple(person.name for person in staff[:6])
    names = [f"{given} {family}" for given in GIVEN_NAMES for family in FAMILY_NAMES]
    customers: dict[int, Customer] = {}
    spent: set[int] = set()
    for at, name in enumerate(chance.some(names, 110)):
        company = chance.pick(COMPANIES)
        amount = chance.between(4_000, 990_000)
        while amount in spent:
            amount += 1
        spent.add(amount)
        number = 2001 + at
        customers[number] = Customer(
            id=number,
            name=name,
            email=f"{name.lower().replace(' ', '.')}@{company.lower().replace(' ', '')}.example",
            company=company,
            plan=chance.pick(PLANS),
            status=chance.pick(("Active", "Active", "Active", "Trial", "Suspended")),
            country=chance.pick(COUNTRIES),
            joined=today - timedelta(days=chance.between(5, 1400)),
            spent=amount,
            invoices=_invoices(chance, number, today),
        )
    tickets = {
        number: _ticket(chance, number, customers, team, today) for number in range(501, 571)
    }
    key = f"wk-{chance.code(6)}-{chance.code(6)}"
    return Desk(customers=customers, tickets=tickets, team=team, api_key=key)


def _invoices(chance: Chance, customer: int, today: date) -> tuple[Invoice, ...]:
    return tuple(
        Invoice(
            number=f"INV-{customer}-{at + 1}",
            issued=today - timedelta(days=30 * (at + 1) + chance.below(20)),
            amount=chance.between(1_900, 99_900),
            status=chance.pick(("Paid", "Paid", "Unpaid")),
        )
        for at in range(chance.between(4, 8))
    )


def _ticket(
    chance: Chance, number: int, customers: dict[int, Customer], team: tuple[str, ...], today: date
) -> Ticket:
    topic = chance.pick(_TOPICS)
    customer = chance.pick(list(customers))
    name = customers[customer].name
    return Ticket(
        id=number,
        subject=topic,
        customer=customer,
        priority=chance.pick(PRIORITIES),
        state=chance.pick(("Open", "Open", "Pending", "Closed")),
        assignee=chance.pick(("", *team)),
        opened=today - timedelta(days=chance.between(1, 60)),
        text=f"Hello,\n{topic.lower()} since {chance.between(2, 9)} days. Can you help?\n{name}",
    )
