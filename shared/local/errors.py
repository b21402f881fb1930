"""What goes wrong between this product and the services it stands on."""

from __future__ import annotations


class ServiceError(RuntimeError):
    """A service is missing, unreachable or misconfigured.

    The message is one line for the user, names the remedy and never holds a password.
    """


class ServicesNotRunning(ServiceError):  # noqa: N818 (reads as the state it tells)
    """No URL in the environment, and nothing runs in the state folder."""
