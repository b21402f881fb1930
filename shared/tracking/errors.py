"""What tracking refuses."""

from __future__ import annotations


class TrackingError(ValueError):
    """What cannot be tracked like this; the message is one line."""


class NotFoundError(TrackingError):
    """There is no such experiment or run."""


class FilterError(TrackingError):
    """A filter that cannot be read."""
