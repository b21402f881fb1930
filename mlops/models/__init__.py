"""Models for people: what is registered, how it did, and where it is."""
