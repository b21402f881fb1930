"""A shop: search, product pages, cart, checkout, orders."""
