"""Custom tasks, played in a real Chromium by an agent that does as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from shared.evaluation.custom.definition import CustomTask, parse
from shared.evaluation.custom.environment import Custom
from shared.evaluation.episode import run_episode
from shared.evaluation.protocol import Action, Click, Decision, Observation, Part, Task

if TYPE_CHECKING:
    from shared.evaluation.protocol import EpisodeResult
    from workers.browser import BrowserRuntime

Move = Action | str
"An action, or the text of what is clicked on."


class Told:
    """Makes one move after the other, and then gives up."""

    parts: frozenset[Part] = frozenset()

    def __init__(self, moves: list[Move]) -> None:
        self._moves = moves
        self.seen: list[Observation] = []

    async def reset(self, task: Task, seed: int) -> None:
        pass

    async def act(self, observation: Observation) -> Decision:
        self.seen.append(observation)
        move = self._moves[len(self.seen) - 1]
        if not isinstance(move, str):
            return Decision(move)
        there = [e.id for e in observation.elements if e.interactive and e.text == move]
        return Decision(Click(element=there[0]))

    async def close(self) -> None:
        pass


Play = Callable[..., "EpisodeResult"]


@pytest.fixture
def play(browser: BrowserRuntime) -> Play:
    """Plays a task: its definition without a name, and the moves of the agent."""

    def run(
        definition: dict[str, Any], *moves: Move, seed: int = 0, deadline: float = 20
    ) -> EpisodeResult:
        whole = {"task_prompt": "Do it.", "max_steps": max(1, len(moves)), **definition}
        task = parse({"name": "mine", "tasks": [{"name": "one", **whole}]}).tasks[0]
        # As a worker has it: from the JSON that was stored.
        stored = CustomTask.model_validate_json(json.dumps(task.definition()))
        assert stored == task
        agent = Told(list(moves))
        return browser.run(
            lambda context: run_episode(
                context,
                agent,
                task.task("mine"),
                seed,
                deadline_seconds=deadline,
                cancelled=lambda: False,
                benchmark=Custom("mine", [stored]),
            ),
            timeout=60,
        )

    return run


@pytest.fixture
def serving() -> Callable[..., Any]:
    """`with serving(respond) as (origin, asked)`, see `_serving`."""
    return _serving


@contextmanager
def _serving(
    respond: Callable[[str, str, bytes], tuple[int, str, str]],
) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """A real HTTP server: `respond(method, path, body)` gives status, media type and text.

    Yields its origin and what it was asked, as method, path and body.
    """
    asked: list[tuple[str, str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            asked.append((self.command, self.path, body.decode()))
            status, kind, text = respond(self.command, self.path, body)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", text)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
