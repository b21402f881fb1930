"""A mail client: folders, labels, search, writing, contacts, settings."""
