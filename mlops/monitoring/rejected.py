"""`mlops monitor rejected`: events that were put aside, why, and what they said."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from mlops.console import Exit, Json, complain, one_line_errors, print_json, print_table, say
from mlops.monitoring.windows import Hours

_REASONS = 1_000


def rejected(
    hours: Hours = 24,
    reason: Annotated[
        str | None, typer.Option(help="Only where the reason holds this text.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many events.")] = 20,
    as_json: Json = False,
) -> None:
    """Show events that were put aside: when, why, and the beginning of each without secrets.

    They are kept for 30 days. The rest of their batches was stored.

    Example: mlops monitor rejected --reason input_tokens
    """
    if reason is not None and "\0" in reason:
        raise complain("--reason holds a NUL character; expected a text", Exit.USAGE)
    with one_line_errors():
        from shared.database import tenant_session
        from shared.telemetry.rejections import rejections
        from shared.tenancy.tenants import current_tenant

        since = datetime.now(UTC) - timedelta(hours=hours)
        with tenant_session(current_tenant()) as session:
            found = rejections(session, since, reason, at_most=limit, reasons=_REASONS)
    if as_json:
        print_json(
            {
                "since": since,
                "total": found.total,
                "reasons": [{"reason": said, "times": times} for said, times in found.reasons],
                "events": [asdict(one) for one in found.newest],
            }
        )
        return
    print_table(
        ["times", "reason"],
        [(f"{times:,}", said) for said, times in found.reasons],
        empty=f"no event was refused in the last {hours} h"
        + ("" if reason is None else f" with {reason!r} in the reason"),
    )
    for one in found.newest:
        say(f"{one.received_at:%Y-%m-%d %H:%M:%S} {one.event}: {one.reason}")
        say(f"    {one.line}")
    if found.total > len(found.newest):
        say(f"the newest {len(found.newest):,} of {found.total:,}; --limit shows more")
