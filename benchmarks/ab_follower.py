"""A process that follows a tenant's tests and says when what it assigns has changed.

It is asked once a millisecond, as a service is that has something to do now and then, and prints
the reason of the assignment with the monotonic clock's time, which all processes share.
"""

from __future__ import annotations

import json
import sys
import time
from uuid import UUID

from shared.abtest.copies import local_copy
from shared.database import TenantId


def main(tenant: str, test: str, known: str) -> None:
    attributes = json.loads(known)
    copy = local_copy(TenantId(UUID(tenant)))
    last = None
    while True:
        reason = copy.assign(test, "unit", attributes).reason
        if reason is not last:
            last = reason
            print(reason, time.monotonic(), flush=True)
        time.sleep(0.001)


if __name__ == "__main__":
    main(*sys.argv[1:])
