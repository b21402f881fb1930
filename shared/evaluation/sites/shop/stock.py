"""What the shop sells."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.evaluation.sites.chance import Chance

KINDS: Final = {
    "Lighting": {"Desk Lamp": 3900, "Floor Lamp": 8900, "Clip Light": 1900},
    "Audio": {"Headphones": 7900, "Speaker": 5900, "Microphone": 6900},
    "Computing": {"Keyboard": 6500, "Mouse": 3200, "Webcam": 5500},
    "Seating": {"Office Chair": 19900, "Stool": 6900, "Footrest": 2900},
    "Kitchen": {"Kettle": 3500, "Coffee Grinder": 4900, "Toaster": 4200},
    "Travel": {"Backpack": 7400, "Suitcase": 12900, "Travel Mug": 1800},
    "Stationery": {"Notebook": 900, "Fountain Pen": 2600, "Stapler": 1400},
    "Outdoor": {"Rain Jacket": 8400, "Headlamp": 3300, "Water Bottle": 1700},
}
CATEGORIES: Final = tuple(KINDS)
_BRANDS: Final = (
    "Halden", "Osten", "Brightwell", "Corvo", "Lumo", "Tarn", "Vesper", "Wick", "Nordlys", "Pallas",
)  # fmt: skip
_COLOURS: Final = ("Black", "White", "Blue", "Green", "Red", "Sand")
_PRAISE: Final = (
    ("Does what it should", "Bought it for the office. No complaints after {n} weeks."),
    ("Good value", "For this price I expected less. Delivery took {n} days."),
    ("Very happy", "The second one I own, and it is even better than the first."),
    ("Solid", "Well made and easy to clean. The box was a bit battered."),
)
_BLAME: Final = (
    ("Not for me", "Smaller than it looks in the picture. Sent it back after {n} days."),
    ("Broke early", "Worked for {n} weeks. The service was friendly, though."),
    ("Just all right", "It is fine, but the colour is not what I expected."),
)
_READERS: Final = (
    "Alma", "Bo", "Cleo", "Dov", "Edda", "Finn", "Gil", "Hedy", "Ilja", "Joan", "Kit", "Lou", "Max",
    "Noa", "Ole", "Pia",
)  # fmt: skip


@dataclass
class Review:
    author: str
    stars: int
    title: str
    text: str
    written: date


@dataclass
class Product:
    sku: str
    name: str
    kind: str
    category: str
    brand: str
    price: int
    "In cents."
    stock: int
    colours: tuple[str, ...]
    weight: int
    "In grams."
    warranty: int
    "In months."
    description: str
    small_print: str = ""
    reviews: list[Review] = field(default_factory=list)

    @property
    def rating(self) -> float:
        """Mean of the stars, to one decimal."""
        return round(sum(review.stars for review in self.reviews) / len(self.reviews), 1)


def make_products(chance: Chance) -> dict[str, Product]:
    """Three products of each kind by SKU; no two prices are the same."""
    products: dict[str, Product] = {}
    prices: set[int] = set()
    for category, kinds in KINDS.items():
        for kind, usual in kinds.items():
            brands = chance.some(_BRANDS, 2)
            names = [f"{brands[0]} {kind}", f"{brands[1]} {kind}", f"{brands[0]} {kind} Plus"]
            for name, brand in zip(names, (*brands, brands[0]), strict=True):
                price = usual * chance.between(70, 150) // 100 + chance.below(100)
                while price in prices:
                    price += 1
                prices.add(price)
                sku = f"{kind[:2].upper()}{len(products) + 101}"
                products[sku] = _product(chance, sku, name, kind, category, brand, price)
            # Of each kind there is something to be had.
            products[sku].stock = max(products[sku].stock, 10)
    return products


def _product(
    chance: Chance, sku: str, name: str, kind: str, category: str, brand: str, price: int
) -> Product:
    colours = tuple(chance.some(_COLOURS, chance.between(2, 4)))
    return Product(
        sku=sku,
        name=name,
        kind=kind,
        category=category,
        brand=brand,
        price=price,
        stock=0 if chance.happens(0.12) else chance.between(8, 60),
        colours=colours,
        weight=chance.between(8, 240) * 10,
        warranty=chance.pick((12, 24, 36)),
        description=f"The {name} by {brand}, made for every day. Comes in {', '.join(colours)}.",
        reviews=[_review(chance) for _ in range(chance.between(3, 7))],
    )


def _review(chance: Chance) -> Review:
    stars = chance.pick((1, 2, 3, 3, 4, 4, 4, 5, 5, 5))
    title, text = chance.pick(_PRAISE if stars > 3 else _BLAME)
    return Review(
        author=chance.pick(_READERS),
        stars=stars,
        title=title,
        text=text.format(n=chance.between(2, 9)),
        written=date(2024, 3, 10) - timedelta(days=chance.below(400)),
    )
