"""Python scorers: functions that a package offers by entry point.

    [project.entry-points."browser_mlops.scorers"]
    polite = "my_package.scoring:polite"

    def polite(scored: Scored) -> Score:
        return Score("please" in (scored.answer or ""), "it must say please")

A definition names a scorer and never a path to code: what can run is what the operator installed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, NamedTuple

from shared.evaluation.benchmark import JudgingError

GROUP: Final = "browser_mlops.scorers"
SECONDS: Final = 30.0


@dataclass(frozen=True)
class Scored:
    """What a scorer sees of an episode, at the moment that it is judged."""

    task: str
    seed: int
    goal: str
    url: str
    "Of the page in front."
    title: str
    text: str
    "What the page in front shows."
    html: str
    "Its document as it is now."
    answer: str | None = None
    visited: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    "As the definition gives them."


class Score(NamedTuple):
    """What a scorer says."""

    success: bool
    reason: str = ""


ScorerFunction = Callable[[Scored], "Score | bool"]


def names() -> tuple[str, ...]:
    """The scorers that are installed here."""
    return tuple(sorted(_found()))


def _found() -> dict[str, EntryPoint]:
    return {one.name: one for one in entry_points(group=GROUP)}


async def score(name: str, scored: Scored) -> Score:
    """Ask the scorer, in a thread. Raises `JudgingError` for one that is not there, fails, takes
    longer than `SECONDS`, or says neither true nor false: that says nothing of the agent.
    """
    found = _found()
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise JudgingError(f"no scorer {name!r} is installed on this worker; there is: {known}")
    try:
        async with asyncio.timeout(SECONDS):
            said: object = await _in_a_thread(lambda: _ask(found[name], scored))
    except TimeoutError:
        raise JudgingError(f"scorer {name!r} did not answer within {SECONDS:g} s") from None
    # It is foreign code: whatever it raises is its own fault and not the agent's.
    except Exception as error:  # noqa: BLE001
        raise JudgingError(f"scorer {name!r} raised {type(error).__name__}: {error}") from None
    if isinstance(said, bool):
        return Score(said)
    if isinstance(said, Score) and isinstance(said.success, bool):
        return Score(said.success, str(said.reason))
    raise JudgingError(f"scorer {name!r} gave a {type(said).__name__}, not a Score or a bool")


async def _in_a_thread(work: Callable[[], object]) -> object:
    """In one of its own, which nothing waits for if it hangs: a pool would run out of threads."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[object] = loop.create_future()

    def settle(said: object, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(said)
        else:
            answer.set_exception(error)

    def run() -> None:
        said, failed = None, None
        try:
            said = work()
        except BaseException as error:  # noqa: BLE001
            failed = error if isinstance(error, Exception) else RuntimeError(repr(error))
        # The loop may have been closed while it hung.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, said, failed)

    threading.Thread(target=run, name="scorer", daemon=True).start()
    return await answer


def _ask(entry: EntryPoint, scored: Scored) -> object:
    function: ScorerFunction = entry.load()
    return function(scored)
