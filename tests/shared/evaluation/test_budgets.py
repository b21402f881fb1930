"""A run's budget, as a worker's episodes see it while they spend."""

from __future__ import annotations

import threading
from collections.abc import Collection
from uuid import UUID, uuid4

import pytest

from shared.evaluation.budgets import Ledger, Spending

RUN = uuid4()


class Books:
    """What has been recorded of the run, by episode: the database's side."""

    def __init__(self) -> None:
        self.cost: dict[UUID, int] = {}
        self.asked = 0

    def recorded(self, besides: Collection[UUID]) -> int:
        self.asked += 1
        return sum(nanos for episode, nanos in self.cost.items() if episode not in besides)


def begin(
    ledger: Ledger, books: Books, episode: UUID | None = None, lost: bool = False
) -> Spending:
    episode = episode or uuid4()
    return ledger.begin(
        RUN,
        episode,
        budget=100,
        before=books.cost.get(episode, 0),
        recorded=books.recorded,
        lost=lambda: lost,
    )


def end(books: Books, spending: Spending) -> None:
    """Record what the attempt has cost, and then say so."""
    books.cost[spending.episode_id] = books.cost.get(spending.episode_id, 0) + spending.so_far
    spending.end()


def test_a_budget_is_spent_when_the_cost_has_reached_it() -> None:
    spending = begin(Ledger(), Books())
    assert not spending.over(99)
    assert spending.over(100)


def test_what_others_spend_here_counts_before_it_is_recorded() -> None:
    ledger, books = Ledger(), Books()
    first, second = begin(ledger, books), begin(ledger, books)
    assert not first.over(60)
    assert second.over(40)
    assert begin(ledger, books).over(0)


def test_nothing_is_counted_twice_when_it_has_been_recorded() -> None:
    ledger, books = Ledger(), Books()
    first = begin(ledger, books)
    first.over(60)
    end(books, first)
    assert not begin(ledger, books).over(39)
    assert begin(ledger, books).over(1)


def test_earlier_attempts_of_an_episode_count_once() -> None:
    ledger, books = Ledger(), Books()
    episode = uuid4()
    first = begin(ledger, books, episode)
    first.over(30)
    end(books, first)
    again = begin(ledger, books, episode)
    assert not again.over(69)
    assert not begin(ledger, books).over(0)
    assert again.over(70)


def test_an_episode_that_another_worker_took_over_is_counted_there() -> None:
    ledger, books = Ledger(), Books()
    begin(ledger, books, lost=True).over(99)
    assert not begin(ledger, books).over(99)


def test_episodes_that_begin_at_once_all_count() -> None:
    ledger, books = Ledger(), Books()
    spendings: list[Spending] = []

    def one() -> None:
        spending = begin(ledger, books)
        spending.over(10)
        spendings.append(spending)

    threads = [threading.Thread(target=one) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(spending.over(10) for spending in spendings)
    assert books.asked == 10


def test_a_run_without_an_episode_here_is_forgotten() -> None:
    ledger, gone = Ledger(), False

    def begin_run() -> Spending:
        run, episode = uuid4(), uuid4()
        return ledger.begin(
            run, episode, budget=100, before=0, recorded=lambda _: 0, lost=lambda: gone
        )

    first, second = begin_run(), begin_run()
    assert len(ledger) == 2
    first.end()
    begin_run()
    assert len(ledger) == 2
    assert second.over(100)
    gone = True
    begin_run()
    assert len(ledger) == 1


def test_a_run_whose_cost_could_not_be_asked_is_forgotten_too() -> None:
    ledger = Ledger()

    def away(_: Collection[UUID]) -> int:
        raise ConnectionError("the database is away")

    with pytest.raises(ConnectionError):
        ledger.begin(uuid4(), uuid4(), budget=1, before=0, recorded=away, lost=lambda: False)
    begin(ledger, Books())
    assert len(ledger) == 1


def test_runs_do_not_share_a_budget() -> None:
    ledger, books = Ledger(), Books()
    begin(ledger, books).over(100)
    other = ledger.begin(
        uuid4(), uuid4(), budget=100, before=0, recorded=lambda _: 0, lost=lambda: False
    )
    assert not other.over(99)
