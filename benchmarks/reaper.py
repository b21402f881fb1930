"""`python -m benchmarks.reaper COMMAND...`: run a command, and outlive all that it leaves behind.

On Linux a process that loses its parent comes to this one, which waits for it. So everything that
the command started stays below one process: what it cost is kept when it ends, and what does not
end is seen. SIGTERM is handed on to the command; its exit code is ours.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

_SET_CHILD_SUBREAPER = 36
"PR_SET_CHILD_SUBREAPER, linux/prctl.h"


def main(command: list[str]) -> int:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    started = os.posix_spawnp(command[0], command, os.environ)

    def hand_on(*_: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(started, signal.SIGTERM)

    signal.signal(signal.SIGTERM, hand_on)
    code = 0
    with suppress(ChildProcessError):
        while True:
            ended, status = os.wait()
            if ended == started:
                code = os.waitstatus_to_exitcode(status)
    # Of a command that a signal ended, as shells say it.
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
