"""The feature store: what is known of an entity, and what was known of it at a time."""
