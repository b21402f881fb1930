"""Queue `cards`: the next version of a model's card."""

from __future__ import annotations

from shared.cards.scheduling import enqueue_cards
from shared.cards.writing import step
from shared.jobs.contracts import WriteCard
from tasks.declaring import transactional_task

__all__ = ["enqueue_cards", "write_card"]

write_card = transactional_task(WriteCard, step)
