"""Pages of a test's own, served and judged as a benchmark, and episodes on them."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from shared.evaluation.benchmark import Goal, SoFar, Verdict
from shared.evaluation.episode import run_episode
from shared.evaluation.protocol import WEB_ACTIONS, Decision, Part, Task, Wait
from workers.browser import BrowserRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.async_api import Page

    from shared.evaluation.protocol import EpisodeResult, Observation


class Site:
    """Pages by name, each HTML or a status with headers, as an environment for one episode."""

    unseen = ""
    task = Task(
        benchmark="site",
        name="site",
        category="web",
        difficulty="easy",
        max_steps=8,
        timeout_seconds=10,
        actions=WEB_ACTIONS,
    )

    def __init__(self) -> None:
        self.pages: dict[str, str | tuple[int, dict[str, str]]] = {}
        self.judge: Callable[[SoFar], bool] = lambda so_far: so_far.answer is not None
        self.origins: tuple[str, ...] = ()
        self.waits: dict[str, threading.Event] = {}
        self.asked: list[str] = []
        self.torn_down = 0
        self.in_the_end: SoFar | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.root = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.root}/start"
        self.served: tuple[str, ...] = (self.root, self.root.replace("127.0.0.1", "localhost"))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def catalogue(self) -> dict[str, Task]:
        return {"site": self.task}

    def environment(self, task: Task, seed: int) -> Site:
        return self

    async def setup(self, page: Page) -> Goal:
        return Goal("Do it.", {})

    async def validate(self, page: Page, so_far: SoFar) -> Verdict:
        done = self.judge(so_far)
        return Verdict(done, done, 1.0 if done else None, "as judged" if done else "")

    def violations(self, so_far: SoFar) -> tuple[str, ...] | None:
        self.in_the_end = so_far
        return ("it did",)

    async def teardown(self) -> None:
        self.torn_down += 1


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.strip("/").partition("?")[0]
            time.sleep(0.15 if name == "slow" else 0)
            if name in site.waits:
                site.waits[name].wait(60)
            site.asked.append(name)
            answer = site.pages.get(name)
            status, headers, body = 404, {}, b"not found"
            if isinstance(answer, tuple):
                (status, headers), body = answer, b"x"
            elif answer is not None:
                title = f"<!doctype html><title>{name}</title>"
                status, headers, body = 200, {"Content-Type": "text/html"}, f"{title}{answer}"
                body = body.encode()
            self.send_response(status)
            for header, value in headers.items():
                self.send_header(header, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


class Played(NamedTuple):
    result: EpisodeResult
    seen: list[Observation]


@pytest.fixture
def play_site(browser: BrowserRuntime, site: Site) -> Callable[..., Played]:
    """Runs an episode on `site`: one decision a step, each an action or made from what is seen."""

    def play(
        *decisions: Any,
        deadline: float = 20,
        parts: frozenset[Part] = frozenset(),
        task: Task = Site.task,
        **options: Any,
    ) -> Played:
        seen: list[Observation] = []

        class Listed:
            async def reset(self, task: Task, seed: int) -> None:
                pass

            async def act(self, observation: Observation) -> Decision:
                seen.append(observation)
                at = len(seen) - 1
                decided = decisions[at] if at < len(decisions) else Wait(milliseconds=0)
                return Decision(decided(observation) if callable(decided) else decided)

            async def close(self) -> None:
                pass

        agent = Listed()
        agent.parts = parts  # type: ignore[attr-defined]
        result = browser.run(
            lambda context: run_episode(
                context,
                agent,  # type: ignore[arg-type]
                task,
                1,
                deadline_seconds=deadline,
                cancelled=lambda: False,
                benchmark=site,
                **options,
            ),
            timeout=deadline + 20,
        )
        return Played(result, seen)

    return play
