"""Custom tasks as a benchmark: how one is started, judged and put away."""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from playwright.async_api import Error as PlaywrightError

from shared.evaluation.benchmark import Goal, JudgingError, Verdict
from shared.evaluation.custom import judge as judges
from shared.evaluation.custom import scorers
from shared.evaluation.custom.definition import FILLED, CustomTask, Hook, Request
from shared.evaluation.custom.judging import Case, Judged
from shared.evaluation.custom.looking import Looker
from shared.evaluation.custom.parts import fill, fill_json
from shared.evaluation.custom.serving import Fixture
from shared.evaluation.custom.values import drawn, origin_of, told
from shared.evaluation.observing import OPERATION_SECONDS, PageHungError, within

if TYPE_CHECKING:
    from playwright.async_api import Page

    from shared.evaluation.benchmark import SoFar
    from shared.evaluation.protocol import Judgement, Task

log = logging.getLogger(__name__)

_REQUEST_SECONDS: Final = 8.0
_PUT_AWAY_SECONDS: Final = 4.0


class Custom:
    """The tasks of one custom benchmark."""

    def __init__(self, name: str, tasks: Sequence[CustomTask]) -> None:
        self._tasks = {task.name: task for task in tasks}
        self._catalogue = {task.name: task.task(name) for task in tasks}

    def catalogue(self) -> Mapping[str, Task]:
        return self._catalogue

    def environment(self, task: Task, seed: int) -> CustomEnvironment:
        return CustomEnvironment(self._tasks[task.name], seed)


def of_definition(name: str, definition: Mapping[str, Any]) -> Custom:
    """The benchmark that holds the one task of a stored definition."""
    return Custom(name, [CustomTask.model_validate(definition)])


def judging_seconds(definition: Mapping[str, Any]) -> float:
    """How long a stored definition's judging may take at most, beyond the agent's time."""
    task = CustomTask.model_validate(definition)
    return OPERATION_SECONDS + _judges_seconds(task) + _scorers_seconds(task)


def _judges_seconds(task: CustomTask) -> float:
    return sum(judges.seconds(one) for one in task.judges())


def _scorers_seconds(task: CustomTask) -> float:
    return sum(scorers.SECONDS for _, one in task.success_criteria.walk() if one.scorer)


class CustomEnvironment:
    """One custom task with one seed, for one episode."""

    unseen = ""

    def __init__(self, task: CustomTask, seed: int) -> None:
        self._task = task
        self.origins: tuple[str, ...] = task.origins
        self._values = drawn(task, seed)
        self._looker = Looker()
        self._page: Page | None = None
        self._fixture: Fixture | None = None
        self.served: tuple[str, ...] = ()
        try:
            self.url = self._start()
            self._goal = fill(task.task_prompt, self._values)
            case = Case(task.name, seed, self._goal, self._values)
            self._judged = Judged(case, self._looker)
        except BaseException:
            # Nobody has an environment that could not be made, to tear it down.
            self._close_fixture()
            raise

    def _start(self) -> str:
        """The address that the task begins at; what is to be served there is, from now on."""
        start, values = self._task.start, self._values
        if start.url is not None:
            url = fill(start.url, values)
            values["origin"] = origin_of(url)
            return url
        self._fixture = Fixture(_files(self._task, values))
        values["origin"] = self._fixture.origin
        self.served = (self._fixture.origin,)
        return f"{self._fixture.origin}/{start.page}"

    def _close_fixture(self) -> None:
        if self._fixture is not None:
            self._fixture.close()

    async def setup(self, page: Page) -> Goal:
        """Raises `JudgingError` when a request or script of the definition fails."""
        self._page = page
        hook = self._task.setup
        for request in hook.requests:
            await self._send(page, request)
        if hook.requests:
            await within(page.goto(self.url, wait_until="load", timeout=0))
        if hook.javascript is not None:
            await self._looker.run(page, hook.javascript, self._values)
        return Goal(self._goal, told(self._task, self._values))

    async def validate(self, page: Page, so_far: SoFar) -> Verdict:
        """A success as soon as the criteria hold; what does not hold at the answer has failed."""
        # The one that it began with may be closed by the end.
        self._page = page
        finding = await self._judged.find(self._task.success_criteria, page, so_far)
        if finding.holds:
            return Verdict(True, True, 1.0, finding.said)
        if so_far.answer is None:
            return Verdict(False, False, None, "")
        return Verdict(True, False, 0.0, finding.said)

    def seconds_for(self, so_far: SoFar) -> float:
        seconds = OPERATION_SECONDS + _scorers_seconds(self._task)
        return seconds if so_far.answer is None else seconds + _judges_seconds(self._task)

    def judgements(self) -> tuple[Judgement, ...]:
        return self._judged.judgements

    def violations(self, so_far: SoFar) -> None:
        """A definition does not say what must never be done."""

    async def teardown(self) -> None:
        """What fails here is logged: the episode has its result."""
        try:
            if self._page is not None:
                await within(self._put_away(self._page, self._task.teardown), _PUT_AWAY_SECONDS)
        except (JudgingError, PageHungError, PlaywrightError) as error:
            log.warning("task %s was not put away: %s", self._task.name, error)
        finally:
            self._close_fixture()

    async def _put_away(self, page: Page, hook: Hook) -> None:
        if hook.javascript is not None:
            await self._looker.run(page, hook.javascript, self._values)
        for request in hook.requests:
            await self._send(page, request)

    async def _send(self, page: Page, request: Request) -> None:
        """Through the context, and so with its cookies and through its proxy."""
        url = self._values["origin"] + fill(request.path, self._values)
        said = f"{request.method} {url[:200]}"
        headers = {name: fill(value, self._values) for name, value in request.headers.items()}
        data: str | None = None
        if request.body is not None:
            data = fill(request.body, self._values)
        elif request.json_ is not None:
            data = json.dumps(fill_json(request.json_, self._values))
            headers = {"Content-Type": "application/json", **headers}
        try:
            answered = await page.context.request.fetch(
                url,
                method=request.method,
                headers=headers,
                data=data,
                max_redirects=0,
                timeout=_REQUEST_SECONDS * 1000,
            )
        except PlaywrightError as error:
            raise JudgingError(f"{said} failed: {error.message.splitlines()[0]}") from None
        status = answered.status
        await answered.dispose()
        right = 200 <= status < 300 if request.status is None else status == request.status
        if not right:
            wanted = "2xx" if request.status is None else str(request.status)
            raise JudgingError(f"{said} answered {status}, and {wanted} was wanted")


def _files(task: CustomTask, values: Mapping[str, str]) -> dict[str, bytes]:
    files = task.start.contents()
    if not task.start.fill_values:
        return files
    escaped = {name: html.escape(value) for name, value in values.items()}
    return {
        path: fill(data.decode("utf-8", "replace"), escaped).encode()
        if path.endswith(FILLED)
        else data
        for path, data in files.items()
    }
