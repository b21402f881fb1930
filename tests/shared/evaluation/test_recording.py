"""What a policy keeps of an episode, taken from a real Chromium."""

from __future__ import annotations

import io
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from PIL import Image

from shared import content_store
from shared.content_store import Stored
from shared.evaluation.agents.rule_based import RuleBasedAgent
from shared.evaluation.artifacts import ArtifactStore
from shared.evaluation.episode import run_episode
from shared.evaluation.miniwob.catalogue import catalogue
from shared.evaluation.protocol import Decision, EpisodeResult, Outcome, Part, ReportInfeasible
from shared.evaluation.recording import EpisodeRecorder, is_sampled
from shared.jobs.contracts import Recording
from workers.browser import BrowserRuntime

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

    from shared.evaluation.protocol import Agent, Observation, Task

TASK = catalogue()["click-test-2"]


class GivesUp:
    parts: frozenset[Part] = frozenset()

    async def reset(self, task: Task, seed: int) -> None:
        pass

    async def act(self, observation: Observation) -> Decision:
        return Decision(ReportInfeasible(reason="no"))

    async def close(self) -> None:
        pass


class Looks(GivesUp):
    parts = frozenset({Part.SCREENSHOT})
    seen: bytes | None = None

    async def act(self, observation: Observation) -> Decision:
        self.seen = observation.screenshot
        return await super().act(observation)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(uuid4(), tmp_path)


def play(
    browser: BrowserRuntime,
    store: ArtifactStore,
    policy: Recording,
    agent: Agent | None = None,
    *,
    sampled: bool = False,
) -> tuple[EpisodeResult, EpisodeRecorder]:
    recorder = EpisodeRecorder(store, policy, sampled=sampled)
    result = browser.run(
        lambda context: run_episode(
            context,
            agent or RuleBasedAgent(),
            TASK,
            1,
            deadline_seconds=60,
            cancelled=lambda: False,
            recorder=recorder,
        ),
        timeout=90,
    )
    return result, recorder


def test_a_picture_shows_the_page_as_the_agent_saw_it(
    browser: BrowserRuntime, store: ArtifactStore
) -> None:
    result, recorder = play(browser, store, Recording.JPEG)
    assert result.outcome is Outcome.SUCCESS
    assert [one.sha256 for one in recorder.stored] == [step.screenshot for step in result.steps]
    content = store.read(result.steps[0].screenshot or "")
    assert content is not None
    picture = Image.open(io.BytesIO(content))
    assert (picture.format, picture.size) == ("JPEG", (640, 480))
    # The task's buttons are there: it is no blank page.
    assert len(picture.convert("L").getcolors()) > 10


def test_what_an_agent_was_shown_is_what_is_kept(
    browser: BrowserRuntime, store: ArtifactStore
) -> None:
    agent = Looks()
    result, _ = play(browser, store, Recording.JPEG, agent)
    assert agent.seen is not None
    assert store.read(result.steps[0].screenshot or "") == agent.seen


def test_no_picture_is_written_in_the_loop_that_all_episodes_share(
    browser: BrowserRuntime, tmp_path: Path
) -> None:
    writers = []

    class Noting(ArtifactStore):
        def put(self, content: bytes, media_type: str) -> Stored:
            writers.append(threading.current_thread())
            return super().put(content, media_type)

    async def of_the_loop(context: BrowserContext) -> threading.Thread:
        return threading.current_thread()

    play(browser, Noting(uuid4(), tmp_path), Recording.JPEG)
    assert writers
    assert browser.run(of_the_loop, timeout=30) not in writers


@pytest.mark.parametrize(
    ("policy", "sampled", "solves", "pictures", "trace"),
    [
        (Recording.NONE, True, False, False, False),
        (Recording.JPEG, True, False, True, False),
        (Recording.TRACE_ON_FAILURE, False, True, True, False),
        (Recording.TRACE_ON_FAILURE, False, False, True, True),
        (Recording.TRACE_SAMPLE, False, False, True, False),
        (Recording.TRACE_SAMPLE, True, True, True, True),
        (Recording.ALL, False, True, True, True),
    ],
)
def test_a_policy_keeps_what_it_says(
    browser: BrowserRuntime,
    store: ArtifactStore,
    policy: Recording,
    sampled: bool,
    solves: bool,
    pictures: bool,
    trace: bool,
) -> None:
    agent = None if solves else GivesUp()
    result, recorder = play(browser, store, policy, agent, sampled=sampled)
    assert (result.outcome is Outcome.SUCCESS) is solves
    assert all((step.screenshot is not None) is pictures for step in result.steps)
    assert (result.recording is not None) is trace
    kept = {path.name for path in store.folder.rglob("*") if path.is_file()}
    assert kept == {one.sha256 for one in recorder.stored}
    if trace:
        content = store.read(result.recording or "")
        assert content is not None
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
            assert "trace.trace" in archive.namelist()


def test_a_trace_holds_no_key_of_the_worker(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-the-page")
    runtime = BrowserRuntime(contexts=1)
    try:
        result, _ = play(runtime, store, Recording.ALL)
    finally:
        runtime.close()
    with zipfile.ZipFile(store.path(result.recording or "")) as archive:
        kept = b"".join(archive.read(name) for name in archive.namelist())
    assert b"click-test-2" in kept
    assert b"sk-not-for-the-page" not in kept


def test_a_full_disk_does_not_fail_an_episode(
    browser: BrowserRuntime, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_store, "FREE_AT_LEAST", 2**60)
    result, recorder = play(browser, store, Recording.ALL)
    assert result.outcome is Outcome.SUCCESS
    assert [step.screenshot for step in result.steps] == [None] * len(result.steps)
    assert (result.recording, recorder.stored) == (None, [])
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_a_store_that_cannot_be_written_does_not_fail_an_episode(
    browser: BrowserRuntime, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("no folder")
    result, _ = play(browser, ArtifactStore(uuid4(), in_the_way), Recording.ALL)
    assert result.outcome is Outcome.SUCCESS
    assert result.recording is None


def test_about_one_episode_in_ten_is_sampled_and_always_the_same() -> None:
    episodes = [UUID(int=n) for n in range(10_000)]
    sampled = [episode for episode in episodes if is_sampled(episode)]
    assert 900 < len(sampled) < 1_100
    assert sampled == [episode for episode in episodes if is_sampled(episode)]
