"""Asking Flower which workers it sees."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from shared.local.state import FlowerRecord


def workers(flower: FlowerRecord, timeout: float = 10.0) -> list[str]:
    """The names of the workers; raises `OSError` when Flower does not answer."""
    credentials = f"{flower.user}:{flower.password}".encode()
    request = Request(
        f"http://127.0.0.1:{flower.port}/api/workers?refresh=1",
        headers={"Authorization": "Basic " + base64.b64encode(credentials).decode()},
    )
    with urlopen(request, timeout=timeout) as answer:  # noqa: S310 (loopback http, built above)
        return sorted(json.load(answer))
