"""The hotel site's pages."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final

from shared.evaluation.sites.stays.state import (
    AMENITIES,
    ARRIVALS,
    CITIES,
    EXTRAS,
    PAYMENTS,
    REASONS,
    ROOMS,
    Hotel,
    RefusedError,
    Wish,
)
from shared.evaluation.sites.visit import found, whole
from shared.evaluation.sites.world import TODAY

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

    from shared.evaluation.sites.visit import Routes, Visit

_ORDERS: Final = {
    "": ("Our picks", lambda hotel: hotel.name),
    "price": ("Price: low to high", lambda hotel: hotel.rooms["Standard Double"]),
    "score": ("Guest score", lambda hotel: (-hotel.score, hotel.name)),
    "distance": ("Distance from centre", lambda hotel: (hotel.distance, hotel.name)),
}
_STEPS: Final = ("room", "guest", "extras", "payment", "review")


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def start(visit: Visit) -> Response:
    return visit.render("stays/start", cities=CITIES, given=visit.draft("search"), errors={})


def _search(visit: Visit) -> dict[str, str]:
    """What is wrong with the search that was sent, by field; without mistakes it is kept."""
    given = {
        name: visit.query(name) for name in ("city", "check_in", "check_out", "adults", "children")
    }
    first, last = _date(given["check_in"]), _date(given["check_out"])
    errors = {}
    if given["city"] not in CITIES:
        errors["city"] = "Please choose a city."
    if first is None or first < TODAY:
        errors["check_in"] = "Please enter a check-in date that is not in the past."
    if last is None or (first is not None and not 0 < (last - first).days <= 21):
        errors["check_out"] = "Please enter a check-out date 1 to 21 nights after check-in."
    if not 1 <= whole(given["adults"]) <= 5:
        errors["adults"] = "Please enter 1 to 5 adults."
    if not 0 <= whole(given["children"]) <= 4:
        errors["children"] = "Please enter 0 to 4 children."
    if not errors:
        visit.draft("search").update(given)
    return errors


def results(visit: Visit) -> Response:
    errors = _search(visit)
    if errors:
        given = visit.request.args
        return visit.render("stays/start", 400, cities=CITIES, given=given, errors=errors)
    wanted = set(visit.request.args.getlist("amenity"))
    hotels = [
        hotel
        for hotel in visit.world.stays.in_city(visit.query("city"))
        if wanted <= hotel.amenities and hotel.stars >= whole(visit.query("stars"))
    ]
    order = visit.query("sort") if visit.query("sort") in _ORDERS else ""
    hotels.sort(key=_ORDERS[order][1])
    return visit.render(
        "stays/results",
        hotels=hotels,
        amenities=AMENITIES,
        wanted=wanted,
        nights=_nights(visit.draft("search")),
        orders={key: name for key, (name, _) in _ORDERS.items()},
    )


def _nights(search: dict[str, str]) -> int:
    return (date.fromisoformat(search["check_out"]) - date.fromisoformat(search["check_in"])).days


def hotel(visit: Visit, name: str, error: str = "") -> Response:
    shown: Hotel = found(visit.world.stays.hotels, name)
    search = visit.draft("search")
    return visit.render(
        "stays/hotel",
        400 if error else 200,
        hotel=shown,
        rooms=ROOMS,
        search=search,
        nights=_nights(search) if search else 1,
        error=error,
    )


def choose(visit: Visit, name: str) -> Response:
    """Begin to book a room."""
    shown = found(visit.world.stays.hotels, name)
    search = visit.draft("search")
    room = visit.form("room")
    if not search:
        return hotel(visit, name, "Please search with your dates first.")
    if room not in shown.rooms:
        return hotel(visit, name, "Please choose a room.")
    if whole(search["adults"]) + whole(search["children"]) > ROOMS[room]:
        return hotel(visit, name, f"The {room} sleeps {ROOMS[room]}; choose a bigger room.")
    visit.session.drafts["booking"] = {"room": room, "hotel": name, **search}
    return visit.go("/stays/book/guest")


def book(visit: Visit, step: str, errors: dict[str, str] | None = None) -> Response:
    found(dict.fromkeys(_STEPS[1:]), step)
    draft = visit.draft("booking")
    for earlier in _STEPS[: _STEPS.index(step)]:
        if earlier not in draft:
            return visit.go("/stays" if earlier == "room" else f"/stays/book/{earlier}")
    wish = _wish(draft) if step == "review" else None
    return visit.render(
        f"stays/book_{step}",
        400 if errors else 200,
        draft=draft,
        given=visit.request.form or draft,
        errors=errors or {},
        hotel=visit.world.stays.hotels[draft["hotel"]],
        wish=wish,
        total=_total(visit, wish) if wish else 0,
        extras=EXTRAS,
        arrivals=ARRIVALS,
        payments=PAYMENTS,
    )


def _total(visit: Visit, wish: Wish) -> int:
    nights = (wish.check_out - wish.check_in).days
    guests = wish.adults + wish.children
    return visit.world.stays.price(wish.hotel, wish.room, nights, guests, wish.extras)


def _wish(draft: dict[str, str]) -> Wish:
    return Wish(
        hotel=draft["hotel"],
        room=draft["room"],
        check_in=date.fromisoformat(draft["check_in"]),
        check_out=date.fromisoformat(draft["check_out"]),
        adults=int(draft["adults"]),
        children=int(draft["children"]),
        guest=draft["guest"],
        email=draft["email"],
        phone=draft["phone"],
        extras=frozenset(filter(None, draft["chosen"].split(","))),
        arrival=draft["arrival"],
        requests=draft["requests"],
        payment=draft["payment"],
    )


def fill_in(visit: Visit, step: str) -> Response:
    draft = visit.draft("booking")
    found(dict.fromkeys(_STEPS[1:]), step)
    if "room" not in draft:
        return visit.go("/stays")
    if step == "guest":
        errors = {
            name: f"Please enter {text}."
            for name, text in (("guest", "a name"), ("phone", "a phone number"))
            if not visit.form(name)
        }
        if visit.form("email").count("@") != 1:
            errors["email"] = "Please enter a valid e-mail address."
        if errors:
            return book(visit, step, errors)
        draft.update({name: visit.form(name) for name in ("guest", "email", "phone")})
        return visit.go("/stays/book/extras")
    if step == "extras":
        if visit.form("arrival") not in ARRIVALS:
            return book(visit, step, {"arrival": "Please choose when you arrive."})
        draft["chosen"] = ",".join(x for x in EXTRAS if x in visit.request.form.getlist("extra"))
        draft.update(
            {"arrival": visit.form("arrival"), "requests": visit.form("requests"), "extras": "yes"}
        )
        return visit.go("/stays/book/payment")
    if step == "payment":
        if visit.form("payment") not in PAYMENTS:
            return book(visit, step, {"payment": "Please choose how to pay."})
        if visit.form("payment") == "points" and visit.form("pin") != visit.world.stays.pin:
            return book(visit, step, {"pin": "This is not the PIN of your points wallet."})
        draft["payment"] = visit.form("payment")
        return visit.go("/stays/book/review")
    return _confirm(visit, step)


def _confirm(visit: Visit, step: str) -> Response:
    draft = visit.draft("booking")
    if any(earlier not in draft for earlier in _STEPS[:-1]):
        return visit.go("/stays/book/guest")
    if not visit.form("terms"):
        return book(visit, step, {"terms": "Please accept the conditions."})
    try:
        made = visit.world.stays.book(_wish(draft), TODAY)
    except RefusedError as refused:
        return book(visit, step, {"terms": str(refused)})
    draft.clear()
    path = f"/stays/bookings/{made.reference}"
    return visit.go(path, f"Your stay is booked. Your reference is {made.reference}.")


def bookings(visit: Visit) -> Response:
    return visit.render("stays/bookings")


def booking(visit: Visit, reference: str, error: str = "") -> Response:
    return visit.render(
        "stays/booking",
        400 if error else 200,
        booking=found(visit.world.stays.bookings, reference),
        extras=EXTRAS,
        payments=PAYMENTS,
        arrivals=ARRIVALS,
        reasons=REASONS,
        error=error,
    )


def change(visit: Visit, reference: str, what: str) -> Response:
    stays = visit.world.stays
    found(stays.bookings, reference)
    found(dict.fromkeys(("dates", "details", "cancel")), what)
    try:
        if what == "dates":
            first, last = _date(visit.form("check_in")), _date(visit.form("check_out"))
            if first is None or last is None:
                return booking(visit, reference, "Please enter both dates.")
            stays.move(reference, first, last, TODAY)
        elif what == "details":
            arrival = visit.form("arrival")
            arrival = arrival if arrival in ARRIVALS else ARRIVALS[0]
            stays.update(reference, visit.form("phone"), arrival, visit.form("requests"))
        else:
            stays.cancel(reference, visit.form("reason"))
    except RefusedError as refused:
        return booking(visit, reference, str(refused))
    return visit.go(f"/stays/bookings/{reference}", "Your booking was updated.")


def profile(visit: Visit) -> Response:
    return visit.render("stays/profile")


ROUTES: Routes = (
    ("GET", "/stays", start),
    ("GET", "/stays/results", results),
    ("GET", "/stays/hotels/<name>", hotel),
    ("POST", "/stays/hotels/<name>", choose),
    ("GET", "/stays/book/<step>", book),
    ("POST", "/stays/book/<step>", fill_in),
    ("GET", "/stays/bookings", bookings),
    ("GET", "/stays/bookings/<reference>", booking),
    ("POST", "/stays/bookings/<reference>/<what>", change),
    ("GET", "/stays/profile", profile),
)
