"""Whose an exception is: of an object that was recorded, or of the thread that records it.

What an object of the caller's raises while it is put into words, `SystemExit` included, is a fault
of that object, and no reason to end anything. Ctrl-C, what a handler of a signal raises, and what
is thrown into a thread from outside are for the caller, and come at any line.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import CodeType
from typing import Any, Final

_OURS: Final = str(Path(__file__).parent.parent)


def is_for_the_caller(error: BaseException) -> bool:
    """Whether `error`, which was caught while something was recorded, is to go on."""
    if isinstance(error, Exception):
        return False
    in_main = threading.current_thread() is threading.main_thread()
    if isinstance(error, KeyboardInterrupt):
        # Python delivers signals to the main thread alone.
        return in_main
    codes = _codes(error)
    if not codes or codes[-1].co_filename.startswith(_OURS):
        return True
    return in_main and not _handlers().isdisjoint(codes)


def _codes(error: BaseException) -> list[CodeType]:
    """What was running when it was raised, the innermost last."""
    found = []
    step = error.__traceback__
    while step is not None:
        found.append(step.tb_frame.f_code)
        step = step.tb_next
    return found


def _handlers() -> set[CodeType]:
    """The code of what handles signals in this process."""
    handlers: list[Any] = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = (getattr(one, "__code__", None) or _code_of_call(one) for one in handlers)
    return {code for code in codes if code is not None}


def _code_of_call(handler: Any) -> CodeType | None:
    """Of an object that is called, such as a `functools.partial` of a function."""
    called = getattr(handler, "func", None) or vars(type(handler)).get("__call__")
    return getattr(called, "__code__", None)
