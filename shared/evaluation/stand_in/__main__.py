"""`python -m shared.evaluation.stand_in --port 0`: the stand-in on its own, until interrupted."""

from __future__ import annotations

import argparse
import contextlib
import sys

from rich.console import Console

from shared.evaluation.stand_in.server import StandIn


def main() -> int:
    parser = argparse.ArgumentParser(prog="stand-in", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0: any free one")
    parser.add_argument("--latency-ms", type=int, default=0, help="added to every answer")
    options = parser.parse_args()
    if not 0 <= options.port <= 65_535:
        parser.error(f"--port {options.port}: it must be 0 to 65535")
    if not 0 <= options.latency_ms <= 60_000:
        parser.error(f"--latency-ms {options.latency_ms}: it must be 0 to 60000")
    try:
        stand_in = StandIn(options.port, options.latency_ms)
    except OSError as error:
        parser.error(f"cannot listen on 127.0.0.1:{options.port}: {error.strerror}")
    Console().print(f"stand-in for an OpenAI-compatible endpoint: {stand_in.base_url}")
    with contextlib.suppress(KeyboardInterrupt):
        stand_in.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
