"""What the shop knows, and what can be done in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from shared.evaluation.sites.shop.stock import Product, make_products

if TYPE_CHECKING:
    from shared.evaluation.sites.chance import Chance
    from shared.evaluation.sites.people import Person

DELIVERIES: Final = {
    "standard": ("Standard delivery, 3 to 5 days", 490),
    "express": ("Express delivery, next day", 1250),
    "pickup": ("Pick-up at the Harbor Street store", 0),
}
PAYMENTS: Final = {
    "card": "Card ending in 4417",
    "invoice": "Invoice, 14 days",
    "giftcard": "Gift card",
}
PROMOTIONS: Final = {"SPRING10": 10, "WELCOME5": 5}
"Percent off the goods."
FREE_DELIVERY_FROM: Final = 7500
MOST_OF_ONE: Final = 20
REASONS: Final = ("Ordered by mistake", "Found it cheaper", "Takes too long", "Other")


class RefusedError(ValueError):
    """What was asked for cannot be done; the message is for the page."""


@dataclass
class Address:
    label: str
    name: str
    street: str
    city: str
    postcode: str
    country: str


@dataclass
class Order:
    number: str
    placed: date
    quantities: dict[str, int]
    "By `sku/colour`."
    address: Address
    delivery: str
    payment: str
    total: int
    status: str = "Processing"
    delivered: date | None = None
    promotion: str = ""
    gift_note: str = ""
    reason: str = ""


@dataclass
class Shop:
    products: dict[str, Product]
    addresses: dict[int, Address]
    orders: dict[str, Order]
    gift_card: str
    "Code of the user's gift card."
    next_order: int
    cart: dict[str, int] = field(default_factory=dict)
    promotion: str = ""
    wishlist: set[str] = field(default_factory=set)
    default_address: int = 1
    restock_alerts: set[str] = field(default_factory=set)

    def product(self, key: str) -> Product:
        """That of a SKU or a `sku/colour`."""
        return self.products[key.partition("/")[0]]

    def goods(self) -> int:
        """What is in the cart, in cents."""
        return self.price(self.cart)

    def price(self, quantities: dict[str, int]) -> int:
        return sum(self.product(key).price * number for key, number in quantities.items())

    def discount(self) -> int:
        return self.goods() * PROMOTIONS.get(self.promotion, 0) // 100

    def total(self, delivery: str) -> int:
        goods = self.goods() - self.discount()
        free = delivery == "standard" and goods >= FREE_DELIVERY_FROM
        return goods + (0 if free else DELIVERIES[delivery][1])

    def put(self, sku: str, colour: str, number: int) -> None:
        """Into the cart. Raises `RefusedError`."""
        product = self.products[sku]
        if colour not in product.colours:
            raise RefusedError(f"{product.name} does not come in {colour or 'that colour'}.")
        self.set_quantity(f"{sku}/{colour}", self.cart.get(f"{sku}/{colour}", 0) + number)

    def set_quantity(self, key: str, number: int) -> None:
        """In the cart; none removes it. Raises `RefusedError`."""
        product = self.product(key)
        if number < 0 or number > MOST_OF_ONE:
            raise RefusedError(f"Please choose between 1 and {MOST_OF_ONE} of an item.")
        if number > product.stock:
            raise RefusedError(f"Only {product.stock} of {product.name} in stock.")
        if number:
            self.cart[key] = number
        else:
            self.cart.pop(key, None)

    def promote(self, code: str) -> None:
        """Raises `RefusedError`."""
        if code and code.upper() not in PROMOTIONS:
            raise RefusedError(f"The code {code} is not valid.")
        self.promotion = code.upper()

    def add_address(self, address: Address) -> int:
        number = max(self.addresses, default=0) + 1
        self.addresses[number] = address
        return number

    def order(
        self, address: int, delivery: str, payment: str, today: date, gift_note: str = ""
    ) -> Order:
        """Order what is in the cart, which is empty then. Raises `RefusedError`."""
        if not self.cart:
            raise RefusedError("Your cart is empty.")
        made = Order(
            number=f"LS-{self.next_order}",
            placed=today,
            quantities=dict(self.cart),
            address=self.addresses[address],
            delivery=delivery,
            payment=payment,
            total=self.total(delivery),
            promotion=self.promotion,
            gift_note=gift_note,
        )
        self.next_order += 7
        self.orders[made.number] = made
        for key, number in self.cart.items():
            self.product(key).stock -= number
        self.cart, self.promotion = {}, ""
        return made

    def cancel(self, number: str, reason: str) -> None:
        """Raises `RefusedError` once it is on its way."""
        order = self.orders[number]
        if order.status != "Processing":
            raise RefusedError(f"Order {number} can no longer be cancelled.")
        if reason not in REASONS:
            raise RefusedError("Please choose a reason.")
        order.status, order.reason = "Cancelled", reason


def make_shop(chance: Chance, user: Person, today: date) -> Shop:
    products = make_products(chance)
    streets = chance.some(("Canal", "Mill", "Chapel", "Station", "Orchard", "Market"), 3)
    cities = chance.some(("Ashford", "Brookhaven", "Carlton", "Dunmore", "Easton"), 3)
    addresses = {
        at: Address(
            label,
            user.name,
            f"{chance.between(2, 180)} {streets[at - 1]} Street",
            cities[at - 1],
            str(chance.between(10_000, 98_999)),
            "United States",
        )
        for at, label in enumerate(("Home", "Office", "Summer house"), 1)
    }
    shop = Shop(
        products=products,
        addresses=addresses,
        orders={},
        gift_card=f"GC-{chance.code(4)}-{chance.code(4)}",
        next_order=chance.between(40_000, 48_000),
    )
    _past_orders(chance, shop, today)
    return shop


def _past_orders(chance: Chance, shop: Shop, today: date) -> None:
    # Of every order something is in no other one, so that it can be named by that.
    skus = chance.some(list(shop.products), 28)
    for at in range(14):
        placed = today - timedelta(days=150 - at * 10 - chance.below(6))
        keys = [
            f"{sku}/{chance.pick(shop.products[sku].colours)}" for sku in skus[at * 2 : at * 2 + 2]
        ]
        quantities = {key: chance.between(1, 3) for key in keys[: 1 + chance.below(2)]}
        delivery = chance.pick(("standard", "express"))
        goods = shop.price(quantities)
        free = delivery == "standard" and goods >= FREE_DELIVERY_FROM
        order = Order(
            number=f"LS-{shop.next_order}",
            placed=placed,
            quantities=quantities,
            address=shop.addresses[chance.between(1, 3)],
            delivery=delivery,
            payment=chance.pick(("card", "invoice")),
            total=goods + (0 if free else DELIVERIES[delivery][1]),
        )
        if at < 10:
            order.status, order.delivered = "Delivered", placed + timedelta(chance.between(1, 5))
        if at in (3, 7):
            order.status, order.delivered, order.reason = "Cancelled", None, REASONS[0]
        elif at == 10:
            order.status = "Shipped"
        shop.next_order += chance.between(3, 90)
        shop.orders[order.number] = order
