"""The report of a run, opened in a real Chromium: nothing that a page said comes to life."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from PIL import Image

from shared.database import TenantId, tenant_session
from shared.evaluation.agents.registry import describe_agent
from shared.evaluation.artifacts import JPEG, ArtifactStore, record_stored
from shared.evaluation.reading import AgentSummary
from shared.evaluation.report.choosing import encoded
from shared.evaluation.report.page import Figures, Written, write_report
from shared.evaluation.runs import create_run
from shared.evaluation.tables import Episode
from shared.jobs import claims
from shared.jobs.claims import claim
from shared.jobs.contracts import RunBenchmark
from shared.registry import models

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page

    from workers.browser import BrowserRuntime

HOSTILE = (
    "</span></style></title></details><script>window.pwned=1</script>"
    "<img src=x onerror=window.pwned=2><svg onload=window.pwned=3>"
    '"onmouseover="window.pwned=4" \' {{ 7*7 }} {% raw %} \x1b[2J \u202egnp.exe'
)
URL = 'javascript:window.pwned=5//"><a href=javascript:window.pwned=6>x</a>'


def picture(colour: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (64, 48), colour).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def store(tenant: TenantId, tmp_path: Path, with_environment: Callable[..., None]) -> ArtifactStore:
    with_environment(MLOPS_ARTIFACTS=str(tmp_path / "store"))
    return ArtifactStore(tenant)


@pytest.fixture
def run(tenant: TenantId, store: ArtifactStore) -> UUID:
    """One task with two seeds: a success, and a failure whose page was hostile."""
    with tenant_session(tenant) as session:
        models.register(session, "rules", "1.0.0", "rule-based", {}, check=describe_agent)
        job = RunBenchmark(tasks=("click-test",), seeds=(0, 1), models=("rules",))
        made = create_run(session, job, lambda *_: pytest.fail("no test"), lambda version: None)
        episodes = session.scalars(sa.select(Episode).order_by(Episode.seed)).all()
    for episode, outcome, colour in zip(episodes, ("success", "failure"), (50, 200), strict=True):
        end(tenant, store, episode, outcome, colour)
    return UUID(made["run_id"])


def end(
    tenant: TenantId, store: ArtifactStore, episode: Episode, outcome: str, colour: int
) -> None:
    held = claim(tenant, episode.job_id, worker="w", lease_seconds=60)
    assert held is not None
    stored = store.put(picture(colour), JPEG)
    step = {
        "index": 0, "action": {"kind": "fill", "element": 1, "text": HOSTILE}, "error": HOSTILE,
        "reasoning": HOSTILE, "url": URL, "observe_ms": 5, "think_ms": 6, "act_ms": 7,
        "dom_nodes": 8, "screenshot": stored.sha256, "observation_sha256": None,
        "spent": {"calls": 1, "failed_calls": 0, "models": [HOSTILE], "input_tokens": 10,
                  "output_tokens": None, "cost_nanos": None},
    }  # fmt: skip
    with tenant_session(tenant) as session:
        record_stored(session, [stored])
        session.execute(
            sa.update(Episode)
            .where(Episode.id == episode.id)
            .values(
                outcome=outcome, reason=HOSTILE, goal=HOSTILE, answer=HOSTILE, steps=1,
                violations=[HOSTILE], trace=[step], duration_ms=30, llm_calls=1,
            )
        )  # fmt: skip
        claims.succeed(session, held, {})


def report(
    tenant: TenantId, run: UUID, store: ArtifactStore, target: Path, picture_bytes: int = 10**6
) -> Written:
    def cost_of(agent: AgentSummary) -> str:
        return HOSTILE

    with tenant_session(tenant) as session:
        return write_report(
            session, run, target, store, cost_of=cost_of, remarks=[HOSTILE],
            figures=Figures(("figure", "n"), {HOSTILE: [(HOSTILE, None)]}, HOSTILE),
            picture_bytes=picture_bytes,
        )  # fmt: skip


Opened = Callable[..., Any]


@pytest.fixture
def opened(browser: BrowserRuntime) -> Opened:
    """What `look` finds in a file, opened in a Chromium whose every event is noted."""

    def run(file: Path, look: Callable[[Page], Awaitable[Any]], **options: Any) -> Any:
        async def open_and_look(context: BrowserContext) -> Any:
            assert context.browser is not None
            # In a context of a reader's, with nothing around it.
            page = await context.browser.new_page(**options)
            try:
                events: list[str] = []
                page.on("dialog", lambda dialog: events.append("dialog"))
                page.on("pageerror", lambda error: events.append(f"error: {error}"))
                page.on("console", lambda message: events.append(message.text))
                page.on("request", lambda request: events.append(request.url[:40]))
                await page.goto(file.as_uri())
                found = await look(page)
                others = [event for event in events if not event.startswith(("file:", "data:"))]
                assert others == []
                return found
            finally:
                await page.close()

        return browser.run(open_and_look, timeout=60)

    return run


def test_a_hostile_page_does_not_come_to_life_in_the_report(
    opened: Opened, tenant: TenantId, run: UUID, store: ArtifactStore, tmp_path: Path
) -> None:
    target = tmp_path / "report.html"
    assert report(tenant, run, store, target) == Written(0, 0, 0)

    async def look(page: Page) -> dict[str, Any]:
        for box in await page.locator("summary").all():
            await box.click()
        for said in await page.locator(".said, code").all():
            await said.hover()
        return await page.evaluate(
            """() => ({
                pwned: window.pwned ?? null,
                alive: document.querySelectorAll(
                    'script, svg, iframe, object, embed, form, base, link').length,
                images: [...document.images].map(i => [i.naturalWidth, i.src.slice(0, 15)]),
                addresses: [...document.querySelectorAll('[href]')].map(
                    a => a.getAttribute('href').slice(0, 2)),
                handlers: [...document.querySelectorAll('*')].flatMap(
                    e => e.getAttributeNames()).filter(n => n.startsWith('on')).length,
                text: document.body.innerText,
                spacing: getComputedStyle(document.querySelector('.summary')).borderCollapse,
            })"""
        )

    found = opened(target, look)
    assert (found["pwned"], found["alive"], found["handlers"]) == (None, 0, 0)
    assert found["images"] == [[64, "data:image/jpeg"]] * 2
    assert set(found["addresses"]) == {"#e"}
    assert found["spacing"] == "collapse", "its own style is refused by its own policy"
    # What was said is there to be read, as it was said.
    assert "<script>window.pwned=1</script>" in found["text"]
    assert "{{ 7*7 }}" in found["text"]
    assert URL in found["text"]
    assert "\x1b" not in target.read_text()
    assert "\u202e" not in target.read_text()


def test_the_policy_of_the_file_stops_a_script_that_would_be_in_it(
    opened: Opened, tenant: TenantId, run: UUID, store: ArtifactStore, tmp_path: Path
) -> None:
    """Were the escaping to fail, there is one more wall."""
    target = tmp_path / "report.html"
    report(tenant, run, store, target)
    attack = "<script>window.pwned=1</script><img src=x onerror=window.pwned=2>"
    target.write_text(target.read_text().replace("</h1>", f"</h1>{attack}", 1))

    async def look(page: Page) -> Any:
        return await page.evaluate("window.pwned ?? null")

    with pytest.raises(AssertionError, match="Content Security Policy"):
        assert opened(target, look) is None


def test_a_cell_of_the_grid_leads_to_its_episode(
    opened: Opened, tenant: TenantId, run: UUID, store: ArtifactStore, tmp_path: Path
) -> None:
    target = tmp_path / "report.html"
    report(tenant, run, store, target)

    async def look(page: Page) -> list[Any]:
        cells = page.locator(".grid .cell")
        outcomes = [await cell.get_attribute("class") for cell in await cells.all()]
        shown = page.locator("details[open]")
        before = await shown.count()
        await cells.nth(1).click()
        return [outcomes, before, await shown.count(), await shown.locator(".badge").inner_text()]

    assert opened(target, look) == [["cell success", "cell failure"], 0, 1, "failure"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_dark_where_the_reader_wants_it_dark(
    opened: Opened, tenant: TenantId, run: UUID, store: ArtifactStore, tmp_path: Path, scheme: str
) -> None:
    target = tmp_path / "report.html"
    report(tenant, run, store, target)

    async def look(page: Page) -> str:
        return await page.evaluate("getComputedStyle(document.body).backgroundColor")

    paper = {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 17, 19)"}
    assert opened(target, look, color_scheme=scheme) == paper[scheme]


def test_pictures_that_are_left_out_or_gone_are_told_of(
    tenant: TenantId, run: UUID, store: ArtifactStore, tmp_path: Path
) -> None:
    target, room = tmp_path / "report.html", encoded(len(picture(200)))
    assert report(tenant, run, store, target, picture_bytes=room).left_out == 1
    text = target.read_text()
    assert "1 pictures are left out" in text
    assert text.count('<img src="data:') == 1
    # The failure has the picture.
    assert text.index("<img") > text.index("failure</span>\n")
    for file in store.folder.rglob("*"):
        if file.is_file():
            file.unlink()
    assert report(tenant, run, store, target).gone == 2
    assert target.read_text().count("the picture is no longer kept") == 2


def test_a_report_is_written_whole_or_not_at_all(
    tenant: TenantId, run: UUID, store: ArtifactStore, tmp_path: Path
) -> None:
    target = tmp_path / "report.html"
    target.write_text("the last one")
    with tenant_session(tenant) as session:
        session.execute(sa.update(Episode).values(trace=[{"index": 0}]))
    with pytest.raises(KeyError):
        report(tenant, run, store, target)
    assert target.read_text() == "the last one"
    assert [path.name for path in tmp_path.glob(".report*")] == []


def test_a_report_that_cannot_be_written_says_so(
    tenant: TenantId, run: UUID, store: ArtifactStore, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        report(tenant, run, store, tmp_path / "no folder" / "report.html")
