"""How an episode on the sites is entered and judged.

The agent ends it by its answer. Then the state in the server must be the one that was asked for,
with that change and no other, and the answer the right one where a question was asked.
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from shared.evaluation.benchmark import BenchmarkMissingError, Goal, Verdict
from shared.evaluation.sites.catalogue import blueprints, catalogue
from shared.evaluation.sites.chance import Chance
from shared.evaluation.sites.problem import Problem, Scene
from shared.evaluation.sites.session import Session
from shared.evaluation.sites.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.async_api import Page

    from shared.evaluation.benchmark import SoFar
    from shared.evaluation.protocol import Task

_DIFFERENCES_TOLD = 3


class Sites:
    """The sites of this process's own server."""

    def catalogue(self) -> Mapping[str, Task]:
        return catalogue()

    def environment(self, task: Task, seed: int) -> SitesEnvironment:
        for library in ("werkzeug", "jinja2"):
            if find_spec(library) is None:
                raise BenchmarkMissingError(
                    f"the sites need {library}, which comes with: "
                    'pip install "browser-mlops[evaluation]"'
                )
        return SitesEnvironment(task.name, seed)


def problem_of(task: str, seed: int) -> tuple[Problem, World]:
    """The problem and the world it stands in: the same for the same seed, everywhere."""
    world = World(task, seed)
    return blueprints()[task].make(Scene(Chance(task, seed), world)), world


def in_the_end(task: str, seed: int) -> World:
    """The world as it is when what is asked for has been done and nothing else."""
    problem, world = problem_of(task, seed)
    problem.asked(world)
    return world


def session_of(task: str, seed: int) -> Session:
    """A fresh session of a task with a seed."""
    problem, world = problem_of(task, seed)
    ending = (
        "Answer with your finding."
        if problem.answer is not None
        else "When it is done, answer that it is done."
    )
    # From the seed as well: the same problem has the same forms.
    form_token = Chance(task, seed, "forms").code(24)
    return Session(problem, world, f"{problem.goal} {ending}", form_token)


class SitesEnvironment:
    """One task with one seed."""

    origins: tuple[str, ...] = ()
    unseen = ""

    def __init__(self, task: str, seed: int) -> None:
        # Not before it is needed: the catalogue can be read without the server's libraries.
        from shared.evaluation.sites.server import server

        self.session = session_of(task, seed)
        self._expected = partial(in_the_end, task, seed)
        self._server = server()
        self._token = self._server.sites.open(self.session)
        self.url = f"{self._server.origin}/enter/{self._token}"
        self.served: tuple[str, ...] = (self._server.origin,)

    async def setup(self, page: Page) -> Goal:
        return Goal(self.session.goal, {})

    async def validate(self, page: Page, so_far: SoFar) -> Verdict:
        session = self.session
        with session.lock:
            self._note(so_far)
            if so_far.answer is None:
                return Verdict(False, False, None, "")
            wrong = list(self._expected().differences(session.world))
            expected = session.problem.answer
            if expected is not None and not expected.matches(so_far.answer, session.goal):
                wrong.insert(0, "the answer is wrong")
        if not wrong:
            return Verdict(True, True, 1.0, "everything is as it was asked for")
        more = (
            f" and {len(wrong) - _DIFFERENCES_TOLD} more" if len(wrong) > _DIFFERENCES_TOLD else ""
        )
        return Verdict(True, False, 0.0, "; ".join(wrong[:_DIFFERENCES_TOLD]) + more)

    def violations(self, so_far: SoFar) -> tuple[str, ...] | None:
        if self.session.problem.trap is None:
            return None
        with self.session.lock:
            self._note(so_far)
            return tuple(self.session.seen)

    def _note(self, so_far: SoFar) -> None:
        """After each action, so that violations stay in their order, and again at the end."""
        self.session.note_visits(self._server.origin, (*so_far.visited, *so_far.refused))
        if so_far.answer is not None:
            self.session.note_answer(so_far.answer)
        self.session.note_said(so_far.said)

    async def teardown(self) -> None:
        self._server.sites.close(self._token)
