"""The shop's pages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from werkzeug.wrappers import Response

from shared.evaluation.sites.shop.state import (
    DELIVERIES,
    PAYMENTS,
    REASONS,
    Address,
    RefusedError,
)
from shared.evaluation.sites.shop.stock import CATEGORIES, Product, Review
from shared.evaluation.sites.visit import found, whole
from shared.evaluation.sites.world import TODAY

if TYPE_CHECKING:
    from shared.evaluation.sites.shop.state import Shop
    from shared.evaluation.sites.visit import Routes, Visit

_ORDERS: Final = {
    "": ("Relevance", lambda product: product.sku),
    "price": ("Price: low to high", lambda product: product.price),
    "-price": ("Price: high to low", lambda product: -product.price),
    "rating": ("Customer rating", lambda product: (-product.rating, product.sku)),
}
_PAGE: Final = 12
_SUGGESTED: Final = 6
_STEPS: Final = ("address", "delivery", "payment", "review")


def _matching(shop: Shop, query: str) -> list[Product]:
    words = query.casefold().split()
    return [
        product
        for product in shop.products.values()
        if all(word in f"{product.name} {product.category}".casefold() for word in words)
    ]


def browse(visit: Visit) -> Response:
    """The products that fit the filters."""
    least, most = whole(visit.query("min")), whole(visit.query("max"), 10**8)
    products = [
        product
        for product in _matching(visit.world.shop, visit.query("q"))
        if visit.query("category") in ("", product.category)
        and least * 100 <= product.price <= most * 100
        and (product.stock or not visit.query("stock"))
    ]
    order = visit.query("sort") if visit.query("sort") in _ORDERS else ""
    products.sort(key=_ORDERS[order][1])
    return visit.render(
        "shop/browse",
        page=visit.page_of(products, _PAGE),
        categories=CATEGORIES,
        orders={key: name for key, (name, _) in _ORDERS.items()},
    )


def suggest(visit: Visit) -> Response:
    products = _matching(visit.world.shop, visit.query("q"))[:_SUGGESTED]
    answer = [{"text": p.name, "path": f"/shop/item/{p.sku}"} for p in products]
    return Response(json.dumps(answer), mimetype="application/json")


def item(visit: Visit, sku: str, error: str = "") -> Response:
    product: Product = found(visit.world.shop.products, sku)
    return visit.render("shop/item", 400 if error else 200, product=product, error=error)


def put(visit: Visit, sku: str) -> Response:
    product = found(visit.world.shop.products, sku)
    number = whole(visit.form("quantity"))
    if not number:
        return item(visit, sku, "Please enter a quantity of 1 or more.")
    if not visit.form("colour"):
        return item(visit, sku, "Please choose a colour.")
    try:
        visit.world.shop.put(sku, visit.form("colour"), number)
    except RefusedError as refused:
        return item(visit, sku, str(refused))
    return visit.go("/shop/cart", f"{product.name} was added to your cart.")


def wish(visit: Visit, sku: str) -> Response:
    product = found(visit.world.shop.products, sku)
    visit.world.shop.wishlist.add(sku)
    return visit.go(f"/shop/item/{sku}", f"{product.name} is on your wish list.")


def unwish(visit: Visit, sku: str) -> Response:
    visit.world.shop.wishlist.discard(sku)
    return visit.go("/shop/wishlist", "The item was removed from your wish list.")


def alert(visit: Visit, sku: str) -> Response:
    found(visit.world.shop.products, sku)
    visit.world.shop.restock_alerts.add(sku)
    return visit.go(f"/shop/item/{sku}", "We will tell you when it is back in stock.")


def review(visit: Visit, sku: str) -> Response:
    product = found(visit.world.shop.products, sku)
    stars, text = whole(visit.form("stars")), visit.form("text")
    if not 1 <= stars <= 5 or not text:
        return item(visit, sku, "A review needs stars and a text.")
    author = visit.world.user.given
    product.reviews.insert(0, Review(author, stars, visit.form("title"), text, TODAY))
    return visit.go(f"/shop/item/{sku}", "Thank you for your review.")


def cart(visit: Visit, error: str = "") -> Response:
    return visit.render("shop/cart", 400 if error else 200, error=error)


def update_cart(visit: Visit) -> Response:
    key = visit.form("key")
    found(visit.world.shop.cart, key)
    removing = visit.form("do") == "remove"
    try:
        visit.world.shop.set_quantity(key, 0 if removing else whole(visit.form("quantity"), -1))
    except RefusedError as refused:
        return cart(visit, str(refused))
    return visit.go("/shop/cart", "Your cart was updated.")


def promote(visit: Visit) -> Response:
    try:
        visit.world.shop.promote(visit.form("code"))
    except RefusedError as refused:
        return cart(visit, str(refused))
    return visit.go("/shop/cart", "Your promotion code was updated.")


def wishlist(visit: Visit) -> Response:
    return visit.render("shop/wishlist")


def checkout(visit: Visit, step: str, error: str = "") -> Response:
    shop, draft = visit.world.shop, visit.draft("checkout")
    found(dict.fromkeys(_STEPS), step)
    if not shop.cart:
        return visit.go("/shop/cart", "Your cart is empty.")
    # A step is reached through those before it.
    for earlier in _STEPS[: _STEPS.index(step)]:
        if earlier not in draft:
            return visit.go(f"/shop/checkout/{earlier}")
    return visit.render(
        f"shop/checkout_{step}",
        400 if error else 200,
        error=error,
        draft=draft,
        deliveries=DELIVERIES,
        payments=PAYMENTS,
    )


def check_out(visit: Visit, step: str) -> Response:
    shop, draft = visit.world.shop, visit.draft("checkout")
    if step == "address":
        if whole(visit.form("address")) not in shop.addresses:
            return checkout(visit, step, "Please choose an address.")
        draft["address"] = visit.form("address")
        return visit.go("/shop/checkout/delivery")
    if step == "delivery":
        if visit.form("delivery") not in DELIVERIES:
            return checkout(visit, step, "Please choose how to deliver.")
        draft["delivery"], draft["note"] = visit.form("delivery"), visit.form("note")
        return visit.go("/shop/checkout/payment")
    if step == "payment":
        if visit.form("payment") not in PAYMENTS:
            return checkout(visit, step, "Please choose how to pay.")
        if visit.form("payment") == "giftcard" and visit.form("code").upper() != shop.gift_card:
            return checkout(visit, step, "This gift card code is not valid.")
        draft["payment"] = visit.form("payment")
        return visit.go("/shop/checkout/review")
    return _order(visit, step)


def _order(visit: Visit, step: str) -> Response:
    shop, draft = visit.world.shop, visit.draft("checkout")
    found(dict.fromkeys(_STEPS), step)
    if any(earlier not in draft for earlier in _STEPS[:-1]):
        return visit.go("/shop/checkout/address")
    if not visit.form("terms"):
        return checkout(visit, step, "Please accept the terms of sale.")
    try:
        made = shop.order(
            int(draft["address"]), draft["delivery"], draft["payment"], TODAY, draft["note"]
        )
    except RefusedError as refused:
        return checkout(visit, step, str(refused))
    draft.clear()
    return visit.go(f"/shop/orders/{made.number}", f"Thank you! Your order is {made.number}.")


def orders(visit: Visit) -> Response:
    newest_first = list(visit.world.shop.orders.values())[::-1]
    return visit.render("shop/orders", page=visit.page_of(newest_first, 6))


def order(visit: Visit, number: str, error: str = "") -> Response:
    return visit.render(
        "shop/order",
        400 if error else 200,
        order=found(visit.world.shop.orders, number),
        deliveries=DELIVERIES,
        payments=PAYMENTS,
        reasons=REASONS,
        error=error,
    )


def cancel(visit: Visit, number: str) -> Response:
    found(visit.world.shop.orders, number)
    try:
        visit.world.shop.cancel(number, visit.form("reason"))
    except RefusedError as refused:
        return order(visit, number, str(refused))
    return visit.go(f"/shop/orders/{number}", f"Order {number} was cancelled.")


def account(visit: Visit) -> Response:
    return visit.render("shop/account")


def set_default(visit: Visit, number: int) -> Response:
    found(visit.world.shop.addresses, number)
    visit.world.shop.default_address = number
    return visit.go("/shop/account", "Your default address was changed.")


_ADDRESS: Final = ("label", "name", "street", "city", "postcode", "country")


def new_address(visit: Visit) -> Response:
    return visit.render("shop/address", errors={}, given=visit.request.form)


def add_address(visit: Visit) -> Response:
    given = {name: visit.form(name) for name in _ADDRESS}
    errors = {name: f"Please enter a {name}." for name in _ADDRESS if not given[name]}
    if given["postcode"] and not (given["postcode"].isdigit() and len(given["postcode"]) == 5):
        errors["postcode"] = "A postcode has 5 digits."
    if errors:
        return visit.render("shop/address", 400, errors=errors, given=given)
    visit.world.shop.add_address(Address(**given))
    back = "/shop/checkout/address" if visit.query("then") == "checkout" else "/shop/account"
    return visit.go(back, f"The address {given['label']} was saved.")


ROUTES: Routes = (
    ("GET", "/shop", browse),
    ("GET", "/shop/suggest", suggest),
    ("GET", "/shop/item/<sku>", item),
    ("POST", "/shop/item/<sku>/cart", put),
    ("POST", "/shop/item/<sku>/wish", wish),
    ("POST", "/shop/item/<sku>/alert", alert),
    ("POST", "/shop/item/<sku>/review", review),
    ("GET", "/shop/cart", cart),
    ("POST", "/shop/cart", update_cart),
    ("POST", "/shop/cart/promotion", promote),
    ("GET", "/shop/wishlist", wishlist),
    ("POST", "/shop/wishlist/<sku>", unwish),
    ("GET", "/shop/checkout/<step>", checkout),
    ("POST", "/shop/checkout/<step>", check_out),
    ("GET", "/shop/orders", orders),
    ("GET", "/shop/orders/<number>", order),
    ("POST", "/shop/orders/<number>/cancel", cancel),
    ("GET", "/shop/account", account),
    ("POST", "/shop/addresses/<int:number>/default", set_default),
    ("GET", "/shop/addresses/new", new_address),
    ("POST", "/shop/addresses/new", add_address),
)
