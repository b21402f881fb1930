"""A benchmark of pages like those of the real web: a shop, hotel bookings, mail, a back office."""
