"""The back office's pages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from shared.evaluation.sites.desk.state import (
    COUNTRIES,
    PLANS,
    PRIORITIES,
    STATES,
    STATUSES,
    Customer,
    RefusedError,
    Ticket,
)
from shared.evaluation.sites.visit import found, whole
from shared.evaluation.sites.world import TODAY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from werkzeug.wrappers import Response

    from shared.evaluation.sites.visit import Routes, Visit

_PAGE: Final = 20
_CUSTOMER_COLUMNS: Final = {
    "name": "Name",
    "company": "Company",
    "plan": "Plan",
    "status": "Status",
    "country": "Country",
    "joined": "Joined",
    "spent": "Spent",
}
_TICKET_COLUMNS: Final = {
    "id": "No.",
    "subject": "Subject",
    "priority": "Priority",
    "state": "State",
    "assignee": "Assignee",
    "opened": "Opened",
}
_FIELDS: Final = ("name", "email", "company", "plan", "status", "country", "notes")


def _sorted(visit: Visit, things: Iterable[Any], columns: Iterable[str]) -> list[Any]:
    """By the column that the query names; a minus before it turns the order round."""
    asked = visit.query("sort")
    column = asked.removeprefix("-")
    if column not in columns:
        return list(things)

    def key(thing: Any) -> Any:
        value = getattr(thing, column)
        return PRIORITIES.index(value) if column == "priority" else value

    return sorted(things, key=key, reverse=asked.startswith("-"))


def home(visit: Visit) -> Response:
    return visit.render("desk/home")


def customers(visit: Visit) -> Response:
    """The table of customers with its filters."""
    words = visit.query("q").casefold()
    kept = [
        customer
        for customer in visit.world.desk.customers.values()
        if words in f"{customer.name} {customer.email} {customer.company}".casefold()
        and all(
            visit.query(field) in ("", getattr(customer, field))
            for field in ("plan", "status", "country")
        )
        and (not visit.query("before") or customer.joined.isoformat() < visit.query("before"))
    ]
    return visit.render(
        "desk/customers",
        page=visit.page_of(_sorted(visit, kept, _CUSTOMER_COLUMNS), _PAGE),
        columns=_CUSTOMER_COLUMNS,
        plans=PLANS,
        statuses=STATUSES,
        countries=COUNTRIES,
    )


def change_customers(visit: Visit) -> Response:
    """Do one thing to all customers that are chosen."""
    saved = visit.world.desk.customers
    chosen = [whole(value) for value in visit.request.form.getlist("customer")]
    kind, _, value = visit.form("do").partition(":")
    for number in chosen:
        customer = found(saved, number)
        if kind == "status" and value in STATUSES:
            customer.status = value
        elif kind == "plan" and value in PLANS:
            customer.plan = value
        elif kind == "delete":
            del saved[number]
    return visit.go(_back(visit, "/desk/customers"), f"{len(chosen)} customers updated.")


def _back(visit: Visit, otherwise: str) -> str:
    back = visit.form("back")
    return back if back.startswith("/desk/") else otherwise


def customer(visit: Visit, number: int) -> Response:
    return visit.render("desk/customer", customer=found(visit.world.desk.customers, number))


def edit(visit: Visit, number: int) -> Response:
    """The form of a customer, 0 for a new one."""
    given = found(visit.world.desk.customers, number) if number else _blank(visit)
    return _form(visit, given, "")


def _blank(visit: Visit) -> Customer:
    return Customer(
        visit.world.desk.next_customer(), "", "", "", PLANS[0], STATUSES[0], "", TODAY, 0
    )


def _form(visit: Visit, given: Customer, error: str) -> Response:
    return visit.render(
        "desk/edit",
        400 if error else 200,
        given=given,
        known=given.id in visit.world.desk.customers,
        error=error,
        plans=PLANS,
        statuses=STATUSES,
        countries=COUNTRIES,
    )


def save(visit: Visit, number: int) -> Response:
    known = found(visit.world.desk.customers, number) if number else _blank(visit)
    given = replace(known, **{field: visit.form(field) for field in _FIELDS})
    given.notes = given.notes.replace("\r\n", "\n")
    choices = ((given.plan, PLANS), (given.status, STATUSES), (given.country, COUNTRIES))
    if any(value not in allowed for value, allowed in choices):
        return _form(visit, given, "Please choose a plan, a status and a country.")
    try:
        visit.world.desk.save(given)
    except RefusedError as refused:
        return _form(visit, given, str(refused))
    return visit.go(f"/desk/customers/{given.id}", f"{given.name} was saved.")


def delete(visit: Visit, number: int) -> Response:
    gone = found(visit.world.desk.customers, number)
    del visit.world.desk.customers[number]
    return visit.go("/desk/customers", f"{gone.name} was deleted.")


def tickets(visit: Visit) -> Response:
    """The table of tickets with its filters."""
    words = visit.query("q").casefold()
    kept = [
        ticket
        for ticket in visit.world.desk.tickets.values()
        if words in f"{ticket.id} {ticket.subject}".casefold()
        and all(
            visit.query(field) in ("", getattr(ticket, field)) for field in ("state", "priority")
        )
        and visit.query("assignee") in ("", ticket.assignee or "nobody")
    ]
    return visit.render(
        "desk/tickets",
        page=visit.page_of(_sorted(visit, kept, _TICKET_COLUMNS), _PAGE),
        columns=_TICKET_COLUMNS,
        states=STATES,
        priorities=PRIORITIES,
    )


def change_tickets(visit: Visit) -> Response:
    """Do one thing to all tickets that are chosen."""
    desk = visit.world.desk
    chosen = [whole(value) for value in visit.request.form.getlist("ticket")]
    kind, _, value = visit.form("do").partition(":")
    for number in chosen:
        ticket: Ticket = found(desk.tickets, number)
        if kind == "state" and value in STATES:
            ticket.state = value
        elif kind == "priority" and value in PRIORITIES:
            ticket.priority = value
        elif kind == "assign" and value in ("", *desk.team):
            ticket.assignee = value
    return visit.go(_back(visit, "/desk/tickets"), f"{len(chosen)} tickets updated.")


def ticket(visit: Visit, number: int) -> Response:
    return visit.render(
        "desk/ticket",
        ticket=found(visit.world.desk.tickets, number),
        states=STATES,
        priorities=PRIORITIES,
    )


def change_ticket(visit: Visit, number: int) -> Response:
    changed: Ticket = found(visit.world.desk.tickets, number)
    if visit.form("state") in STATES:
        changed.state = visit.form("state")
    if visit.form("priority") in PRIORITIES:
        changed.priority = visit.form("priority")
    if visit.form("assignee") in ("", *visit.world.desk.team):
        changed.assignee = visit.form("assignee")
    return visit.go(f"/desk/tickets/{number}", "The ticket was saved.")


def comment(visit: Visit, number: int) -> Response:
    commented: Ticket = found(visit.world.desk.tickets, number)
    if visit.form("comment"):
        commented.comments.append(visit.form("comment").replace("\r\n", "\n"))
    return visit.go(f"/desk/tickets/{number}", "Your comment was added.")


def settings(visit: Visit) -> Response:
    return visit.render("desk/settings")


ROUTES: Routes = (
    ("GET", "/desk", home),
    ("GET", "/desk/customers", customers),
    ("POST", "/desk/customers", change_customers),
    ("GET", "/desk/customers/<int:number>", customer),
    ("GET", "/desk/customers/<int:number>/edit", edit),
    ("POST", "/desk/customers/<int:number>/edit", save),
    ("POST", "/desk/customers/<int:number>/delete", delete),
    ("GET", "/desk/tickets", tickets),
    ("POST", "/desk/tickets", change_tickets),
    ("GET", "/desk/tickets/<int:number>", ticket),
    ("POST", "/desk/tickets/<int:number>", change_ticket),
    ("POST", "/desk/tickets/<int:number>/comments", comment),
    ("GET", "/desk/settings", settings),
)
