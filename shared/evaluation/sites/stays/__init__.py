"""Hotels: search, a booking over several pages, bookings that can be changed."""
