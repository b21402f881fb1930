"""What is wrong with what the registry was asked for."""

from __future__ import annotations


class RegistryError(ValueError):
    """A model is not there, or cannot be registered or changed like this; the message is one
    line."""
