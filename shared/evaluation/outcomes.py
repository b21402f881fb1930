"""How an episode may end: apart, so that a command line can name the ways at once."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How an episode ended.

    `ENVIRONMENT_ERROR`, `BUDGET_EXCEEDED` and `CANCELLED` are not the agent's result.
    """

    SUCCESS = "success"
    FAILURE = "failure"
    AGENT_ERROR = "agent_error"
    ENVIRONMENT_ERROR = "environment_error"
    TIMEOUT = "timeout"
    BUDGET_EXCEEDED = "budget_exceeded"
    CANCELLED = "cancelled"

    @property
    def scored(self) -> bool:
        """Whether it says something of the agent, as the view `episode_results` has it."""
        return self not in (
            Outcome.ENVIRONMENT_ERROR,
            Outcome.BUDGET_EXCEEDED,
            Outcome.CANCELLED,
        )
