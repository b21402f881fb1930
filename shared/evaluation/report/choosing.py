"""Which episodes and pictures a report has room for: those that did not succeed first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID


class PictureAt(NamedTuple):
    """A step's picture."""

    episode_id: UUID
    step: int
    sha256: str


@dataclass(frozen=True)
class Choice:
    taken: frozenset[tuple[UUID, int]]
    "Episode and index of the step."
    left_out: int
    gone: int
    "Pictures that are no longer kept."


def choose_pictures(
    pictures: Sequence[PictureAt],
    sizes: Mapping[str, int],
    unsuccessful: frozenset[UUID],
    limit: int,
) -> Choice:
    """As many pictures as fit into `limit` bytes of base64, in order, the unsuccessful first.

    `sizes` are the bytes of those that are kept, by digest.
    """
    taken: set[tuple[UUID, int]] = set()
    room, left_out, gone = limit, 0, 0
    for picture in sorted(pictures, key=lambda one: one.episode_id not in unsuccessful):
        size = sizes.get(picture.sha256)
        if size is None:
            gone += 1
        elif encoded(size) <= room:
            room -= encoded(size)
            taken.add((picture.episode_id, picture.step))
        else:
            # The rest of the episodes are without pictures, rather than some of their steps.
            left_out, room = left_out + 1, 0
    return Choice(frozenset(taken), left_out, gone)


def choose_episodes(
    episodes: Iterable[tuple[UUID, bool]], at_most: int
) -> tuple[frozenset[UUID], int]:
    """Those whose steps are shown, of (episode, success), and how many are not."""
    ordered = [one for one, _ in sorted(episodes, key=lambda episode: episode[1])]
    return frozenset(ordered[:at_most]), max(0, len(ordered) - at_most)


def encoded(size: int) -> int:
    """Characters of so many bytes in base64 (RFC 4648, section 4)."""
    return 4 * ((size + 2) // 3)
