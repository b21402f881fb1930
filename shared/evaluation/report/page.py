"""A run as one HTML file that needs neither network nor scripts.

What pages, models and agents said is hostile: everything is escaped, addresses are no links, and
the file's own policy lets it run no script, load nothing and send nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.evaluation.reading import AgentSummary, summarize
from shared.evaluation.replaying import RecordedEpisode, RecordedStep, recorded_episodes
from shared.evaluation.report.choosing import (
    PictureAt,
    choose_episodes,
    choose_pictures,
)
from shared.evaluation.tables import Artifact, BenchmarkRun
from shared.money import dollars
from shared.standalone import Style, page_environment, write_whole

if TYPE_CHECKING:
    from shared.evaluation.artifacts import ArtifactStore

TEMPLATE: Final = "report.html.j2"
STYLE: Final = "report.css.j2"
EPISODES_SHOWN: Final = 2_000
"Step by step; the grid has all."
_DIGESTS_AT_ONCE: Final = 5_000

SIGNS: Final = {
    "success": "\N{CHECK MARK}",
    "failure": "\N{MULTIPLICATION SIGN}",
    "agent_error": "A",
    "timeout": "T",
    "environment_error": "E",
    "budget_exceeded": "$",
    "cancelled": "C",
    None: "\N{MIDDLE DOT}",
}
"Of outcomes in the grid, so that no colour is needed to tell them apart."


@dataclass(frozen=True)
class Cell:
    """One episode in the grid."""

    episode_id: UUID
    seed: int
    outcome: str | None
    shown: bool


@dataclass(frozen=True)
class Grid:
    """One agent's episodes: a row a task, a column a seed."""

    model: str
    seeds: tuple[int, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]


@dataclass(frozen=True)
class Figures:
    """Every figure of each model in words: rows under the same columns, the first a name."""

    columns: Sequence[str]
    by_model: Mapping[str, Sequence[Sequence[object]]]
    legend: str
    simulated: frozenset[str] = frozenset()
    "Models whose calls have a simulated price."


@dataclass(frozen=True)
class Written:
    episodes_left_out: int
    left_out: int
    "Pictures beyond the limit."
    gone: int
    "Pictures that are no longer kept, or not on this machine."


def write_report(
    session: Session,
    run_id: UUID,
    target: Path,
    store: ArtifactStore,
    *,
    cost_of: Callable[[AgentSummary], str],
    figures: Figures,
    remarks: Sequence[str],
    picture_bytes: int,
) -> Written:
    """Write the report of a run to `target`, whole or not at all.

    `cost_of` says an agent's cost in words, `figures` are shown as they are, `remarks` are lines
    beside the table. Raises `OSError` when the file cannot be written, `PageError` without jinja2.
    """
    outline = [_Outline.of(episode) for episode in recorded_episodes(session, run_id)]
    shown, episodes_left_out = choose_episodes(
        [(one.id, one.outcome == "success") for one in outline], EPISODES_SHOWN
    )
    taken = [picture for one in outline if one.id in shown for picture in one.pictures]
    choice = choose_pictures(
        taken,
        _sizes(session, sorted({picture.sha256 for picture in taken})),
        frozenset(one.id for one in outline if one.outcome != "success"),
        picture_bytes,
    )
    pictures = _Pictures(store, choice.taken)
    parts = (
        page_environment(__package__, {"percent": _percent, "dollars": dollars}, extra="evaluation")
        .get_template(TEMPLATE)
        .generate(
            style=Style.of(__package__, STYLE),
            run=session.get_one(BenchmarkRun, run_id),
            agents=[(agent, cost_of(agent)) for agent in summarize(session, [run_id])],
            figures=figures,
            remarks=remarks,
            grids=_grids(outline, shown),
            signs=SIGNS,
            episodes=(one for one in recorded_episodes(session, run_id) if one.id in shown),
            picture=pictures.of,
            picture_state=pictures.why_not,
            episodes_left_out=episodes_left_out,
            left_out=choice.left_out,
            gone=choice.gone,
            megabytes=picture_bytes / 1_000_000,
        )
    )
    write_whole(target, parts)
    return Written(episodes_left_out, choice.left_out, choice.gone + pictures.unreadable)


@dataclass(frozen=True)
class _Outline:
    """What is kept of every episode while the whole is planned."""

    id: UUID
    model: str
    task: str
    seed: int
    outcome: str | None
    pictures: tuple[PictureAt, ...]

    @classmethod
    def of(cls, episode: RecordedEpisode) -> _Outline:
        return cls(
            episode.id,
            episode.model,
            episode.task,
            episode.seed,
            episode.outcome,
            tuple(
                PictureAt(episode.id, step.index, step.screenshot)
                for step in episode.steps
                if step.screenshot is not None
            ),
        )


class _Pictures:
    """The chosen pictures as `data:` addresses, read one at a time."""

    def __init__(self, store: ArtifactStore, taken: frozenset[tuple[UUID, int]]) -> None:
        self._store = store
        self._taken = taken
        self.unreadable = 0

    def of(self, episode: RecordedEpisode, step: RecordedStep) -> str | None:
        if step.screenshot is None or (episode.id, step.index) not in self._taken:
            return None
        content = self._store.read(step.screenshot)
        if content is None:
            self.unreadable += 1
            return None
        return "data:image/jpeg;base64," + base64.b64encode(content).decode()

    def why_not(self, episode: RecordedEpisode, step: RecordedStep) -> str:
        """In words, for a step whose picture `of` does not give."""
        if step.screenshot is None:
            return "no picture was recorded"
        if self._store.path(step.screenshot).is_file():
            return "picture left out for its size"
        return "the picture is no longer kept, or not on this machine"


def _sizes(session: Session, digests: Sequence[str]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for first in range(0, len(digests), _DIGESTS_AT_ONCE):
        some = digests[first : first + _DIGESTS_AT_ONCE]
        rows = session.execute(
            sa.select(Artifact.sha256, Artifact.size_bytes).where(Artifact.sha256.in_(some))
        )
        sizes.update((row.sha256, row.size_bytes) for row in rows)
    return sizes


def _grids(outline: Sequence[_Outline], shown: frozenset[UUID]) -> list[Grid]:
    grids = []
    for model in sorted({one.model for one in outline}):
        own = [one for one in outline if one.model == model]
        seeds = tuple(sorted({one.seed for one in own}))
        cells = {
            (one.task, one.seed): Cell(one.id, one.seed, one.outcome, one.id in shown)
            for one in own
        }
        rows = tuple(
            (task, tuple(cells.get((task, seed)) for seed in seeds))
            for task in sorted({one.task for one in own})
        )
        grids.append(Grid(model, seeds, rows))
    return grids


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
