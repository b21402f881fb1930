"""What the hotel site knows, and what can be done in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.evaluation.sites.chance import Chance
    from shared.evaluation.sites.people import Person

CITIES: Final = ("Lisbon", "Prague", "Dublin", "Bologna", "Aarhus", "Ghent")
AMENITIES: Final = ("Pool", "Parking", "Gym", "Spa", "Restaurant", "Pets allowed", "Bar")
ROOMS: Final = {"Standard Double": 2, "Junior Suite": 3, "Family Room": 5}
"How many people sleep in each."
EXTRAS: Final = {
    "breakfast": ("Breakfast", 1400),
    "parking": ("Parking space", 1100),
    "late": ("Late check-out at 14:00", 2000),
    "cot": ("Cot for a baby", 0),
    "transfer": ("Airport transfer", 3500),
}
"In cents: breakfast a person and night, parking a night, the others once."
ARRIVALS: Final = (
    "I do not know yet",
    "14:00 to 16:00",
    "16:00 to 18:00",
    "18:00 to 21:00",
    "late",
)
PAYMENTS: Final = {"hotel": "Pay at the hotel", "card": "Card ending in 4417", "points": "Points"}
REASONS: Final = ("Change of plans", "Found another place", "Booked by mistake", "Other")

_NAMES: Final = (
    "Grand", "Royal", "Old", "Little", "Garden", "River", "Corner", "Silver", "Harbour", "Park",
)  # fmt: skip
_THINGS: Final = (
    "Anchor", "Lantern", "Heron", "Bridge", "Terrace", "Fountain", "Mill", "Compass", "Willow",
    "Stag",
)  # fmt: skip


class RefusedError(ValueError):
    """What was asked for cannot be done; the message is for the page."""


@dataclass
class Hotel:
    id: str
    name: str
    city: str
    stars: int
    score: float
    "Of guests, out of 10."
    distance: int
    "From the centre, in metres."
    amenities: frozenset[str]
    rooms: dict[str, int]
    "Price of a night in cents."
    description: str


@dataclass
class Booking:
    reference: str
    hotel: str
    room: str
    check_in: date
    check_out: date
    adults: int
    children: int
    guest: str
    email: str
    phone: str
    extras: frozenset[str]
    arrival: str
    requests: str
    payment: str
    total: int
    status: str = "Confirmed"
    reason: str = ""
    message: str = ""
    "From the hotel to the guest."

    @property
    def nights(self) -> int:
        return (self.check_out - self.check_in).days


@dataclass(frozen=True)
class Wish:
    """What is to be booked."""

    hotel: str
    room: str
    check_in: date
    check_out: date
    adults: int
    children: int
    guest: str
    email: str
    phone: str
    extras: frozenset[str] = frozenset()
    arrival: str = ARRIVALS[0]
    requests: str = ""
    payment: str = "hotel"


@dataclass
class Stays:
    hotels: dict[str, Hotel]
    bookings: dict[str, Booking]
    phone: str
    pin: str
    "Of the user's points wallet."
    references: list[str]
    "For the next bookings, in order."

    def in_city(self, city: str) -> list[Hotel]:
        return [hotel for hotel in self.hotels.values() if hotel.city == city]

    def price(self, hotel: str, room: str, nights: int, guests: int, extras: frozenset[str]) -> int:
        """Of a stay with its extras, in cents."""
        times = {"breakfast": nights * guests, "parking": nights}
        more = sum(EXTRAS[extra][1] * times.get(extra, 1) for extra in extras)
        return self.hotels[hotel].rooms[room] * nights + more

    def book(self, wish: Wish, today: date) -> Booking:
        """Raises `RefusedError`."""
        self._check(wish.room, wish.check_in, wish.check_out, wish.adults + wish.children, today)
        nights = (wish.check_out - wish.check_in).days
        guests = wish.adults + wish.children
        made = Booking(
            reference=self.references.pop(0),
            total=self.price(wish.hotel, wish.room, nights, guests, wish.extras),
            **vars(wish),
        )
        self.bookings[made.reference] = made
        return made

    def move(self, reference: str, check_in: date, check_out: date, today: date) -> None:
        """Raises `RefusedError`."""
        booking = self._open(reference)
        guests = booking.adults + booking.children
        self._check(booking.room, check_in, check_out, guests, today)
        booking.check_in, booking.check_out = check_in, check_out
        booking.total = self.price(
            booking.hotel, booking.room, booking.nights, guests, booking.extras
        )

    def cancel(self, reference: str, reason: str) -> None:
        """Raises `RefusedError`."""
        booking = self._open(reference)
        if reason not in REASONS:
            raise RefusedError("Please choose a reason.")
        booking.status, booking.reason = "Cancelled", reason

    def update(self, reference: str, phone: str, arrival: str, requests: str) -> None:
        """Raises `RefusedError`."""
        booking = self._open(reference)
        if not phone:
            raise RefusedError("Please enter a phone number.")
        booking.phone, booking.arrival, booking.requests = phone, arrival, requests

    def _open(self, reference: str) -> Booking:
        booking = self.bookings[reference]
        if booking.status != "Confirmed":
            raise RefusedError("This booking can no longer be changed.")
        return booking

    @staticmethod
    def _check(room: str, check_in: date, check_out: date, guests: int, today: date) -> None:
        if check_in < today:
            raise RefusedError("The check-in date is in the past.")
        if not 0 < (check_out - check_in).days <= 21:
            raise RefusedError("The check-out date must be 1 to 21 nights after check-in.")
        if guests > ROOMS[room]:
            raise RefusedError(f"The {room} sleeps {ROOMS[room]}; please choose a bigger room.")


def make_stays(chance: Chance, user: Person, today: date) -> Stays:
    hotels = _hotels(chance)
    stays = Stays(
        hotels=hotels,
        bookings={},
        phone=f"+1 555 01{chance.between(10, 99)}",
        pin=f"{chance.code(3)}-{chance.code(4)}",
        references=[f"FN{chance.code(5)}" for _ in range(12)],
    )
    for at, city in enumerate(chance.some(CITIES, 5)):
        hotel = chance.pick(stays.in_city(city))
        check_in = today + timedelta(days=(-70, -30, 20, 48, 75)[at] + chance.below(9))
        nights, adults = chance.between(2, 5), chance.between(1, 2)
        extras = frozenset(chance.some(("breakfast", "parking", "late"), chance.below(3)))
        reference = stays.references.pop(0)
        stays.bookings[reference] = Booking(
            reference=reference,
            hotel=hotel.id,
            room="Standard Double",
            check_in=check_in,
            check_out=check_in + timedelta(days=nights),
            adults=adults,
            children=0,
            guest=user.name,
            email=user.email,
            phone=stays.phone,
            extras=extras,
            arrival=ARRIVALS[chance.below(4)],
            requests="",
            payment="hotel",
            total=stays.price(hotel.id, "Standard Double", nights, adults, extras),
            status="Completed" if at < 2 else "Confirmed",
        )
    return stays


def _hotels(chance: Chance) -> dict[str, Hotel]:
    hotels: dict[str, Hotel] = {}
    prices: set[int] = set()
    names = [f"{first} {second}" for first in _NAMES for second in _THINGS]
    for at, name in enumerate(chance.some(names, len(CITIES) * 8)):
        city = CITIES[at // 8]
        price = chance.between(62, 210) * 100
        while price in prices:
            price += 100
        prices.add(price)
        hotel = Hotel(
            id=name.lower().replace(" ", "-"),
            name=f"{name} Hotel",
            city=city,
            stars=chance.between(2, 5),
            score=chance.between(61, 97) / 10,
            distance=chance.between(2, 48) * 100,
            amenities=frozenset(chance.some(AMENITIES, chance.between(2, 5))),
            rooms={
                "Standard Double": price,
                "Junior Suite": price * 3 // 2,
                "Family Room": price * 7 // 4,
            },
            description=f"{name} is a quiet house in {city}. Check-in from 14:00.",
        )
        hotels[hotel.id] = hotel
    return hotels
