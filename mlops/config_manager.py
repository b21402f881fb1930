"""`ConfigManager`: A/B tests from Python, made, assigned and changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from numbers import Real
from reprlib import repr as shown
from typing import Any

from mlops.exposing import Exposing, exposing_of
from mlops.metrics import MetricsCollector
from shared.abtest import lifecycle
from shared.abtest.assignment import Assignment, AssignmentError
from shared.abtest.copies import local_copy
from shared.abtest.states import AbTestError
from shared.abtest.tables import AbTest
from shared.database import TenantId, tenant_session
from shared.tenancy.tenants import current_tenant


class ConfigManager:
    """The tests of one tenant: that of `MLOPS_API_KEY` or `MLOPS_TENANT` unless one is given.

    What units are shown is sent as telemetry, by one collector for the whole process: the `metrics`
    that were given last, of the same tenant, as long as they are open, or one of its own.
    """

    def __init__(
        self, tenant_id: TenantId | None = None, *, metrics: MetricsCollector | None = None
    ) -> None:
        self._tenant_id = tenant_id or current_tenant()
        self._metrics = metrics
        self._exposing: Exposing | None = None

    def create_ab_test(
        self,
        name: str,
        variants: Sequence[str | Mapping[str, Any]],
        traffic_split: Sequence[float] | None = None,
        success_metric: str = "success",
        environment: str = "production",
        *,
        start: bool = True,
        **rules: Any,
    ) -> AbTest:
        """Make a test and let it run; with `start=False` it stays a draft.

        Variants are names, or mappings with `name` and whatever of `model` and `payload` they
        have; the first is the control. Without a `traffic_split` all get the same. `rules` are
        coverage, targeting, namespace, holdout, forced, starts_at, ends_at and sticky; and what is
        settled before it begins: guardrails, minimum_effect, units, alpha, power,
        pause_when_harmed, winsorize and metrics, as `shared.abtest.plan.Plan` has them. Raises
        `AbTestError`, and nothing is made then.
        """
        if not isinstance(start, bool):
            raise AbTestError(f"start {shown(start)}: expected True or False")
        weighted = _weighted(variants, traffic_split)
        with tenant_session(self._tenant_id) as session:
            test = lifecycle.create(
                session,
                name,
                weighted,
                environment=environment,
                success_metric=success_metric,
                **rules,
            )
            return lifecycle.start(session, name, environment) if start else test

    def assign(
        self,
        test: str,
        unit_id: str,
        attributes: Mapping[str, Any] | None = None,
        environment: str = "production",
    ) -> Assignment:
        """What a unit gets, from this process's copy of the tests: no network after the first.

        A unit that is shown a variant is exposed by it, and what it does from then on counts: tell
        it with `unit_id=` where that is recorded. Raises `AssignmentError` for a unit id that is
        no identifier, and for what is no text or no mapping where one is expected.
        """
        if self._exposing is None:
            self._exposing = exposing_of(self._tenant_id, self._metrics)
        try:
            return local_copy(self._tenant_id, environment).assign(test, unit_id, attributes or {})
        except (AttributeError, TypeError, ValueError):
            # Looked at only now: an assignment is to be quick.
            _require_arguments(test, attributes, environment)
            raise

    def start_ab_test(
        self, name: str, environment: str = "production", *, expected_version: int | None = None
    ) -> AbTest:
        """Let a draft assign units; its plan is fixed from then on.

        As all that follow: `expected_version` refuses where somebody has changed the test since,
        and what cannot be is an `AbTestError`.
        """
        return self._changed(lifecycle.start, name, environment, expected_version)

    def pause_ab_test(
        self, name: str, environment: str = "production", *, expected_version: int | None = None
    ) -> AbTest:
        """Let a running test assign nothing until it is resumed, in every process at once."""
        return self._changed(lifecycle.pause, name, environment, expected_version)

    def resume_ab_test(
        self, name: str, environment: str = "production", *, expected_version: int | None = None
    ) -> AbTest:
        """Let a paused test assign again."""
        return self._changed(lifecycle.resume, name, environment, expected_version)

    def stop_ab_test(
        self, name: str, environment: str = "production", *, expected_version: int | None = None
    ) -> AbTest:
        """Let a test assign no more, for good."""
        return self._changed(lifecycle.stop, name, environment, expected_version)

    def conclude_ab_test(
        self,
        name: str,
        winner: str,
        environment: str = "production",
        *,
        expected_version: int | None = None,
    ) -> AbTest:
        """End a test with a winner, which everyone gets from then on who is targeted."""
        _require_text("winner", winner)
        return self._changed(lifecycle.conclude, name, environment, expected_version, winner)

    def ramp_ab_test(
        self,
        name: str,
        coverage: float,
        environment: str = "production",
        *,
        expected_version: int | None = None,
    ) -> AbTest:
        """Let another share of the units take part, 0 to 1."""
        share = _number("coverage", coverage)
        return self._changed(lifecycle.ramp, name, environment, expected_version, share)

    def change_ab_weights(
        self,
        name: str,
        weights: Mapping[str, float],
        environment: str = "production",
        *,
        expected_version: int | None = None,
    ) -> AbTest:
        """Give all variants new weights, by name; only the units move that must."""
        if not isinstance(weights, Mapping) or not all(isinstance(one, str) for one in weights):
            raise AbTestError(f"weights {shown(weights)}: expected those of all variants, by name")
        shares = {one: _number(f"weight of {one[:60]!r}", share) for one, share in weights.items()}
        return self._changed(lifecycle.change_weights, name, environment, expected_version, shares)

    def _changed(
        self,
        change: Callable[..., AbTest],
        name: str,
        environment: str,
        expected_version: int | None,
        *to: object,
    ) -> AbTest:
        _require_text("name", name)
        _require_text("environment", environment)
        with tenant_session(self._tenant_id) as session:
            return change(session, name, *to, environment, expected_version=expected_version)


def _weighted(variants: object, traffic_split: object) -> list[Any]:
    """The variants with their weights, as they were given: `definition.define` judges them."""
    given = _listed("variants", variants, "names, or mappings with a name")
    named = [{"name": one} if isinstance(one, str) else one for one in given]
    if traffic_split is None:
        shares: list[Any] = [1 / len(named) for _ in named]
    else:
        shares = _listed("traffic_split", traffic_split, "the share of each variant")
    if len(shares) != len(named):
        raise AbTestError(
            f"a traffic split of {len(shares)} for {len(named)} variants; each has one"
        )
    return [
        {**one, "weight": _number(f"share {position}", share)} if isinstance(one, Mapping) else one
        for position, (one, share) in enumerate(zip(named, shares, strict=True))
    ]


def _listed(what: str, given: object, expected: str) -> list[Any]:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise AbTestError(f"{what} {shown(given)}: expected a list of {expected}")
    return list(given)


def _number(what: str, given: object) -> float:
    """Also one of numpy's; a truth value and text are none."""
    if type(given) is not bool and isinstance(given, Real):
        with suppress(OverflowError):
            return float(given)
    raise AbTestError(f"{what} is {shown(given)}; expected a number from 0 to 1")


def _require_text(what: str, given: object) -> None:
    if not isinstance(given, str):
        raise AbTestError(f"{what} {shown(given)} is no text but {type(given).__name__}")


def _require_arguments(test: object, attributes: object, environment: object) -> None:
    """Raises `AssignmentError` that says what is of the wrong type."""
    for what, given in (("test", test), ("environment", environment)):
        if not isinstance(given, str):
            raise AssignmentError(f"{what} {shown(given)} is no text but {type(given).__name__}")
    if not isinstance(attributes, Mapping | None):
        raise AssignmentError(
            f"attributes are no mapping but {type(attributes).__name__}; expected names and values"
        )
