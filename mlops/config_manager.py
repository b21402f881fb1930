"""`ConfigManager`: A/B tests from Python, made, assigned and changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlops.exposing import Exposing, exposing_of
from mlops.metrics import MetricsCollector
from shared.abtest import lifecycle
from shared.abtest.assignment import Assignment
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
        named = [{"name": one} if isinstance(one, str) else dict(one) for one in variants]
        if traffic_split is None:
            traffic_split = [1 / len(named)] * len(named)
        if len(traffic_split) != len(named):
            raise AbTestError(
                f"a traffic split of {len(traffic_split)} for {len(named)} variants; each has one"
            )
        weighted = [
            one | {"weight": float(share)} for one, share in zip(named, traffic_split, strict=True)
        ]
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
        no identifier.
        """
        if self._exposing is None:
            self._exposing = exposing_of(self._tenant_id, self._metrics)
        return local_copy(self._tenant_id, environment).assign(test, unit_id, attributes or {})
